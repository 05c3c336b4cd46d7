"""The page of a run that goes on: a niced process writes it again as cells end. The runner only tells it of changes.

The runner writes a byte into a pipe at each change. The end of the pipe tells that the runner is gone, however it
ended, so the page never claims that a run goes on which was killed.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

#: Seconds between two builds of the page, and between two looks of a browser at it.
EVERY = 20.0
#: The next build waits for so many times what the last one took of the processor.
SHARE = 5.0
#: Seconds that are waited for the end of the process; what it still has to do, it does alone.
_PATIENCE = 10.0


class GrowingPage:
    """Keeps ``report/index.html`` of a run up to date while the run goes on. A context manager.

    Use it as the ``follower`` of :func:`diadbench.benchmark.runs.runner.run_grid`, and build the whole report inside
    the ``with`` block after :meth:`give_way`. A block that is left otherwise (an interrupted run, an error) leaves a
    page that says so and reloads no more.

    Args:
        every: Seconds between two builds, at least.
        share: So many times what a build takes of the processor passes before the next one.
    """

    def __init__(self, every: float = EVERY, share: float = SHARE) -> None:
        self._pace = ["--every", str(every), "--share", str(share)]
        self._run: Path | None = None
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> GrowingPage:
        return self

    def __exit__(self, *error: object) -> None:
        self._leave()

    def begin(self, run: Path) -> str:
        """Start the process. Returns the line that tells where the page is."""
        self._run = run.absolute()
        self._process = self._started()
        page = page_of(self._run)
        return f"report: {page} (open it now: it grows while the run goes on)"

    def _started(self) -> subprocess.Popen[bytes]:
        module = "diadbench.reports.page.watching"
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", module, str(self._run), *self._pace],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C is the runner's; the page then says that the run was interrupted
        )
        assert process.stdin is not None
        os.set_blocking(process.stdin.fileno(), False)
        return process

    def changed(self) -> None:
        """Tell that a cell has begun or ended. Never waits."""
        if self._process is not None and self._process.stdin is not None:
            with contextlib.suppress(OSError):  # a full pipe has told already; a broken one costs the page alone
                os.write(self._process.stdin.fileno(), b"\n")

    def give_way(self) -> None:
        """End the process, so that the whole report can take the page's place."""
        process = self._process
        if process is None:
            return
        process.terminate()
        self._end()
        if process.poll() is None:  # a busy machine: what it still wrote would stand in the whole report's place
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def whole(self) -> None:
        """Tell that the whole report stands in the page's place."""
        self._run = None

    def _leave(self) -> None:
        """Leave a page that doesn't reload, unless the whole report has taken its place."""
        if self._run is None:
            self.give_way()
            return
        if self._process is None:
            self._process = self._started()
        self._end()

    def _end(self) -> None:
        """Close the pipe and wait for the process."""
        process, self._process = self._process, None
        assert process is not None
        assert process.stdin is not None
        process.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):  # it goes on without us
            process.wait(_PATIENCE)


def page_of(run: Path) -> Path:
    """Return where the page of a run's own report is."""
    return run / "report" / "index.html"
