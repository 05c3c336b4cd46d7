"""Run the user's notification command when the first cell fails and when the run is over."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time

from diadbench.benchmark.records.store import CellRecord

#: Time limit of the command in seconds.
LIMIT = 60.0


class Notifier:
    """Runs the command of ``notify``. It has :data:`LIMIT` seconds and never ends or holds up the run.

    Args:
        command: Shell command; ``None``: no notification.
        run: The run directory.
    """

    def __init__(self, command: str | None, run: str) -> None:
        self._command, self._run = command, run
        self._running: tuple[subprocess.Popen[bytes], float] | None = None
        self._told = False

    def cell_failed(self, record: CellRecord) -> None:
        """Report the first cell that fails (``DIADBENCH_EVENT=cell_failed``), without waiting for the command."""
        if self._told:
            return
        self._told = True
        reason = str(record.status.get("reason", ""))
        self._start("cell_failed", failed=1, DIADBENCH_CELL=str(record.directory), DIADBENCH_REASON=reason)

    def over(self, event: str, failed: int) -> None:
        """Report that the run is over: ``done``, ``failed`` or ``interrupted``. Waits for the command."""
        self._finish()
        self._start(event, failed)
        self._finish()

    def _start(self, event: str, failed: int, **more: str) -> None:
        if not self._command:
            return
        variables = {"DIADBENCH_EVENT": event, "DIADBENCH_RUN": self._run, "DIADBENCH_FAILED": str(failed), **more}
        process = subprocess.Popen(
            self._command,
            shell=True,
            env={**os.environ, **variables},
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
        self._running = process, time.monotonic() + LIMIT

    def _finish(self) -> None:
        if self._running is None:
            return
        (process, until), self._running = self._running, None
        try:
            code = process.wait(timeout=max(until - time.monotonic(), 0))
        except subprocess.TimeoutExpired:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            print(f"diadbench: notify: the command took more than {LIMIT:g} s and was ended", file=sys.stderr)
            return
        if code:
            print(f"diadbench: notify: the command ended with exit code {code}", file=sys.stderr)
