"""Fetch one file over HTTP: existing files are kept, interrupted downloads resumed, and wrong files removed."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import http.client
import os
import re
import shutil
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from diadbench.common.errors import UserError
from diadbench.common.files import read_json, write_json
from diadbench.datasets.decoding.workers import Progress
from diadbench.datasets.downloading.links import RemoteFile

#: ``say("a line for people")``
Say = Callable[[str], None]
#: Seconds to wait before each retry of a broken connection. The count of retries restarts once bytes have come.
WAITS = (1.0, 2.0, 5.0, 10.0, 20.0)
_TIMEOUT = 60
_CHUNK = 1 << 20
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_BROKEN = (http.client.HTTPException, ConnectionError, TimeoutError, urllib.error.URLError)


class _ChangedError(Exception):
    """The partial file doesn't match the file on the server, so the download has to restart."""


@dataclass(frozen=True)
class _Answer:
    """Answer of a server: offset of the body in the file, the file's size, and a tag that changes with the file."""

    start: int
    total: int | None
    tag: str


def fetch(file: RemoteFile, folder: Path, progress: Progress | None = None, say: Say | None = None) -> Path:
    """Fetch a file into ``folder`` and verify it. An interrupted call is resumed by the next one.

    The partial file is ``<name>.part``; ``<name>.part.json`` states the server's version of it.

    Args:
        file: Address, size, checksum.
        folder: Existing directory.
        progress: Called as ``progress(bytes, total, name)``; ``total`` is 0 while it is unknown.
        say: Gets a line with the size before the first byte is fetched, and one for each new try.

    Returns:
        The path of the complete, verified file.

    Raises:
        UserError: No connection, the server refuses, the disk is too small or full, or the file is not what it should
            be. All but the last keep what was fetched.
    """
    target, part = folder / file.name, folder / f"{file.name}.part"
    if target.is_file():
        return target
    tries = anew = 0
    while not _is_whole(part, file):
        before = _size(part)
        try:
            _go_on(file, part, progress, say)
            break
        except _ChangedError as error:
            remove(part)
            anew += 1
            if anew > len(WAITS):
                raise UserError(
                    f"{file.url}: the server sends other parts than those asked for; get it by hand"
                ) from error
        except urllib.error.HTTPError as error:
            raise _refused(file, error) from error
        except _BROKEN as error:
            tries = 1 if _size(part) > before else tries + 1
            if tries > len(WAITS) or not _size(part):
                raise _no_connection(file, part, error) from error
            _tell(say, f"{file.name}: connection broken ({_reason(error)}); going on after {_size(part):,} bytes")
            time.sleep(WAITS[tries - 1])
    verify(part, file, progress)
    os.replace(part, target)
    remove(part)
    return target


def verify(path: Path, file: RemoteFile, progress: Progress | None = None) -> None:
    """Compare a fetched file with the known size and checksum, and remove it if it is wrong.

    Raises:
        UserError: It differs.
    """
    if file.size is not None and _size(path) != file.size:
        found = _size(path)
        remove(path)
        raise UserError(f"{file.url}: {found:,} bytes, expected {file.size:,}; removed: run the same command again")
    if not file.sha256:
        return
    found_sum = _sha256(path, progress)
    if found_sum != file.sha256:
        remove(path)
        raise UserError(
            f"{file.url}: sha256 {found_sum}, expected {file.sha256}; removed: run the same command again, and if it "
            "stays so, the owner has replaced the file or somebody changed it on the way"
        )


def remove(part: Path) -> None:
    """Remove a partial file and its description."""
    for path in (part, _note(part)):
        path.unlink(missing_ok=True)


@contextlib.contextmanager
def storing(directory: Path) -> Iterator[None]:
    """Turn a full disk or missing permissions while writing below ``directory`` into a UserError."""
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise UserError(
                f"{directory}: disk full ({error.strerror}); free some space and run the same command again: it goes on"
            ) from error
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST):
            raise UserError(f"{directory}: can't be written ({error.strerror}); give another --root") from error
        raise


def need_space(directory: Path, needed: int, what: str) -> None:
    """Raise UserError if the disk of ``directory`` has less than ``needed`` bytes free."""
    free = shutil.disk_usage(directory).free
    if needed > free:
        raise UserError(
            f"{directory}: {readable(free)} free, {readable(needed)} needed for {what}; free some space or give "
            "another --root"
        )


def readable(size: int) -> str:
    """Return a number of bytes for people: ``1.9 GB``."""
    value, unit = float(size), "bytes"
    for unit in ("bytes", "kB", "MB", "GB", "TB"):
        if value < 1000 or unit == "TB":
            break
        value /= 1000
    return f"{value:.0f} {unit}" if unit == "bytes" else f"{value:.1f} {unit}"


