"""Measure the time of a cell by phase, over all processes that worked on it."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path

from diadbench.common.files import read_json, write_json


class Phases:
    """Measure wall seconds by phase. Phases may nest and repeat; their times add up.

    Args:
        path: File of the times, so that a resumed cell includes the time of its earlier processes. Time that a process
            had not yet written when it was killed is lost.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        said = (read_json(path) if path is not None else None) or {}
        self.seconds: dict[str, float] = said.get("seconds", {})
        self._counts: dict[str, int] = said.get("counts", {})
        self._open: list[tuple[str, float]] = []

    @contextlib.contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        """Count the time of the block for phase ``name``."""
        start = time.perf_counter()
        self._open.append((name, start))
        try:
            yield
        finally:
            self._open.pop()
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - start

    def count(self, name: str, items: int) -> None:
        """Count the items that a phase has processed."""
        self._counts[name] = self._counts.get(name, 0) + items

    def rate(self, name: str) -> float | None:
        """Return the number of items that a phase processes per second."""
        seconds = self.seconds.get(name, 0.0)
        return self._counts.get(name, 0) / seconds if seconds > 0 else None

    def keep(self) -> None:
        """Write the times to the file, including those of phases that are still running."""
        if self._path is None:
            return
        seconds = dict(self.seconds)
        for name, start in self._open:
            seconds[name] = seconds.get(name, 0.0) + time.perf_counter() - start
        write_json(self._path, {"seconds": seconds, "counts": self._counts})
