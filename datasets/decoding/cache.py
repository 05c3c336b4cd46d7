"""Arrays on disk, one row an image, decoded once and memory-mapped by every cell and process.

A shard is a directory ``<key>/`` with ``data.bin`` (the rows, raw) and ``meta.json`` (shape, a checksum for each row,
and the date of ``data.bin``). The key is a digest of the sources' contents and of how they were resized, so a shard
can't be out of date. ``meta.json`` is written last: without it there is no shard.
"""

from __future__ import annotations

import os
import shutil
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from filelock import FileLock, Timeout

from diadbench.common.errors import UserError
from diadbench.common.files import read_json, write_json
from diadbench.datasets.decoding.workers import Problems, Progress, run_all, writing

Array = npt.NDArray[Any]
#: Makes row ``i``: the array, and a plain value that is kept beside it.
Make = Callable[[int], tuple[Array, Any]]
_RETRY_SECONDS = 2.0


@dataclass
class Shard:
    """A finished shard. The memory map is opened on first use and again in each process that it is sent to.

    Attributes:
        directory: Where it lies.
        shape: ``(rows, ...)``.
        dtype: Numpy name of the values' type.
        values: What was kept beside each row.
    """

    directory: Path
    shape: tuple[int, ...]
    dtype: str
    values: list[Any]
    _map: Array | None = field(default=None, repr=False, compare=False)

    @property
    def array(self) -> Array:
        """The rows, read-only, straight from the page cache."""
        if self._map is None:
            self._map = np.memmap(self.directory / "data.bin", dtype=self.dtype, mode="r", shape=self.shape)
        return self._map

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_map": None}  # pickling a memory map would copy its content


@dataclass(frozen=True)
class ShardPlan:
    """A shard that is wanted.

    Attributes:
        directory: Where it shall lie; its name is the key.
        count: Number of rows.
        row_shape: Shape of a row.
        dtype: Numpy name of the values' type.
        make: Makes a row. Called from several threads.
    """

    directory: Path
    count: int
    row_shape: tuple[int, ...]
    dtype: str
    make: Make

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the whole."""
        return (self.count, *self.row_shape)

    @property
    def bytes(self) -> int:
        """Size of ``data.bin``."""
        return int(np.prod(self.shape, dtype=np.int64)) * np.dtype(self.dtype).itemsize


def load(plan: ShardPlan) -> Shard | None:
    """Return the finished shard, or ``None`` when there is none or it is damaged (truncated, overwritten)."""
    meta = read_json(plan.directory / "meta.json")
    if not isinstance(meta, dict) or not {"mtime_ns", "sums", "values"} <= meta.keys():
        return None
    if meta.get("shape") != list(plan.shape) or meta.get("dtype") != plan.dtype or len(meta["values"]) != plan.count:
        return None
    try:
        found = os.stat(plan.directory / "data.bin")
    except OSError:
        return None
    if found.st_size != plan.bytes:
        return None
    shard = Shard(plan.directory, plan.shape, plan.dtype, meta["values"])
    if found.st_mtime_ns != meta["mtime_ns"] and not _sums_agree(shard, meta["sums"]):
        return None
    return shard


def build(plan: ShardPlan, workers: int, problems: Problems, progress: Progress | None = None) -> Shard | None:
    """Make a shard, or wait for the process that makes it. ``None`` when rows failed, which are in ``problems``.

    Raises:
        UserError: The disk is full or the directory can't be written. Nothing half made is ever taken for a shard.
    """
    with writing(plan.directory.parent):
        plan.directory.mkdir(parents=True, exist_ok=True)
        lock = FileLock(str(plan.directory / "lock"))  # flock: the lock of a killed process is free again
        while True:
            try:
                lock.acquire(timeout=_RETRY_SECONDS)
                break
            except Timeout:
                if progress is not None:
                    progress(0, plan.count, "waiting for another process that decodes the same images")
        try:
            return load(plan) or _build(plan, workers, problems, progress)
        finally:
            lock.release()


def _build(plan: ShardPlan, workers: int, problems: Problems, progress: Progress | None) -> Shard | None:
    for name in ("meta.json", "data.bin", "data.bin.tmp"):  # damaged, or left by a process that was killed
        (plan.directory / name).unlink(missing_ok=True)
    free = shutil.disk_usage(plan.directory).free
    if free < plan.bytes:
        raise UserError(
            f"{plan.directory.parent}: disk full: the decoded images need {_gb(plan.bytes)}, {_gb(free)} are free; "
            "free some space, or set DIADBENCH_CACHE to another disk"
        )
    sums: list[int] = [0] * plan.count
    values: list[Any] = [None] * plan.count
    before = len(problems.messages)
    temporary = plan.directory / "data.bin.tmp"
    try:
        with open(temporary, "wb", buffering=0) as file:

            def row(i: int) -> None:
                made, values[i] = plan.make(i)
                content = np.ascontiguousarray(made, dtype=plan.dtype).tobytes()
                sums[i] = zlib.crc32(content)
                # a plain write says when the disk is full; writing through a memory map would kill the process
                _write_at(file.fileno(), content, i * len(content))

            run_all(row, plan.count, workers, problems, progress)
            if len(problems.messages) > before:
                return None
            os.fsync(file.fileno())
        target = plan.directory / "data.bin"
        os.replace(temporary, target)
        meta = {"shape": list(plan.shape), "dtype": plan.dtype, "mtime_ns": target.stat().st_mtime_ns}
        write_json(plan.directory / "meta.json", {**meta, "sums": sums, "values": values})
    finally:
        temporary.unlink(missing_ok=True)
    return load(plan)


def _write_at(handle: int, content: bytes, offset: int) -> None:
    view = memoryview(content)
    while view:
        written = os.pwrite(handle, view, offset)
        view, offset = view[written:], offset + written


def _sums_agree(shard: Shard, sums: Sequence[int]) -> bool:
    agree = len(sums) == len(shard.array) and all(zlib.crc32(row.tobytes()) == s for row, s in zip(shard.array, sums))
    if agree:  # copied or touched, not changed: remember, so that it isn't summed again
        path = shard.directory / "meta.json"
        meta = read_json(path)
        meta["mtime_ns"] = os.stat(shard.directory / "data.bin").st_mtime_ns
        try:
            write_json(path, meta)
        except OSError:
            return agree  # a cache that can only be read is fine
    return agree


def _gb(size: int) -> str:
    return f"{size / 1e9:.2f} GB" if size >= 1e9 else f"{size / 1e6:.1f} MB"
