"""Cells as forks of this process: real processes, with real signals, that need not import torch again."""

from __future__ import annotations

import os
import signal
import sys
import traceback

import torch

from diadbench.benchmark.cells import worker
from diadbench.benchmark.engines.base import Engine, Job, Outcome


class Forked(Engine):
    """Runs the worker of each cell in a fork, with one thread, and waits for it. Output goes to the cell's log."""

    def __init__(self) -> None:
        self._ended: list[Outcome] = []
        torch.set_num_threads(1)  # the pool of a process with more doesn't outlive a fork

    def submit(self, job: Job) -> None:
        """Run the job to its end."""
        child = os.fork()
        if child == 0:
            os._exit(_cell(job))
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        if code < 0:
            self._ended.append(Outcome(job, "died", f"killed by signal {-code} ({signal.Signals(-code).name})"))
        else:
            self._ended.append(Outcome(job, "ended" if code == worker.EXIT_ENDED else "died", f"exit code {code}"))

    def poll(self) -> list[Outcome]:
        """Return what has run since the last call."""
        ended, self._ended = self._ended, []
        return ended

    def cancel(self) -> None:
        """Nothing runs between two calls."""


def _cell(job: Job) -> int:
    log = os.open(job.cell / "log.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(log, 1)
    os.dup2(log, 2)
    sys.stdout, sys.stderr = (open(number, "w", closefd=False, encoding="utf-8") for number in (1, 2))  # noqa: SIM115
    try:
        return worker.main([str(job.cell.absolute()), "--since", repr(job.since), "--threads", "1"])
    except BaseException:
        traceback.print_exc()
        return 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
