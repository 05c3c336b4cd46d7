"""What the engines' tests share."""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil

from diadbench.benchmark.engines.base import Engine, Job, Outcome
from diadbench.benchmark.records.store import CellRecord

FAKE = Path(__file__).with_name("fake_cell")


def drain(engine: Engine, count: int, timeout: float = 180.0) -> dict[str, Outcome]:
    """Poll until ``count`` jobs have ended; return their outcomes by the cell's name."""
    found: dict[str, Outcome] = {}
    until = time.monotonic() + timeout
    while len(found) < count:
        assert time.monotonic() < until, f"only {sorted(found)} ended in {timeout:g} s"
        for outcome in engine.poll():
            found[outcome.job.cell.parents[1].name] = outcome
        time.sleep(0.02)
    return found


def state(job: Job) -> str:
    return CellRecord(job.cell).state


def trace(job: Job) -> list[str]:
    path = job.cell / "trace"
    return path.read_text().split("\n")[:-1] if path.is_file() else []


def wait_for(condition: Callable[[], Any], timeout: float = 120.0) -> None:
    until = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < until, "waited in vain"
        time.sleep(0.02)


def steps(job: Job) -> int:
    """How far the fake cell's training checkpoint has come."""
    path = job.cell / "scratch" / "step"
    return int(path.read_text() or 0) if path.is_file() else 0


def is_over(pid: int) -> bool:
    """Whether a process has ended; one that nobody has collected yet has, too."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


@contextlib.contextmanager
def ignoring(*numbers: signal.Signals) -> Iterator[None]:
    """Ignore signals here, and so in all processes that are started meanwhile."""
    before = {number: signal.signal(number, signal.SIG_IGN) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
