"""Arrays on disk, computed once, memory-mapped by every cell and process: images, features, patches, latents.

An array has rows of one shape and type. It lies in ``<key>/``, in shards of at most a gigabyte, each in a directory of
its own; an array of one shard lies in ``<key>/`` itself. The key is a digest of all that decides the content, so an
array can't be out of date. One process builds it and others wait. A build that was killed goes on after the last shard
that it finished.
"""

from __future__ import annotations

import contextlib
import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from filelock import FileLock, Timeout

from diadbench.common.cache.disk_space import MOVE_CACHE, MOVE_RUN, check_space, writing
from diadbench.common.cache.shards import Array, Put, Shard, WriteError, load_shard, remove_shard, size_of, write_shard
from diadbench.common.cache.usage import mark_used
from diadbench.common.files import read_json, write_json

#: ``progress(done, total, "what")``
Progress = Callable[[int, int, str], None]
#: ``fill(rows, put, progress)`` puts these rows of the array, or as many of them as can be made.
Fill = Callable[[range, Put, Progress], None]
IntArray = npt.NDArray[np.int64]

#: Largest ``data.bin``.
SHARD_BYTES = 1_000_000_000
#: Says what the array is, for ``diadbench cache list`` and for those who don't know the shape of a row yet.
ABOUT = "array.json"
_RETRY_SECONDS = 2.0


@dataclass(frozen=True)
class ArrayPlan:
    """An array that is wanted.

    Attributes:
        directory: Where it shall lie; its name is the key. In the shared cache this is ``<cache>/<kind>/<key>``.
        count: Number of rows.
        row_shape: Shape of a row.
        dtype: Numpy name of the values' type.
        fill: Makes rows.
        what: What the rows are, in the plural.
        about: What the array belongs to, for people.
        shard_rows: Most rows of a shard, where less than a gigabyte shall be lost with a killed build; else ``None``.
        batch: Shards but the last have a multiple of so many rows.
        shared: Whether it lies in the shared cache, or in a cell's own directory.
    """

    directory: Path
    count: int
    row_shape: tuple[int, ...]
    dtype: str
    fill: Fill
    what: str = "arrays"
    about: str = ""
    shard_rows: int | None = None
    batch: int = 1
    shared: bool = True

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the whole."""
        return (self.count, *self.row_shape)

    @property
    def shards(self) -> list[tuple[Path, range]]:
        """Directory and rows of each shard."""
        most = min(self.shard_rows or self.count, SHARD_BYTES // max(1, size_of(self.row_shape, self.dtype)))
        length = max(most // self.batch * self.batch, self.batch)
        starts = range(0, max(self.count, 1), length)
        if len(starts) == 1:
            return [(self.directory, range(self.count))]
        return [
            (self.directory / f"part-{k:04}", range(start, min(start + length, self.count)))
            for k, start in enumerate(starts)
        ]

    @property
    def remedy(self) -> str:
        """What to do when the disk is full."""
        return MOVE_CACHE if self.shared else MOVE_RUN


@dataclass(frozen=True)
class CachedArray:
    """A finished array, read-only. It can be sent to other processes.

    Attributes:
        parts: Its shards in order; all but the last have the same number of rows.
    """

    parts: tuple[Shard, ...]

    def __len__(self) -> int:
        return sum(part.shape[0] for part in self.parts)

    @property
    def shape(self) -> tuple[int, ...]:
        """``(rows, ...)``."""
        return (len(self), *self.parts[0].shape[1:])

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the values."""
        return np.dtype(self.parts[0].dtype)

    def __getitem__(self, row: int) -> Array:
        """Return a view of one row, 0..N-1."""
        part, place = divmod(row, self.parts[0].shape[0])
        found: Array = self.parts[part].rows[place]
        return found

    def value(self, row: int) -> Any:
        """Return what was kept beside a row."""
        part, place = divmod(row, self.parts[0].shape[0])
        return self.parts[part].values[place]

    def gather(self, rows: IntArray | Sequence[int]) -> Array:
        """Return a copy ``(n, ...)`` of the given rows, each 0..N-1."""
        part_of, places = np.divmod(np.asarray(rows, dtype=np.int64), self.parts[0].shape[0])
        if len(part_of) and (part_of == part_of[0]).all():
            return np.asarray(self.parts[part_of[0]].rows[places])
        out = np.empty((len(part_of), *self.shape[1:]), dtype=self.dtype)
        for part in np.unique(part_of):
            chosen = part_of == part
            out[chosen] = self.parts[part].rows[places[chosen]]
        return out


class _FillError(Exception):
    """The making of rows met an error of the file system, which says nothing about the cache's own disk."""

    def __init__(self, reason: OSError) -> None:
        super().__init__(str(reason))
        self.reason = reason


