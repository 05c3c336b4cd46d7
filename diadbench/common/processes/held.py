"""Test whether a process holds a lock file, without the right to write it."""

from __future__ import annotations

import os
from pathlib import Path

from filelock import FileLock, Timeout

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

#: Seconds that a process waits to acquire a lock, since processes that test it hold it for microseconds.
LOOKED_AT = 1.0


def is_held(path: Path | str) -> bool | None:
    """Return whether a process holds the lock file ``path``; ``None`` if that can't be known.

    The file is opened for reading and a shared lock is requested, so that another user can test it, and two tests don't
    affect each other. The result is unknown if the file can't be read or its file system has no such locks.
    """
    if fcntl is None:
        return _is_held_exclusively(path)
    try:
        handle = os.open(path, os.O_RDONLY)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return None
    finally:
        os.close(handle)  # releases the shared lock
    return False


def _is_held_exclusively(path: Path | str) -> bool | None:
    if not os.path.exists(path):
        return False
    try:
        with FileLock(path).acquire(blocking=False):
            return False
    except Timeout:
        return True
    except OSError:
        return None
