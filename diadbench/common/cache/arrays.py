"""Arrays on disk, computed once, memory-mapped by every cell and process: images, features, patches, latents.

An array has rows of one shape and type. It lies in ``<key>/`` in shards of at most a gigabyte, each in its own
directory; an array of one shard lies in ``<key>/`` itself. The key is a digest of all that decides the content, so an
array can't be out of date. One process builds it and others wait. A build that was killed resumes after its last
finished shard.
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
#: ``fill(rows, put, progress)`` writes these rows of the array, or those that can be made.
Fill = Callable[[range, Put, Progress], None]
IntArray = npt.NDArray[np.int64]

#: Maximum size of ``data.bin``.
SHARD_BYTES = 1_000_000_000
#: File with a description of the array, for ``diadbench cache list`` and for readers that don't know its row shape.
ABOUT = "array.json"
_RETRY_SECONDS = 2.0


@dataclass(frozen=True)
class ArrayPlan:
    """A requested array.

    Attributes:
        directory: Its directory, whose name is the key. In the shared cache this is ``<cache>/<kind>/<key>``.
        count: Number of rows.
        row_shape: Shape of a row.
        dtype: Numpy name of the values' type.
        fill: Function that makes rows.
        what: Name of the rows in the plural.
        about: What the array belongs to, for people.
        shard_rows: Maximum number of rows of a shard, to lose less than a gigabyte with a killed build; else ``None``.
        batch: Number of rows of which all shards but the last have a multiple.
        shared: Whether it lies in the shared cache instead of a cell's own directory.
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
        """Return the shape of the whole array."""
        return (self.count, *self.row_shape)

    @property
    def shards(self) -> list[tuple[Path, range]]:
        """Return directory and rows of each shard."""
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
        """Return advice for a full disk."""
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
        """Return the type of the values."""
        return np.dtype(self.parts[0].dtype)

    def __getitem__(self, row: int) -> Array:
        """Return a view of one row, 0..N-1."""
        part, place = divmod(row, self.parts[0].shape[0])
        found: Array = self.parts[part].rows[place]
        return found

    def value(self, row: int) -> Any:
        """Return the value stored with a row."""
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
    """A file-system error while rows were made, which is unrelated to the cache's own disk."""

    def __init__(self, reason: OSError) -> None:
        super().__init__(str(reason))
        self.reason = reason


def batches(make: Callable[[list[int]], Array], size: int) -> Fill:
    """Return a function that fills rows in batches: ``make(positions)`` returns their rows ``(n, ...)``."""

    def fill(rows: range, put: Put, progress: Progress) -> None:
        for start in range(0, len(rows), size):
            chosen = list(rows[start : start + size])
            for row, content in zip(chosen, make(chosen), strict=True):
                put(row, content)
            progress(start + len(chosen), len(rows), "")

    return fill


def known_row_shape(directory: Path) -> tuple[int, ...] | None:
    """Return the shape of a row that an earlier build recorded, ``None`` if there was none."""
    said = read_json(directory / ABOUT)
    shape = said.get("shape") if isinstance(said, dict) else None
    return tuple(shape[1:]) if isinstance(shape, list) else None


def load(plan: ArrayPlan) -> CachedArray | None:
    """Return the finished array, or ``None`` if it is missing or a part of it is damaged."""
    if plan.shared:
        mark_used(plan.directory)
    whole = load_shard(plan.directory, plan.shape, plan.dtype)  # Earlier versions wrote one shard of any size.
    if whole is not None or len(plan.shards) == 1:
        return CachedArray((whole,)) if whole else None
    parts = [_load_part(plan, *part) for part in plan.shards]
    return CachedArray(tuple(part for part in parts if part)) if all(parts) else None


def build(plan: ArrayPlan, progress: Progress | None = None) -> CachedArray | None:
    """Load an array, or build its missing parts, or wait for the process that builds it.

    Args:
        plan: The requested array.
        progress: Called with the number of rows done.

    Returns:
        The array; ``None`` if ``plan.fill`` left out rows. Complete shards are kept.

    Raises:
        UserError: The disk is full or the directory can't be written. Incomplete data are never taken for a shard.
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
    lock = FileLock(str(plan.directory / "lock"))  # With flock the lock of a killed process is free again.
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
    """Remove shards of another division of the rows, which are no longer used."""
    if plan.directory not in wanted:
        remove_shard(plan.directory)
    for path in plan.directory.iterdir():
        if path not in wanted and re.fullmatch(r"part-\d{4,}", path.name):
            shutil.rmtree(path)
