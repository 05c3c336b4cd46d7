"""Report a full disk as an error: space is reserved before it is used, and nothing writes through a memory map."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from diadbench.common.errors import UserError

#: Advice for a shared cache without room.
MOVE_CACHE = "free some space (diadbench cache clear), or set DIADBENCH_CACHE to another disk"
#: Advice for a run directory without room.
MOVE_RUN = "free some space, or start the run on another disk with --out"

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_FORBIDDEN = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST, errno.ENOENT)
#: Error codes of file systems that can't reserve space. A plain write still reports a full disk.
_NO_RESERVE = (errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL, errno.ENODEV)


def reserve(handle: int, size: int) -> None:
    """Reserve ``size`` bytes of an open file on its disk.

    Raises:
        OSError: ``ENOSPC`` if the disk is full, ``EDQUOT`` if the user's quota is used up.
    """
    if not size or not hasattr(os, "posix_fallocate"):
        return
    try:
        os.posix_fallocate(handle, 0, size)
    except OSError as error:
        if error.errno not in _NO_RESERVE:
            raise


def reserve_file(path: Path) -> None:
    """Reserve the whole size of a file that is written through a memory map; raises as :func:`reserve`.

    Without this, a full disk would end the process by SIGBUS at a later write.
    """
    with open(path, "r+b") as file:
        reserve(file.fileno(), path.stat().st_size)


def check_space(directory: Path, size: int, what: str, remedy: str = MOVE_CACHE) -> None:
    """Raise UserError if the disk of ``directory`` has less than ``size`` bytes free for ``what``."""
    free = shutil.disk_usage(directory).free
    if free < size:
        raise UserError(
            f"{directory}: disk full: {what} need {shown_bytes(size)}, {shown_bytes(free)} are free; {remedy}"
        )


@contextlib.contextmanager
def writing(directory: Path, remedy: str = MOVE_CACHE) -> Iterator[None]:
    """Turn a full disk or missing permissions while writing below ``directory`` into a UserError."""
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise UserError(f"{directory}: disk full ({error.strerror}); {remedy}") from error
        if error.errno in _FORBIDDEN:
            elsewhere = "; set DIADBENCH_CACHE to a directory that can" if remedy == MOVE_CACHE else ""
            raise UserError(f"{directory}: can't be written ({error.strerror}){elsewhere}") from error
        raise


def shown_bytes(size: int) -> str:
    """Return a size for people: ``23.40 GB``, ``3.4 MB``, ``12 kB``, ``480 B``."""
    for unit, bytes_of, digits in (("GB", 10**9, 2), ("MB", 10**6, 1), ("kB", 10**3, 0)):
        if size >= bytes_of:
            return f"{size / bytes_of:.{digits}f} {unit}"
    return f"{size} B"
