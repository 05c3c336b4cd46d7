"""Whether a runner is at work on a run directory: each holds a lock file of its own there for its life."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock

from diadbench.common.processes.held import is_held

#: Where the lock files lie, below the run directory.
FOLDER = ".runners"


@contextlib.contextmanager
def at_work(run: Path) -> Iterator[None]:
    """Be seen by :func:`somebody_is_at_work` inside. The kernel frees the lock, however the process ends.

    Without locks on the file system, or without the right to write, the runner works unseen.
    """
    path = run / FOLDER / f"{socket.gethostname()}-{os.getpid()}.lock"
    lock = FileLock(path)
    with contextlib.suppress(OSError, NotImplementedError):
        path.parent.mkdir(exist_ok=True)
        lock.acquire(blocking=False)
    try:
        yield
    finally:
        lock.release()
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)


def somebody_is_at_work(run: Path) -> bool | None:
    """Return whether a runner is at work on a run directory; ``None`` where that can't be known."""
    found = [is_held(path) for path in (run / FOLDER).glob("*.lock")]
    if any(found):
        return True
    return None if None in found else False
