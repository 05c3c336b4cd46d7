"""The planned form of a cell."""

from __future__ import annotations

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

    @property
    def wanted(self) -> Wanted:
        """Return what the grid asks of the cell."""
        return Wanted.of(self.config)
