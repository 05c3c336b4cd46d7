"""Run one job as a process: start it, check its time and memory, and end its process group (SIGTERM, then SIGKILL)."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from diadbench.benchmark.cells.meter import own_bytes
from diadbench.benchmark.cells.worker import EXIT_BUSY, EXIT_ENDED
from diadbench.benchmark.engines.base import Job, Outcome

#: Seconds between SIGTERM and SIGKILL: the time to write a training checkpoint.
GRACE = 10.0


class CellProcess:
    """The process of a job. Its output goes to the cell's ``log.txt``.

    Args:
        job: The job.
        environment: Environment variables to add.
    """

    def __init__(self, job: Job, environment: dict[str, str] | None = None) -> None:
        self.job = job
        self._oom_kills = _oom_kills()
        self._peak = 0
        self._start = time.monotonic()
        self._last_look = 0.0
        self._until: float | None = None
        self._verdict: Outcome | None = None
        self._log = open(job.cell / "log.txt", "ab")  # noqa: SIM115 - lives as long as the process
        # -P: the working directory must not shadow installed packages (a repository may hold a folder `datasets`)
        command = [sys.executable, "-P", "-m", "diadbench.benchmark.cells.worker", str(job.cell.absolute())]
        command += ["--since", repr(job.since), "--parent", str(os.getpid()), "--threads", str(job.threads)]
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=subprocess.STDOUT,
            env={
                **os.environ,
                "PYTHONIOENCODING": "utf-8:backslashreplace",
                **_thread_variables(job.threads),
                **(environment or {}),
            },
            start_new_session=True,
        )

    def poll(self) -> Outcome | None:
        """Return how the job ended, or ``None`` while it runs. Ends a job that exceeds a limit. Never waits."""
        code = self._process.poll()
        if code is not None:
            self._log.close()
            found = self._judge(code)
            return self._verdict or found
        if self._until is not None:
            if time.monotonic() > self._until:
                self._signal(signal.SIGKILL)
        elif self.job.time_limit and time.monotonic() - self._start > self.job.time_limit:
            self._verdict = Outcome(
                self.job, "timeout", f"over its time limit of {self.job.time_limit:g} s", self._peak
            )
            self.ask()
        elif self._over_memory():
            limit = self.job.memory_limit or 0
            reason = f"over its memory limit of {limit / 1e9:.3g} GB (it held {self._peak / 1e9:.3g} GB)"
            self._verdict = Outcome(self.job, "oom", reason, self._peak)
            self.ask(grace=0)
        return None

    def ask(self, grace: float | None = None) -> None:
        """Ask the whole process group to end. It is killed after ``grace`` seconds, by default :data:`GRACE`."""
        grace = GRACE if grace is None else grace
        self._until = time.monotonic() + grace
        self._signal(signal.SIGTERM if grace else signal.SIGKILL)

    def end(self) -> None:
        """End the whole process group and wait for it: SIGTERM, then SIGKILL after :data:`GRACE` seconds."""
        end_all([self])

    def confirm(self) -> None:
        """Wait for the end of a process that was asked to end; kill it when its time is over."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout=max((self._until or 0) - time.monotonic(), 0))
        self._signal(signal.SIGKILL)
        self._process.wait()
        self._log.close()

    def _signal(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, number)

    def _judge(self, code: int) -> Outcome:
        self._signal(signal.SIGKILL)  # children that outlived the process
        if code == EXIT_ENDED:
            return Outcome(self.job, "ended", peak_bytes=self._peak)
        if code == EXIT_BUSY:
            return Outcome(self.job, "busy")
        if code == -signal.SIGKILL and _oom_kills() > self._oom_kills:
            reason = f"the system ran out of memory and killed it (it held {self._peak / 1e9:.3g} GB)"
            return Outcome(self.job, "oom", reason, self._peak)
        if code < 0:
            return Outcome(self.job, "died", f"killed by signal {-code} ({_signal_name(-code)})", self._peak)
        return Outcome(self.job, "died", f"ended with exit code {code}; {_last_line(self.job.cell)}", self._peak)

    def _over_memory(self) -> bool:
        now = time.monotonic()
        if now - self._last_look < 0.2:
            return False
        self._last_look = now
        held = own_bytes(self._process.pid)
        self._peak = max(self._peak, held)
        return bool(self.job.memory_limit) and held > (self.job.memory_limit or 0)


def end_all(processes: Sequence[CellProcess]) -> None:
    """End several processes in the time that the slowest takes: first ask all of them, then wait for all."""
    for process in processes:
        process.ask()
    for process in processes:
        process.confirm()


def _thread_variables(threads: int) -> dict[str, str]:
    if not threads:
        return {}
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")
    return dict.fromkeys(names, str(threads))


def _oom_kills() -> int:
    """Return how often the kernel has killed a process for lack of memory."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        for line in Path("/proc/vmstat").read_text(encoding="utf-8").splitlines():
            if line.startswith("oom_kill "):
                return int(line.split()[1])
    return 0


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return "unknown"


def _last_line(cell: Path) -> str:
    with contextlib.suppress(OSError):
        lines = (cell / "log.txt").read_text(errors="replace", encoding="utf-8").strip().splitlines()
        if lines:
            return f"last line of its log: {lines[-1][:300]}"
    return "it printed nothing"
