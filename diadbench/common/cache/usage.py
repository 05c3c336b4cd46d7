"""Marks of cache entries that living processes use, so that clearing the cache doesn't remove them.

Each process that uses the cache has a file in ``<cache>/.in-use`` with a line for each entry that it has opened, and
holds a lock on it until it ends. The kernel releases the lock in any case. A process that can't write there leaves no
mark.
"""

from __future__ import annotations

import contextlib
import os
import threading
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from filelock import FileLock

try:
    import fcntl
except ImportError:  # Windows doesn't let a file be removed that a process has open.
    fcntl = None  # type: ignore[assignment]

FOLDER = ".in-use"


@dataclass
class _Marks:
    """This process's file for one cache directory. The handle is never closed, because it holds the lock."""

    path: Path
    handle: int
    names: set[str] = field(default_factory=set)


_marks: dict[Path, _Marks] = {}
_threads = threading.Lock()


def mark_used(entry: Path) -> None:
    """Mark ``<cache>/<kind>/<name>`` as used by this process. Call it before testing whether the entry exists."""
    root, name = entry.parents[1].absolute(), f"{entry.parent.name}/{entry.name}"
    with contextlib.suppress(OSError), _threads:
        if root not in _marks or name not in _marks[root].names:
            with usage_lock(root):
                marks = _marks.get(root) or _begin(root)
                os.write(marks.handle, f"{name}\n".encode())
                marks.names.add(name)
    with contextlib.suppress(OSError):
        os.utime(entry)  # the date of last use


def used_entries(root: Path) -> set[str]:
    """Return the entries ``kind/name`` that living processes use. Call it while holding :func:`usage_lock`."""
    own = _marks.get(root.absolute())
    found = set(own.names) if own else set()
    for path in (root / FOLDER).glob("*.txt"):
        if own is None or path != own.path:
            found |= _names_of(path)
    return found


@contextlib.contextmanager
def usage_lock(root: Path) -> Iterator[None]:
    """Prevent other processes from marking entries as used during the block."""
    (root / FOLDER).mkdir(parents=True, exist_ok=True)
    with FileLock(str(root / FOLDER / "lock")):
        yield


def _begin(root: Path) -> _Marks:
    used_entries(root)  # removes the files of processes that have ended
    path = root / FOLDER / f"{uuid.uuid4().hex}.txt"
    handle = os.open(path, os.O_CREAT | os.O_APPEND | os.O_WRONLY, 0o666)
    if fcntl is not None:
        with contextlib.suppress(OSError):  # a file system without locks
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    return _marks.setdefault(root, _Marks(path, handle))


def _names_of(path: Path) -> set[str]:
    """Return the entries that a process uses; the file of an ended process is removed."""
    if fcntl is None:
        return set()
    with contextlib.suppress(FileNotFoundError), open(path, encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            return set(file.read().split("\n")) - {""}
        path.unlink(missing_ok=True)
    return set()