def batches(make: Callable[[list[int]], Array], size: int) -> Fill:
    """Return a fill that makes rows in batches: ``make(positions)`` returns their rows ``(n, ...)``."""

    def fill(rows: range, put: Put, progress: Progress) -> None:
        for start in range(0, len(rows), size):
            chosen = list(rows[start : start + size])
            for row, content in zip(chosen, make(chosen), strict=True):
                put(row, content)
            progress(start + len(chosen), len(rows), "")

    return fill


def known_row_shape(directory: Path) -> tuple[int, ...] | None:
    """Return the shape of a row as an earlier build wrote it down, ``None`` where there was none."""
    said = read_json(directory / ABOUT)
    shape = said.get("shape") if isinstance(said, dict) else None
    return tuple(shape[1:]) if isinstance(shape, list) else None


def load(plan: ArrayPlan) -> CachedArray | None:
    """Return the finished array, or ``None`` when there is none or a part of it is damaged."""
    if plan.shared:
        mark_used(plan.directory)
    whole = load_shard(plan.directory, plan.shape, plan.dtype)  # earlier versions wrote one shard of any size
    if whole is not None or len(plan.shards) == 1:
        return CachedArray((whole,)) if whole else None
    parts = [_load_part(plan, *part) for part in plan.shards]
    return CachedArray(tuple(part for part in parts if part)) if all(parts) else None


def build(plan: ArrayPlan, progress: Progress | None = None) -> CachedArray | None:
    """Load an array, or make what is missing of it, or wait for the process that makes it.

    Args:
        plan: What is wanted.
        progress: Called with the rows done.

    Returns:
        The array; ``None`` when ``plan.fill`` left out rows. Shards that have all their rows are kept.

    Raises:
        UserError: The disk is full or the directory can't be written. Nothing half made is ever taken for a shard.
    """
    tell = progress or (lambda done, total, what: None)
    if plan.shared:
        mark_used(plan.directory)
    try:
        with writing(plan.directory.parent, plan.remedy):
            plan.directory.mkdir(parents=True, exist_ok=True)
            with _locked(plan, tell):
                return load(plan) or _build(plan, tell)
    except _FillError as error:
        raise error.reason from None


@contextlib.contextmanager
def _locked(plan: ArrayPlan, progress: Progress) -> Iterator[None]:
    lock = FileLock(str(plan.directory / "lock"))  # flock: the lock of a killed process is free again
    while True:
        try:
            lock.acquire(timeout=_RETRY_SECONDS)
            break
        except Timeout:
            progress(0, plan.count, f"waiting for another process that makes the same {plan.what}")
    try:
        yield
    finally:
        lock.release()


def _build(plan: ArrayPlan, progress: Progress) -> CachedArray | None:
    shards = plan.shards
    _remove_others(plan, {directory for directory, _ in shards})
    found = {rows.start: _load_part(plan, directory, rows) for directory, rows in shards}
    for directory, rows in shards:
        if found[rows.start] is None:
            remove_shard(directory)
    missing = sum(len(rows) for _, rows in shards if found[rows.start] is None)
    check_space(plan.directory, missing * size_of(plan.row_shape, plan.dtype), f"the {plan.what}", plan.remedy)
    write_json(plan.directory / ABOUT, {"shape": plan.shape, "dtype": plan.dtype, "about": plan.about})
    for directory, rows in shards:
        if found[rows.start] is None:
            found[rows.start] = write_shard(directory, rows, plan.row_shape, plan.dtype, _filler(plan, rows, progress))
    complete = all(found.values())
    return CachedArray(tuple(part for part in found.values() if part)) if complete else None


def _filler(plan: ArrayPlan, rows: range, progress: Progress) -> Callable[[Put], None]:
    def tell(done: int, total: int, what: str) -> None:
        progress(rows.start + done, plan.count, what)

    def fill(put: Put) -> None:
        try:
            plan.fill(rows, put, tell)
        except WriteError:
            raise
        except OSError as error:
            raise _FillError(error) from error

    return fill


def _load_part(plan: ArrayPlan, directory: Path, rows: range) -> Shard | None:
    return load_shard(directory, (len(rows), *plan.row_shape), plan.dtype)


def _remove_others(plan: ArrayPlan, wanted: set[Path]) -> None:
    """Remove shards of another division of the rows, which would only take space."""
    if plan.directory not in wanted:
        remove_shard(plan.directory)
    for path in plan.directory.iterdir():
        if path not in wanted and re.fullmatch(r"part-\d{4,}", path.name):
            shutil.rmtree(path)
