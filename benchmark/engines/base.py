"""The interface of an engine: it accepts jobs, reports which have ended, and can cancel them."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

State = Literal["ended", "busy", "timeout", "oom", "died"]


@dataclass(frozen=True)
class Job:
    """The process of a cell that is to be started.

    Attributes:
        cell: Directory of the cell.
        since: Unix time. A result that is older than this is computed again.
        time_limit: Seconds, or ``None``.
        memory_limit: Bytes of memory of the process and its children (see
            :func:`~diadbench.benchmark.cells.meter.own_bytes`), or ``None``.
        threads: CPU threads; 0 leaves it to torch.
        gpus: GPUs that the cell wants.
        named: Position among the visible GPUs of the one that the cell names (1 for ``cuda:1``); it sees them all.
    """

    cell: Path
    since: float = 0.0
    time_limit: float | None = None
    memory_limit: float | None = None
    threads: int = 0
    gpus: int = 0
    named: int | None = None


@dataclass(frozen=True)
class Outcome:
    """How a job's process ended.

    Attributes:
        job: The job.
        state: ``ended``: the process wrote its own status. ``busy``: another process has the cell. ``timeout``,
            ``oom``: the engine ended the process. ``died``: the process ended without writing a status.
        reason: Text for people.
        peak_bytes: Peak memory that the engine saw (:func:`~diadbench.benchmark.cells.meter.own_bytes`).
        extra: Further information from the engine (a SLURM job id, a node).
    """

    job: Job
    state: State
    reason: str = ""
    peak_bytes: int = 0
    extra: dict[str, Any] = field(default_factory=dict)


class Engine(ABC):
    """Run jobs somewhere. Use it as a context manager: on leaving, jobs that still run are cancelled."""

    #: How many jobs may be in progress; the runner submits no more.
    slots: int = 1

    @property
    def at_once(self) -> int | None:
        """Return how many cells are certain to run at the same time; ``None`` if the cluster decides."""
        return self.slots

    def share_out(self, gpus: int, named: int | None = None) -> None:
        """Set how many GPUs each cell takes, before the first job. This decides how many cells run at the same time.

        Args:
            gpus: Number of GPUs of a cell; 0 on a CPU.
            named: Position of the GPU that all cells name among the visible GPUs, or ``None``.

        Raises:
            UserError: There are fewer GPUs.
        """
        return None  # An engine whose cluster assigns the GPUs has nothing to decide.

    def threads(self) -> int:
        """Return the number of CPU threads of a cell if the grid doesn't set it: the cores divided by the slots."""
        return max((os.cpu_count() or 1) // self.slots, 1)

    @abstractmethod
    def submit(self, job: Job) -> None:
        """Start a job, or queue it if the engine has its own queue."""

    @abstractmethod
    def poll(self) -> list[Outcome]:
        """Return the jobs that have ended since the last call. The call doesn't block for long."""

    @abstractmethod
    def cancel(self) -> None:
        """End every job that is in progress: asked first, then killed."""

    def __enter__(self) -> Engine:
        return self

    def __exit__(self, *error: object) -> None:
        self.cancel()
