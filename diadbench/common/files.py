"""Write files atomically, and find the directories that outlive a run."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import shutil
import stat
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO


@contextlib.contextmanager
def atomic_write(path: Path | str) -> Iterator[BinaryIO]:
    """Open a temporary file beside ``path``; on success it is fsynced and renamed to ``path``.

    A reader sees the old content or the new, never a part. On an exception nothing is left behind.
    """
    path = Path(path)
    with _told_of(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
    try:
        with _told_of(path, name):
            with os.fdopen(handle, "wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            share(Path(name))
            os.replace(name, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(name)
        raise
    _sync_directory(path.parent)


@contextlib.contextmanager
def _told_of(path: Path, temporary: str = "") -> Iterator[None]:
    """Let an error of writing name what the user asked for: not the temporary beside it, and not nothing (a full disk).

    Args:
        path: What is written.
        temporary: Where it is written for now. An error that names another file keeps its name; ``""``: none does.
    """
    try:
        yield
    except shutil.Error as error:  # of a copied folder: a list with every file
        raise _of_copies(error, path) from error
    except OSError as error:
        if error.filename is None or os.fsdecode(error.filename).startswith(temporary):
            error.filename, error.filename2 = str(path), None
        raise


def _of_copies(error: shutil.Error, path: Path) -> OSError:
    """Return the first of the errors of a copied folder, with the target's name if that can't be written."""
    source, _, why = error.args[0][0]
    number = int((re.search(r"\[Errno (\d+)\]", str(why)) or ["", "0"])[1])
    full = number in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG)
    return OSError(number, os.strerror(number) if number else str(why), str(path if full else source))


@contextlib.contextmanager
def atomic_directory(path: Path | str) -> Iterator[Path]:
    """Make a temporary directory beside ``path``; on success it is renamed to ``path``, which must not exist then.

    Its content gets the permissions of the umask. On an exception nothing is left behind.
    """
    path = Path(path)
    with _told_of(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp"))
    try:
        with _told_of(path, str(temporary)):
            yield temporary
            share(temporary)
            os.replace(temporary, path)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    _sync_directory(path.parent)


def share(path: Path) -> None:
    """Give a file, or a directory with its content, the permissions of the umask.

    ``tempfile`` and ``safetensors`` make files that only their owner can read, for any umask.
    """
    mask = umask()
    for one in [path, *(path.rglob("*") if path.is_dir() else ())]:
        mode = one.lstat().st_mode
        if not stat.S_ISLNK(mode):
            executable = stat.S_ISDIR(mode) or mode & stat.S_IXUSR
            one.chmod((0o777 if executable else 0o666) & ~mask)


def umask() -> int:
    """Return the process's umask, safely in threads: on Linux it is only read; elsewhere it is found once."""
    global _umask_elsewhere
    found = _read_umask()
    if found is not None:
        return found
    with _umask_lock:
        if _umask_elsewhere is None:
            _umask_elsewhere = _swap_umask()
        return _umask_elsewhere


_umask_lock = threading.Lock()
_umask_elsewhere: int | None = None


def write_text(path: Path | str, text: str) -> None:
    """Write ``text`` as UTF-8, atomically."""
    with atomic_write(path) as file:
        file.write(text.encode())


def write_json(path: Path | str, value: Any) -> None:
    """Write ``value`` as indented JSON, atomically. ``Path`` and numpy scalars are converted to plain values."""
    write_text(path, json.dumps(value, indent=2, default=_plain, ensure_ascii=False) + "\n")


def read_json(path: Path | str) -> Any:
    """Read a JSON file; ``None`` if it doesn't exist or isn't JSON."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None


def write_with(path: Path | str, write: Callable[[str], Any]) -> None:
    """Let ``write(temporary_name)`` make a file, then fsync and rename it to ``path`` (same suffix kept)."""
    path = Path(path)
    with _told_of(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem}.", suffix=path.suffix)
    os.close(handle)
    try:
        with _told_of(path, name):
            write(name)
            with open(name, "rb") as file:
                os.fsync(file.fileno())
            share(Path(name))
            os.replace(name, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(name)
        raise
    _sync_directory(path.parent)


def cache_dir() -> Path:
    """Return the directory of caches: ``$DIADBENCH_CACHE``, else ``diadbench`` in the user's cache directory."""
    chosen = os.environ.get("DIADBENCH_CACHE")
    if chosen:
        return Path(chosen).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "diadbench"


def _plain(value: Any) -> Any:
    if hasattr(value, "item"):
        return value.item()
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, (set, frozenset)):
        return sorted(value)
    raise TypeError(f"{type(value).__name__} can't be written as JSON")


def _read_umask() -> int | None:
    """Return the umask as Linux reports it; ``None`` on other systems."""
    try:
        with open("/proc/self/status", encoding="ascii", errors="replace") as status:
            found = next((line for line in status if line.startswith("Umask:")), None)
    except OSError:
        return None
    return int(found.split()[1], 8) if found else None


def _swap_umask() -> int:
    """Read the umask the only other way: set it and set it back. Files made meanwhile by other threads are private."""
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


def _sync_directory(path: Path) -> None:
    with contextlib.suppress(OSError):  # Some network file systems can't; the rename itself is atomic.
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
