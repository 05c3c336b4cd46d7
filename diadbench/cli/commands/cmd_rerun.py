"""``diadbench rerun``."""

from __future__ import annotations


def command(cell: str, *, compare: bool = False, out: str | None = None, root: str | None = None) -> int:
    """Run a finished cell once more, exactly as it was run: same code, options, seed, threads and data.

    Args:
        cell: Directory of the cell: RUN/cells/DATASET/METHOD/SETTING/seedN.
        compare: Print the difference, metric by metric; the exit code is 1 where any figure differs.
        out: Run directory of the repetition; below RUN/reruns by default.
        root: Where the data lies here, if it isn't where the cell found it.

    Example::

        diadbench rerun runs/demo/cells/toy/patchcore/multi-class/seed0 --compare
    """
    from pathlib import Path

    from diadbench.benchmark.reuse.rerun import rerun_cell

    found = rerun_cell(Path(cell), Path(out) if out else None, Path(root) if root else None)
    print(f"cell: {found.again.directory}")
    if not compare:
        return 0
    print(found.text())
    return 0 if found.same() else 1
