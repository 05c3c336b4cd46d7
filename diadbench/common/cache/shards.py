"""One shard of a cached array: some of its rows in a file, with a checksum for each.

A shard is a directory with ``data.bin`` (the raw rows) and ``meta.json`` (shape, a checksum for each row, and the date
of ``data.bin``). ``meta.json`` is written last and makes the shard valid.
"""

from __future__ import annotations

import os
import threading
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from diadbench.common.cache.disk_space import reserve
from diadbench.common.files import read_json, write_json

Array = npt.NDArray[Any]
FILES = ("meta.json", "data.bin", "data.bin.tmp")


class WriteError(OSError):
    """A row couldn't be written: the disk is full or can no longer be reached."""


class Put(Protocol):
    """Write one row of an array. May be called from several threads."""

    def __call__(self, row: int, content: Array, value: Any = None) -> None:
        """Write row number ``row`` of the whole array; ``value`` is a plain value stored with it."""


@dataclass
class Shard:
    """A finished shard. The memory map is opened on first use, again in each process that receives it.

    Attributes:
        directory: Directory of the shard.
        shape: ``(rows, ...)``.
        dtype: Numpy name of the values' type.
        values: Value stored with each row.
    """

    directory: Path
    shape: tuple[int, ...]
    dtype: str
    values: list[Any]
    _map: Array | None = field(default=None, repr=False, compare=False)

    @property
    def rows(self) -> Array:
        """Return the read-only rows, directly from the page cache."""
        if self._map is None:
            self._map = np.memmap(self.directory / "data.bin", dtype=self.dtype, mode="r", shape=self.shape)
        return self._map

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_map": None}  # Pickling a memory map would copy its content.


def size_of(shape: Sequence[int], dtype: str) -> int:
    """Return the size of an array in bytes."""
    return int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize


def load_shard(directory: Path, shape: tuple[int, ...], dtype: str) -> Shard | None:
    """Return the finished shard, or ``None`` if it is missing or damaged (truncated, overwritten)."""
    meta = read_json(directory / "meta.json")
    if not isinstance(meta, dict) or not {"mtime_ns", "sums", "values"} <= meta.keys():
        return None
    if meta.get("shape") != list(shape) or meta.get("dtype") != dtype or len(meta["values"]) != shape[0]:
        return None
    try:
        found = os.stat(directory / "data.bin")
    except OSError:
        return None
    if found.st_size != size_of(shape, dtype):
        return None
    shard = Shard(directory, shape, dtype, meta["values"])
    if found.st_mtime_ns != meta["mtime_ns"] and not _sums_agree(shard, meta["sums"]):
        return None
    return shard


def write_shard(
    directory: Path, rows: range, row_shape: tuple[int, ...], dtype: str, fill: Callable[[Put], None]
) -> Shard | None:
    """Write a shard; return ``None`` if ``fill`` left out a row. A former shard is replaced.

    Args:
        directory: Directory of the shard.
        rows: Its rows of the whole array.
        row_shape: Shape of a row.
        dtype: Numpy name of the values' type.
        fill: Function that puts every row.

    Raises:
        OSError: The disk is full or the directory can't be written.
    """
    directory.mkdir(parents=True, exist_ok=True)
    remove_shard(directory)
    shape = (len(rows), *row_shape)
    temporary, target = directory / "data.bin.tmp", directory / "data.bin"
    try:
        with open(temporary, "wb", buffering=0) as file:
            reserve(file.fileno(), size_of(shape, dtype))
            writer = _Writer(file.fileno(), rows, row_shape, dtype)
            fill(writer.put)
            if writer.missing:
                return None
            os.fsync(file.fileno())
        os.replace(temporary, target)
        meta = {"shape": list(shape), "dtype": dtype, "mtime_ns": target.stat().st_mtime_ns}
        write_json(directory / "meta.json", {**meta, "sums": writer.sums, "values": writer.values})
    finally:
        temporary.unlink(missing_ok=True)
    return load_shard(directory, shape, dtype)


def remove_shard(directory: Path) -> None:
    """Remove a shard's files: damaged ones, or those of a killed process."""
    for name in FILES:
        (directory / name).unlink(missing_ok=True)


class _Writer:
    """Write rows in any order and from any thread."""

    def __init__(self, handle: int, rows: range, row_shape: tuple[int, ...], dtype: str) -> None:
        self._handle, self._rows, self._shape, self._dtype = handle, rows, row_shape, dtype
        self._lock = threading.Lock()
        self.missing = set(rows)
        self.sums: list[int] = [0] * len(rows)
        self.values: list[Any] = [None] * len(rows)

    def put(self, row: int, content: Array, value: Any = None) -> None:
        made = np.ascontiguousarray(content, dtype=self._dtype)
        if made.shape != self._shape:
            raise ValueError(f"row {row} has shape {made.shape}; the array's rows have {self._shape}")
        place = self._rows.index(row)
        raw = made.tobytes()
        # A plain write reports a full disk; writing through a memory map would kill the process.
        try:
            _write_at(self._handle, raw, place * len(raw))
        except OSError as error:
            raise WriteError(error.errno, error.strerror) from error
        self.sums[place], self.values[place] = zlib.crc32(raw), value
        with self._lock:
            self.missing.discard(row)


def _write_at(handle: int, content: bytes, offset: int) -> None:
    view = memoryview(content)
    while view:
        written = os.pwrite(handle, view, offset)
        view, offset = view[written:], offset + written


def _sums_agree(shard: Shard, sums: Sequence[int]) -> bool:
    agree = len(sums) == len(shard.rows) and all(zlib.crc32(row.tobytes()) == s for row, s in zip(shard.rows, sums))
    if agree:  # The file was copied or touched, not changed: store the date, so that it isn't verified again.
        path = shard.directory / "meta.json"
        meta = read_json(path)
        meta["mtime_ns"] = os.stat(shard.directory / "data.bin").st_mtime_ns
        try:
            write_json(path, meta)
        except OSError:
            return agree  # A read-only cache is allowed.
    return agree
