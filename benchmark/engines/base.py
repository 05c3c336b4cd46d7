"""What an engine is: it takes jobs, says which ended, and can cancel one."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

State = Literal["ended", "busy", "timeout", "oom", "died"]


@dataclass(frozen=True)
class Job:
    """A cell's process to be.

    Attributes:
        cell: Directory of the cell.
        since: A result older than this is run again (Unix time).
        time_limit: Seconds, or ``None``.
        memory_limit: Bytes of memory of the process and its children (see
            :func:`~diadbench.benchmark.cells.meter.own_bytes`), or ``None``.
        threads: CPU threads; 0 leaves it to torch.
        gpus: GPUs that the cell wants.
        named: Place among the visible GPUs of the one that the cell names (1 for ``cuda:1``): it sees them all.
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
        state: ``ended``: the process wrote its own end. ``busy``: another process has the cell. ``timeout``,
            ``oom``: ended by the engine. ``died``: gone without a word.
        reason: For people.
        peak_bytes: Peak memory that the engine saw (:func:`~diadbench.benchmark.cells.meter.own_bytes`).
        extra: What the engine knows besides (a SLURM job id, a node).
    """

    job: Job
    state: State
    reason: str = ""
    peak_bytes: int = 0
    extra: dict[str, Any] = field(default_factory=dict)


class Engine(ABC):
    """Runs jobs somewhere. Use as a context manager: leaving it cancels what still runs."""

    #: How many jobs may be under way; the runner submits no more.
    slots: int = 1

    @property
    def at_once(self) -> int | None:
        """How many cells surely run at once; ``None`` where the cluster decides."""
        return self.slots

    def share_out(self, gpus: int, named: int | None = None) -> None:
        """Be told, before the first job, how many GPUs each cell takes: it decides how many run at once.

        Args:
            gpus: GPUs of a cell; 0 on a CPU.
            named: Place among the visible GPUs of the one that all cells name, or ``None``.

        Raises:
            UserError: There are fewer.
        """
        return None  # an engine that leaves GPUs to its cluster has nothing to decide

    def threads(self) -> int:
        """CPU threads of a cell when the grid doesn't say: the cores, shared out among the slots."""
        return max((os.cpu_count() or 1) // self.slots, 1)

    @abstractmethod
    def submit(self, job: Job) -> None:
        """Start a job, or queue it where the engine has a queue of its own."""

    @abstractmethod
    def poll(self) -> list[Outcome]:
        """Return the jobs that ended since the last call. Doesn't block for long."""

    @abstractmethod
    def cancel(self) -> None:
        """End every job that is under way, politely first."""

    def __enter__(self) -> Engine:
        return self

    def __exit__(self, *error: object) -> None:
        self.cancel()
