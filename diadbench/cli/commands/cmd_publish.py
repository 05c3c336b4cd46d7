"""``diadbench publish``."""

from __future__ import annotations


def command(runs: list[str], *, out: str, title: str = "Leaderboard", protocol: str | None = None) -> int:
    """Make a leaderboard of runs as a static site: sortable, with filters, a page for each method and data set.

    Each figure opens to its configuration, seeds, commit, hardware, data fingerprint and how to repeat it. Published
    figures of the same data sets stand beside. leaderboard.json has the whole table, model-index/ the metadata for
    model cards.

    Args:
        runs: Run directories and packs.
        out: Folder of the site; an earlier site there is replaced.
        title: Title of the site.
        protocol: Show this protocol alone; by default all, each row with its own.

    Example::

        diadbench publish runs/demo colleague.tar.gz --out site
    """
    from contextlib import ExitStack
    from pathlib import Path

    from diadbench.benchmark.sharing.opening import opened
    from diadbench.common.errors import UserError
    from diadbench.reports.leaderboard.publishing import publish

    if not runs:
        raise UserError("publish: give the directories of runs, or packs; see diadbench publish --help")
    with ExitStack() as stack:
        paths = [stack.enter_context(opened(Path(run))).path for run in runs]
        board = publish(paths, Path(out), title=title, protocol=protocol or "")
    measured = sum(not row.published for row in board.rows)
    print(f"site: {Path(out) / 'index.html'}: {measured} measured rows, {len(board.rows) - measured} published")
    for text in board.problems:
        print(f"contradiction: {text}")
    return 0
