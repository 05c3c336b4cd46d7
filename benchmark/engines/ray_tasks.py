"""What Ray runs on a node: a cell, in its own directory or in a copy whose results travel back."""

from __future__ import annotations

import itertools
import shutil
import signal
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray

from diadbench.benchmark.engines.base import Job, Outcome
from diadbench.benchmark.engines.process import GRACE, CellProcess
from diadbench.benchmark.engines.ray_cluster import on_node
from diadbench.benchmark.engines.remote import Arrival, Piece, listing, new_home, parts, read_piece, settle, wait
from diadbench.common.processes.interrupt import listening


@dataclass(frozen=True)
class Place:
    """Place of a cell's results on a machine that doesn't see the run directory."""

    node: str
    home: Path
    files: list[tuple[str, int]]


class ComingResults:
    """Results that are being copied from another machine, piece by piece."""

    def __init__(self, job: Job, outcome: Outcome, place: Place, arrival: Arrival) -> None:
        self.job, self.outcome, self.arrival = job, outcome, arrival
        self._place = place
        self._parts = parts(place.files)

    def next(self) -> Any:
        """Request the next piece; ``None`` when all pieces have arrived."""
        part = next(self._parts, None)
        return None if part is None else self._there(read_piece).remote(self._place.home / "cell", *part)

    def leave(self) -> Any:
        """Remove the folder on the other machine, and incomplete results on this one."""
        self.arrival.forget()
        return self._there(_remove).remote(self._place.home)

    def _there(self, function: Any) -> Any:
        return ray.remote(function).options(num_cpus=0, max_retries=2, scheduling_strategy=on_node(self._place.node))


def run_as_task(
    job: Job, token: Path, sent: list[Piece], kept: list[Any], files: Mapping[str, dict[str, str]]
) -> tuple[Outcome, Place | None]:
    """Run a cell as a Ray task: in its own directory, or in a copy on this node whose place is then returned.

    ``kept`` are Ray's references to pieces, of which one at a time is in memory.
    """
    with listening(signal.SIGINT) as asked:
        if token.exists():
            return wait(CellProcess(job), asked), None
        home = new_home()
        try:
            here = settle(job, itertools.chain(sent, (ray.get(piece) for piece in kept)), dict(files), home)
            outcome = wait(CellProcess(here), asked)
            return outcome, Place(ray.get_runtime_context().get_node_id(), home, listing(here.cell))
        except BaseException:
            shutil.rmtree(home, ignore_errors=True)
            raise


def cancel_tasks(tasks: list[Any]) -> None:
    """Cancel tasks, all at once. Tasks that go on are cancelled again, in case they were not ready, and then killed.

    Ray cancels by an interrupt. A worker that inherited an ignored SIGINT receives it only once :func:`run_as_task` has
    begun. A cell whose worker is killed is ended by the system.
    """
    until = time.monotonic() + GRACE + 2
    while tasks and time.monotonic() < until:
        for task in tasks:
            ray.cancel(task)
        _, tasks = ray.wait(tasks, num_returns=len(tasks), timeout=1, fetch_local=False)
    for task in tasks:
        ray.cancel(task, force=True)


def _remove(home: Path) -> None:
    shutil.rmtree(home, ignore_errors=True)


def sees(token: Path) -> bool:
    """Return whether this node sees a file, after waiting for up to two seconds."""
    for _ in range(20):  # Network file systems may show the file late.
        if token.exists():
            return True
        time.sleep(0.1)
    return False
