"""The local engine: a process for each cell, a slot for each job or GPU."""

from __future__ import annotations

from diadbench.benchmark.engines.base import Engine, Job, Outcome
from diadbench.benchmark.engines.gpus import Gpus, environment_for, offered
from diadbench.benchmark.engines.process import CellProcess, end_all


class LocalEngine(Engine):
    """Runs cells as processes on this machine.

    Args:
        jobs: Number of cells that run at the same time. ``None``: as many as there are GPUs for, or one.
        gpus: Number of GPUs to share out, the first of the visible ones; ``None``: all.

    Raises:
        UserError: More GPUs than this process may use.
    """

    def __init__(self, jobs: int | None = None, gpus: int | None = None) -> None:
        self._gpus = Gpus(offered(gpus))
        self._jobs = jobs
        self.slots = jobs if jobs is not None else self._gpus.slots(1)
        self._running: list[tuple[CellProcess, list[str]]] = []

    def share_out(self, gpus: int, named: int | None = None) -> None:
        """Set the number of slots from the number of GPUs of a cell. Raises UserError when there are fewer GPUs."""
        slots = self._gpus.slots(gpus)
        if named is not None:
            self._gpus.check_named(named)
            slots = 1
        self.slots = self._jobs if self._jobs is not None else slots

    def submit(self, job: Job) -> None:
        """Start the job's process, on the least busy GPUs if it needs any."""
        devices = self._gpus.take(job.gpus) if job.named is None else []
        self._running.append((CellProcess(job, environment_for(devices)), devices))

    def poll(self) -> list[Outcome]:
        """Return the jobs that ended since the last call."""
        ended, still = [], []
        for process, devices in self._running:
            outcome = process.poll()
            if outcome is None:
                still.append((process, devices))
                continue
            ended.append(outcome)
            self._gpus.give_back(devices)
        self._running = still
        return ended

    def cancel(self) -> None:
        """End all processes and their children, all at once."""
        end_all([process for process, _ in self._running])
        self._running = []