def _go_on(file: RemoteFile, part: Path, progress: Progress | None, say: Say | None) -> None:
    """Request the missing bytes and append them. Raises _ChangedError if the partial file is useless."""
    note = read_json(_note(part)) or {}
    have = _size(part)
    tag = note.get("tag", "") if note.get("url") == file.url else ""
    if have and not tag:
        raise _ChangedError
    opened = _open(file, have, tag)
    if opened is None:
        return  # The file is complete.
    with opened as response:
        answer = _understood(file, response, have)
        write_json(_note(part), {"url": file.url, "tag": answer.tag})
        _announce(file, answer, say)
        need_space(part.parent, (answer.total or 0) - answer.start, file.name)
        done = _append(response, part, answer, progress, file.name)
    if answer.total is not None and done < answer.total:
        raise ConnectionError(f"ended after {done:,} of {answer.total:,} bytes")


def _open(file: RemoteFile, have: int, tag: str) -> http.client.HTTPResponse | None:
    """Request the file, or its missing bytes; ``None`` if nothing is missing."""
    headers = {"User-Agent": "diadbench"}
    if have:
        headers |= {"Range": f"bytes={have}-", "If-Range": tag}
    request = urllib.request.Request(file.url, headers=headers)
    try:
        response: http.client.HTTPResponse = urllib.request.urlopen(request, timeout=_TIMEOUT)
    except urllib.error.HTTPError as error:
        if error.code != 416 or not have:
            raise
        if error.headers.get("Content-Range", "") == f"bytes */{have}":
            return None
        raise _ChangedError from error
    return response


def _understood(file: RemoteFile, response: http.client.HTTPResponse, have: int) -> _Answer:
    if response.headers.get_content_type() == "text/html":
        raise UserError(f"{file.url}: the server sends a web page instead of the file; see the owner's page")
    start, total = 0, _number(response.headers.get("Content-Length"))
    if response.status == 206:
        found = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", response.headers.get("Content-Range", ""))
        if not found or int(found[1]) != have:
            raise _ChangedError
        start, total = have, _number(found[2])
    if file.size is not None and total not in (None, file.size):
        raise UserError(
            f"{file.url}: the server has {total:,} bytes, expected {file.size:,}; the owner has replaced the file: get "
            "it by hand, and check it with `diadbench datasets check`"
        )
    etag = response.headers.get("ETag", "")
    tag = etag if etag and not etag.startswith("W/") else response.headers.get("Last-Modified", "")
    return _Answer(start, total if total is not None else file.size, tag)


def _append(
    response: http.client.HTTPResponse, part: Path, answer: _Answer, progress: Progress | None, name: str
) -> int:
    done = answer.start
    with open(part, "r+b" if answer.start else "wb") as out:
        out.seek(answer.start)
        out.truncate()
        while chunk := _received(response):
            out.write(chunk)
            done += len(chunk)
            if progress is not None:
                progress(done, answer.total or 0, name)
    return done


def _received(response: http.client.HTTPResponse) -> bytes:
    """Receive the body. Errors of the network are distinguished from errors of the disk."""
    try:
        return response.read(_CHUNK)
    except OSError as error:
        raise ConnectionError(_reason(error)) from error


def _announce(file: RemoteFile, answer: _Answer, say: Say | None) -> None:
    size = "size unknown" if answer.total is None else readable(answer.total)
    there = f", {readable(answer.start)} of it already there" if answer.start else ""
    _tell(say, f"{file.name}: {size}{there}, from {file.host}")


def _is_whole(part: Path, file: RemoteFile) -> bool:
    return file.size is not None and _size(part) == file.size


def _sha256(path: Path, progress: Progress | None) -> str:
    digest, done, total = hashlib.sha256(), 0, _size(path)
    with open(path, "rb") as content:
        while chunk := content.read(_CHUNK):
            digest.update(chunk)
            done += len(chunk)
            if progress is not None:
                progress(done, total, "checksum")
    return digest.hexdigest()


def _refused(file: RemoteFile, error: urllib.error.HTTPError) -> UserError:
    return UserError(
        f"{file.url}: the server answers {error.code} {error.reason}; see the owner's page for the download"
    )


def _no_connection(file: RemoteFile, part: Path, error: BaseException) -> UserError:
    there = f"; {readable(_size(part))} are there, and the same command goes on" if _size(part) else ""
    return UserError(
        f"{file.url}: no connection ({_reason(error)}){there}; or get the file elsewhere and unpack it by hand"
    )


def _reason(error: BaseException) -> str:
    reason = getattr(error, "reason", error)
    return " ".join(str(getattr(reason, "strerror", None) or reason or type(error).__name__).split())


def _note(part: Path) -> Path:
    return part.with_name(part.name + ".json")


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


def _number(text: str | None) -> int | None:
    return int(text) if text is not None and text.isdigit() else None


def _tell(say: Say | None, line: str) -> None:
    if say is not None:
        say(line)
