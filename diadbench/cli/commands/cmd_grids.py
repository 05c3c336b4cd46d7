"""``diadbench grids``."""

from __future__ import annotations


def list_grids() -> int:
    """List the packaged grids.

    Example::

        diadbench grids list
    """
    from diadbench.benchmark.planning.grid import grid_names

    for name, note in grid_names().items():
        print(f"{name:<14}{' '.join(note.split())}")
    return 0


VERBS = {"list": list_grids}
