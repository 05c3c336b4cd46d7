"""The planned form of a cell."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from diadbench.benchmark.planning.grid import Cell
from diadbench.benchmark.records.identity import Wanted
from diadbench.benchmark.records.store import CellRecord


@dataclass(frozen=True)
class PlannedCell:
    """A cell with its directory, its complete configuration, and the decision whether it runs.

    Attributes:
        run: Whether it has to run.
        why: ``new``, ``unfinished``, ``failed``, ``stale``, ``overwrite``; or why it is kept.
        source: A finished cell of the same identity, under a label that is no longer in the grid, to be moved here.
        missing: What the cell needs and this machine lacks.
        waits: Why it doesn't run now, although it has to some day: ``not in --only``.
        images: Numbers of training and test images; published counts if the data are missing; ``None``: unknown.
    """

    cell: Cell
    record: CellRecord
    config: dict[str, Any]
    run: bool
    why: str
    source: CellRecord | None = None
    missing: str = ""
    images: tuple[int, int] | None = None
    waits: str = ""

    @property
    def what(self) -> str:
        """Return ``run``, ``wait``, ``missing`` or ``keep``."""
        return "run" if self.run else "wait" if self.waits else "missing" if self.missing else "keep"

    @property
    def reason(self) -> str:
        """Return why it runs or doesn't."""
        return ", ".join(filter(None, [self.why, self.waits]))

    @property
    def wanted(self) -> Wanted:
        """Return what the grid asks of the cell."""
        return Wanted.of(self.config)


def summary(cells: Collection[PlannedCell], to_run: Collection[PlannedCell]) -> str:
    """Return how many cells run, are kept, wait and lack something: ``2 cells to run, 4 kept, 3 not in --only``.

    Args:
        cells: All cells of a plan.
        to_run: Those that run now. Others that have to run are over the budget.
    """
    now = {planned.cell.key for planned in to_run}
    others = Counter(_apart(planned) for planned in cells if planned.cell.key not in now)
    kept = others.pop("kept", 0)
    told = [f"{len(to_run)} cell{'' if len(to_run) == 1 else 's'} to run", f"{kept} kept"]
    return ", ".join([*told, *(f"{count} {why}" for why, count in sorted(others.items()))])


def _apart(planned: PlannedCell) -> str:
    return {"run": "over the budget", "missing": "left out (missing)", "keep": "kept"}.get(planned.what, planned.waits)
