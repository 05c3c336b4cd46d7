"""``diadbench merge``."""

from __future__ import annotations


def command(runs: list[str], *, out: str) -> int:
    """Write the cells of several runs into one run directory; report, compare and run work on it as on any other.

    A cell that two runs have must have the same figures in both. A label that stands for other things in a later run
    gets that run's name behind it.

    Args:
        runs: Run directories and packs, two or more.
        out: The new run directory.

    Example::

        diadbench merge runs/mine colleague.tar.gz --out runs/both
        diadbench report runs/both
    """
    from pathlib import Path

    from diadbench.benchmark.sharing.merging import merge

    made = merge([Path(run) for run in runs], Path(out))
    for note in made.notes:
        print(f"note: {note}")
    print(f"merged: {made.run.path}, {made.cells} cells")
    return 0
