"""Replace files named in options by digests: equal weights under another path are the same, others under it are not."""

from __future__ import annotations

import contextlib
import hashlib
import os
from pathlib import Path
from typing import Any

from diadbench.benchmark.records.identity import CONTENT
from diadbench.common.errors import UserError
from diadbench.common.files import cache_dir, read_json, write_json
from diadbench.datasets.decoding.fingerprint import digest_parts, is_settled, stat_of


def with_contents(options: dict[str, Any]) -> dict[str, Any]:
    """Return options in which absolute paths of existing files and folders are replaced by a digest of their content.

    Raises:
        UserError: One of the files can't be read.
    """
    return {key: _value(value) for key, value in options.items()}


def _value(value: Any) -> Any:
    if isinstance(value, dict):
        return with_contents(value)
    if isinstance(value, list):
        return [_value(entry) for entry in value]
    path = _path(value)
    return value if path is None else CONTENT + content_of(path)


def _path(value: Any) -> Path | None:
    """Return the path that an option names, if it is absolute and exists."""
    if not isinstance(value, str):
        return None
    path = Path(value).expanduser()
    with contextlib.suppress(OSError, ValueError):  # too long for a path, or with a null byte
        if path.is_absolute() and len(path.parts) > 1 and path.exists():
            return path
    return None


def content_of(path: Path) -> str:
    """Return the digest of a file, or of the names and contents of a folder's files. Raises UserError."""
    try:
        if path.is_file():
            return _file_digest(path.resolve())
        files = sorted(file for file in path.rglob("*") if file.is_file())
        return digest_parts([file.relative_to(path).as_posix(), _file_digest(file.resolve())] for file in files)
    except OSError as error:
        raise UserError(f"{error.filename or path}: can't be read ({error.strerror})") from error


def _file_digest(path: Path) -> str:
    """Return the digest of a file, remembered while size, dates and inode stay the same, since weights are large."""
    stat = stat_of(path)
    memo = cache_dir() / "contents" / f"{hashlib.sha256(os.fsencode(path)).hexdigest()[:32]}.json"
    known = read_json(memo) or {}
    if stat is not None and known.get("stat") == list(stat):
        return str(known["digest"])
    with open(path, "rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()[:32]
    if stat is not None and stat == stat_of(path) and is_settled(stat):
        with contextlib.suppress(OSError):  # With a full or read-only cache the next plan reads the file again.
            write_json(memo, {"stat": stat, "digest": digest})
    return digest
