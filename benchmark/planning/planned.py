"""A cell as a plan has it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from diadbench.benchmark.planning.grid import Cell
from diadbench.benchmark.records.identity import Wanted
from diadbench.benchmark.records.store import CellRecord


@dataclass(frozen=True)
class PlannedCell:
    """A cell with its place on disk, its complete configuration, and what will be done with it.

    Attributes:
        run: Whether it has to run.
        why: ``new``, ``unfinished``, ``failed``, ``stale``, ``overwrite``; or why it is kept.
        source: A finished cell of the same identity under a label that is no longer in the grid: it becomes this one.
        missing: What the cell needs and this machine hasn't.
        images: Training and test images; by the published counts where the data aren't here; ``None``: unknown.
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
        """What the grid asks of the cell."""
        return Wanted.of(self.config)
