"""Show that a runner works on a run directory: each runner holds its own lock file there."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock

from diadbench.common.processes.held import is_held

#: Folder of the lock files, below the run directory.
FOLDER = ".runners"


@contextlib.contextmanager
def at_work(run: Path) -> Iterator[None]:
    """Hold a lock file inside the block, which :func:`somebody_is_at_work` finds. The kernel releases it at the end.

    Without locks on the file system, or without the right to write, the runner isn't visible.
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
    """Return whether a runner works on a run directory; ``None`` if that can't be known."""
    found = [is_held(path) for path in (run / FOLDER).glob("*.lock")]
    if any(found):
        return True
    return None if None in found else False
