"""``diadbench published``."""

from __future__ import annotations


def list_published(*, dataset: str = "", method: str = "", setting: str = "", run: str = "") -> int:
    """List published figures, what arithmetic says against them, and where sources contradict each other.

    Args:
        dataset: Keep this dataset.
        method: Keep this method.
        setting: Keep this setting: multi-class, one-per-class, few-shot, zero-shot.
        run: List the rows that were added to this run too.

    Example::

        diadbench published list --dataset mvtec --setting multi-class
    """
    from diadbench.reports.terminal import print_published

    print_published(dataset, method, run, setting)
    return 0


def add_published(file: str, *, run: str = "") -> int:
    """Import published figures from a CSV, check them, and show them in every report from then on.

    Columns: source, method, dataset (needed), source_ref, venue, setting, resolution, epochs, note, and the metrics
    in percent: i_auroc, i_ap, i_f1max, p_auroc, p_ap, p_f1max, aupro, p_ioumax, mad. A row that contradicts one of the
    same source, method, dataset, setting and budget is refused; a dataset that nobody here knows is told.

    Args:
        file: The CSV.
        run: Keep the rows with this run directory, for its reports alone; by default with the user, for all reports.

    Example::

        diadbench published add my_paper_table.csv
    """
    import sys
    from pathlib import Path

    from diadbench.benchmark.records.store import RunDirectory
    from diadbench.datasets.facts.known_sets import CATALOG
    from diadbench.reports.published.literature import add
    from diadbench.reports.published.published_files import file_of

    _check(run)
    known = [*RunDirectory(run).grid["datasets"]] if run else []
    known += [text for entry in CATALOG.values() for text in (entry.info.name, entry.info.title)]
    added, warnings = add(Path(file), run or None, known)
    for line in warnings:
        print(f"warning: {line}", file=sys.stderr)
    print(f"{len(added)} row{'' if len(added) == 1 else 's'} added to {file_of(run or None)}")
    return 0


def remove_published(source: str, *, method: str = "", dataset: str = "", run: str = "") -> int:
    """Remove published figures that were added before. Shipped rows stay.

    Args:
        source: Of this source.
        method: Of this method alone.
        dataset: Of this dataset alone.
        run: Rows of this run directory; by default the user's.

    Example::

        diadbench published remove "My paper" --method Mine
    """
    from diadbench.reports.published.literature import remove
    from diadbench.reports.published.published_files import file_of

    _check(run)
    gone = remove(source, method, dataset, run or None)
    print(f"{len(gone)} row{'' if len(gone) == 1 else 's'} removed from {file_of(run or None)}")
    return 0


def _check(run: str) -> None:
    """Raise UserError for what is given as a run directory and is none."""
    from diadbench.benchmark.records.store import RunDirectory

    if run:
        RunDirectory(run)


VERBS = {"list": list_published, "add": add_published, "remove": remove_published}
