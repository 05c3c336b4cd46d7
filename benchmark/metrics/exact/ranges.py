"""Join the rankings of several ranges of scores into one whose arrays lie on disk."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from diadbench.benchmark.metrics.exact.ranking import Ranking
from diadbench.benchmark.metrics.exact.spill import Budget, DiskArray

_COLUMNS = ("score", "positives", "below", "equal", "weight")


class Ranges:
    """Collect ascending ranges; a single range stays in memory.

    Args:
        directory: Where the temporary file lies; ``None``: the system's.
    """

    def __init__(self, directory: Path | None = None) -> None:
        self._directory = directory
        self._first: Ranking | None = None
        self._columns: dict[str, Any] = {}

    def add(self, part: Ranking) -> None:
        """Take the next higher range."""
        if self._first is None:
            self._first = part
            return
        if not self._columns:
            budget = Budget(limit=0, directory=self._directory)
            self._columns = {name: DiskArray(budget, getattr(self._first, name).dtype) for name in _COLUMNS}
            self._write(self._first)
            self._first = dataclasses.replace(self._first, **self._columns)
        self._write(part)

    def _write(self, part: Ranking) -> None:
        for name, column in self._columns.items():
            column.append(getattr(part, name))

    def whole(self) -> Ranking:
        """Return all ranges as one ranking."""
        assert self._first is not None
        return self._first
