"""Unpack a downloaded archive: only plain files, only below the directory, only if they fit on the disk."""

from __future__ import annotations

import errno
import lzma
import re
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from diadbench.common.errors import UserError
from diadbench.datasets.decoding.workers import Progress
from diadbench.datasets.downloading.fetch import need_space

_OUTSIDE = re.compile(r"^/|^[A-Za-z]:|(?:^|/)\.\.(?:/|$)|\0")
_NAMES = (errno.EEXIST, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG, errno.EINVAL, errno.EILSEQ)
_BROKEN = (zipfile.BadZipFile, tarfile.TarError, EOFError, zlib.error, lzma.LZMAError, OSError, NotImplementedError)


@dataclass(frozen=True)
class _Member:
    """A file in an archive: its name, its size in bytes, and where to read it."""

    name: str
    size: int
    content: IO[bytes]


def unpack(archive: Path, into: Path, progress: Progress | None = None) -> int:
    """Unpack a zip or tar archive (plain, gz, bz2, xz) below ``into``.

    Modes, owners and times of the archive are ignored.

    Args:
        archive: The file.
        into: Directory; made if it isn't there.
        progress: Called as ``progress(bytes, total, name)``.

    Returns:
        The number of files written.

    Raises:
        UserError: The archive is cut off or damaged, isn't a zip or tar file, is encrypted, holds a path that leaves
            the directory or a link, or needs more space than there is.
        OSError: The disk is full or can't be written.
    """
    into.mkdir(parents=True, exist_ok=True)
    members = _zip_members(archive) if _is_zip(archive) else _tar_members(archive)
    total = _total(archive, into)
    done = written = 0
    while (member := _next(archive, members)) is not None:
        _write(archive, member, into / member.name)
        done, written = done + member.size, written + 1
        if progress is not None:
            progress(done, total, "unpacking")
    if not written:
        raise UserError(f"{archive}: the archive holds no file")
    return written


def _total(archive: Path, into: Path) -> int:
    """Return the size of all files in bytes, as far as the archive states it, and check the free space for it."""
    total = archive.stat().st_size  # A tar has no directory; it needs at least its own size.
    if _is_zip(archive):
        try:
            with zipfile.ZipFile(archive) as opened:
                total = sum(one.file_size for one in opened.infolist())
        except _BROKEN as error:
            raise _damaged(archive, error) from error
    need_space(into, total, f"the content of {archive.name}")
    return total


def _is_zip(archive: Path) -> bool:
    """Whether a file begins like a zip archive, even if it is truncated."""
    with open(archive, "rb") as content:
        return content.read(4) in (b"PK\3\4", b"PK\5\6", b"PK\7\x08")


def _zip_members(archive: Path) -> Iterator[_Member]:
    with zipfile.ZipFile(archive) as opened:
        for one in opened.infolist():
            name = _safe(archive, one.filename)
            if stat.S_ISLNK(one.external_attr >> 16):
                raise UserError(f"{archive}: {one.filename} is a link; refused: nothing but files is unpacked")
            if one.flag_bits & 1:
                raise UserError(f"{archive}: {one.filename} is encrypted; unpack it by hand")
            if not one.is_dir():
                with opened.open(one) as content:
                    yield _Member(name, one.file_size, content)


def _tar_members(archive: Path) -> Iterator[_Member]:
    with tarfile.open(archive) as opened:
        for one in opened:
            name = _safe(archive, one.name)
            if one.isdir():
                continue
            content = opened.extractfile(one) if one.isreg() else None
            if content is None:
                raise UserError(f"{archive}: {one.name} is a link or a device; refused: nothing but files is unpacked")
            with content:
                yield _Member(name, one.size, content)


def _safe(archive: Path, name: str) -> str:
    clean = name.replace("\\", "/")
    if _OUTSIDE.search(clean):
        raise UserError(f"{archive}: {name!r} leads out of the directory; refused: this is not the owner's archive")
    return clean


def _next(archive: Path, members: Iterator[_Member]) -> _Member | None:
    try:
        return next(members, None)
    except _BROKEN as error:
        raise _damaged(archive, error) from error


def _write(archive: Path, member: _Member, path: Path) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(path, "wb") as out:
            shutil.copyfileobj(_Checked(archive, member.content), out, 1 << 20)
    except OSError as error:
        if error.errno in _NAMES:  # a file and a folder of the same name, or a name that is too long
            raise _damaged(archive, error) from error
        raise
    if path.stat().st_size != member.size:
        raise _damaged(archive, EOFError(f"{member.name} is cut off"))


class _Checked:
    """Read from an archive. Its faults raise UserError, which distinguishes them from errors of the disk."""

    def __init__(self, archive: Path, content: IO[bytes]) -> None:
        self._archive, self._content = archive, content

    def read(self, size: int = -1) -> bytes:
        """Read up to ``size`` bytes."""
        try:
            return self._content.read(size)
        except _BROKEN as error:
            raise _damaged(self._archive, error) from error


def _damaged(archive: Path, error: BaseException) -> UserError:
    reason = " ".join(str(error).split()) or type(error).__name__
    return UserError(f"{archive}: cut off, damaged, or no zip or tar archive ({reason})")
