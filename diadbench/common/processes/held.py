"""Whether somebody holds a lock file, seen without the right to write it."""

from __future__ import annotations

import os
from pathlib import Path

from filelock import FileLock, Timeout

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

#: Seconds that whoever takes a lock waits for others who only look at it; they hold it for microseconds.
LOOKED_AT = 1.0


def is_held(path: Path | str) -> bool | None:
    """Return whether a process holds the lock file ``path``; ``None`` where that can't be known.

    The file is opened for reading and asked for a shared lock, so that another user may ask, and two who ask don't
    see each other. Not to be known: the file can't be read, or its file system has no such locks.
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
        os.close(handle)  # gives the shared lock back
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
