"""Storage of maps until the second pass: in memory up to a limit, then in an unnamed temporary file."""

from __future__ import annotations

import bisect
import mmap
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

#: Pixels handled at a time in both passes.
CHUNK = 1 << 20


class Budget:
    """Memory that all classes share for stored maps, and the file for the rest.

    Args:
        limit: Bytes kept in memory.
        directory: Directory of the temporary file; ``None``: the system's. The file has no name, so nothing remains
            after the process, even if it is killed.
    """

    def __init__(self, limit: int = 256 << 20, directory: Path | None = None) -> None:
        self.limit = limit
        self.used = 0
        self.directory = directory
        self._file: IO[bytes] | None = None

    def append(self, values: NDArray[Any]) -> int:
        """Append values to the file; return their offset."""
        if self._file is None:
            if self.directory is not None:
                self.directory.mkdir(parents=True, exist_ok=True)
            self._file = tempfile.TemporaryFile(dir=self.directory, prefix="diadbench-maps-")  # noqa: SIM115
        offset = self._file.seek(0, 2)
        self._file.write(values.data)
        return offset

    def read_into(self, offset: int, values: NDArray[Any]) -> None:
        """Read ``(n,)`` contiguous values from ``offset`` of the file."""
        assert self._file is not None
        self._file.seek(offset)
        self._file.readinto(values.data)  # type: ignore[attr-defined]


class DiskArray:
    """A growing one-dimensional array in a budget's file, read in slices."""

    def __init__(self, budget: Budget, dtype: np.dtype[Any]) -> None:
        self.dtype = dtype
        self._budget = budget
        self._ends: list[int] = []
        self._offsets: list[int] = []

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    def append(self, values: NDArray[Any]) -> None:
        """Append ``(n,)`` values."""
        offset = self._budget.append(np.ascontiguousarray(values, self.dtype))
        self._offsets.append(offset)
        self._ends.append(len(self) + len(values))

    def __getitem__(self, part: slice) -> NDArray[Any]:
        start, stop, _ = part.indices(len(self))
        found = np.empty(max(0, stop - start), self.dtype)
        extent = bisect.bisect_right(self._ends, start)
        done = 0
        while done < len(found):
            first = self._ends[extent - 1] if extent else 0
            skip = start + done - first
            count = min(self._ends[extent] - first - skip, len(found) - done)
            self._budget.read_into(self._offsets[extent] + skip * self.dtype.itemsize, found[done : done + count])
            done += count
            extent += 1
        return found


@dataclass
class MapStore:
    """The maps of one class, in the order in which they were added. Order and batch size change no metric."""

    budget: Budget
    entries: list[NDArray[Any] | DiskArray] = field(default_factory=list)

    def keep(self, maps: NDArray[Any]) -> None:
        """Keep a reference. The caller guarantees that the values don't change (a memory map of maps on disk)."""
        self.entries.append(maps)

    def add(self, maps: NDArray[Any]) -> None:
        """Keep a copy, in memory within the budget, else in the file. A read-only memory map is kept as it is."""
        if isinstance(maps, np.memmap) and maps.mode == "r":
            self.keep(maps)
        elif self.budget.used + maps.nbytes <= self.budget.limit:
            self.budget.used += maps.nbytes
            self.entries.append(np.array(maps, order="C"))
        else:
            self._on_disk(maps.dtype).append(maps.reshape(-1))

    def _on_disk(self, dtype: np.dtype[Any]) -> DiskArray:
        """Return the last entry if it is a disk array of that type, else a new one."""
        last = self.entries[-1] if self.entries else None
        if not (isinstance(last, DiskArray) and last.dtype == dtype):
            last = DiskArray(self.budget, dtype)
            self.entries.append(last)
        return last

    def chunks(self) -> Iterator[NDArray[Any]]:
        """Yield all values, flat, at most about :data:`CHUNK` at a time."""
        for entry in self.entries:
            if isinstance(entry, DiskArray):
                for start in range(0, len(entry), CHUNK):
                    yield entry[start : start + CHUNK]
            else:
                for block in blocks(entry):
                    yield block.reshape(-1)
                    release(entry)


def blocks(maps: NDArray[Any]) -> Iterator[NDArray[Any]]:
    """Yield ``(b,H,W)`` views of ``(N,H,W)`` maps, of about :data:`CHUNK` pixels each."""
    step = max(1, CHUNK // max(1, int(np.prod(maps.shape[1:]))))
    for start in range(0, len(maps), step):
        yield maps[start : start + step]


def release(maps: NDArray[Any]) -> None:
    """Release the pages of a file-backed memory map, so that streaming over a file doesn't fill the memory."""
    mapping = getattr(maps, "_mmap", None)
    if isinstance(mapping, mmap.mmap) and getattr(maps, "mode", "") == "r" and hasattr(mmap, "MADV_DONTNEED"):
        mapping.madvise(mmap.MADV_DONTNEED)
