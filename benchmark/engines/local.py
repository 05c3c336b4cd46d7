"""The local engine: a process for each cell, a slot for each job or GPU."""

from __future__ import annotations

import os

from diadbench.benchmark.engines.base import Engine, Job, Outcome
from diadbench.benchmark.engines.process import CellProcess


class LocalEngine(Engine):
    """Runs cells as processes on this machine.

    Args:
        jobs: Cells at once. ``None``: one for each visible GPU, or one.
        gpus: Number of GPUs to share out, ``None``: count them.
    """

    def __init__(self, jobs: int | None = None, gpus: int | None = None) -> None:
        self._gpus = list(range(count_gpus() if gpus is None else gpus))
        self.slots = jobs if jobs is not None else max(len(self._gpus), 1)
        self._running: list[tuple[CellProcess, list[int]]] = []
        self._load = dict.fromkeys(self._gpus, 0)

    def submit(self, job: Job) -> None:
        """Start the job's process, on the GPUs with the least to do when it wants any."""
        devices = sorted(self._gpus, key=lambda gpu: self._load[gpu])[: job.gpus]
        for gpu in devices:
            self._load[gpu] += 1
        environment = {"CUDA_VISIBLE_DEVICES": ",".join(map(str, devices))} if devices else {}
        self._running.append((CellProcess(job, environment), devices))

    def poll(self) -> list[Outcome]:
        """Return the jobs that ended since the last call."""
        ended, still = [], []
        for process, devices in self._running:
            outcome = process.poll()
            if outcome is None:
                still.append((process, devices))
                continue
            ended.append(outcome)
            for gpu in devices:
                self._load[gpu] -= 1
        self._running = still
        return ended

    def cancel(self) -> None:
        """End all processes and their children."""
        for process, _ in self._running:
            process.end()
        self._running = []


def count_gpus() -> int:
    """Return the number of NVIDIA GPUs that this process may use, without importing torch."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return len([name for name in visible.split(",") if name.strip() not in ("", "-1")])
    try:
        return len([name for name in os.listdir("/proc/driver/nvidia/gpus") if name])
    except OSError:
        return 0
