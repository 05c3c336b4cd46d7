"""Time of a cell, by phase."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator


class Phases:
    """Wall seconds by phase. Phases may nest and repeat; times add up."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextlib.contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        """Count the time of the block for phase ``name``."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - start

    def rate(self, name: str, count: int) -> float | None:
        """Return ``count`` over the seconds of a phase."""
        seconds = self.seconds.get(name, 0.0)
        return count / seconds if seconds > 0 else None
