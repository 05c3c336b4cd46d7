"""Where maps wait for the second pass: in memory up to a limit, then in an unnamed temporary file."""

from __future__ import annotations

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
    """Memory that all classes share for waiting maps, and the file that takes the rest.

    Args:
        limit: Bytes kept in memory.
        directory: Where the temporary file lies; ``None``: the system's. It has no name, so nothing is left behind, not
            even by a killed process.
    """

    def __init__(self, limit: int = 256 << 20, directory: Path | None = None) -> None:
        self.limit = limit
        self.used = 0
        self.directory = directory
        self._file: IO[bytes] | None = None

    def append(self, values: NDArray[Any]) -> int:
        """Write values at the end of the file; return their offset."""
        if self._file is None:
            if self.directory is not None:
                self.directory.mkdir(parents=True, exist_ok=True)
            self._file = tempfile.TemporaryFile(dir=self.directory, prefix="diadbench-maps-")  # noqa: SIM115
        offset = self._file.seek(0, 2)
        self._file.write(values.data)
        return offset

    def read(self, offset: int, count: int, dtype: np.dtype[Any]) -> NDArray[Any]:
        """Read values back."""
        assert self._file is not None
        values = np.empty(count, dtype)
        self._file.seek(offset)
        self._file.readinto(values.data)  # type: ignore[attr-defined]
        return values


@dataclass(frozen=True)
class _Spilled:
    offset: int
    count: int
    dtype: np.dtype[Any]


@dataclass
class MapStore:
    """The maps of one class, in the order they came. Order and batch size change no metric."""

    budget: Budget
    entries: list[NDArray[Any] | _Spilled] = field(default_factory=list)

    def keep(self, maps: NDArray[Any]) -> None:
        """Keep a reference: the caller promises that the values stay (a memory map of maps on disk)."""
        self.entries.append(maps)

    def add(self, maps: NDArray[Any]) -> None:
        """Keep a copy, in memory while the budget lasts, else in the file. A read-only memory map is kept as it is."""
        if isinstance(maps, np.memmap) and maps.mode == "r":
            self.keep(maps)
        elif self.budget.used + maps.nbytes <= self.budget.limit:
            self.budget.used += maps.nbytes
            self.entries.append(np.array(maps, order="C"))
        else:
            flat = np.ascontiguousarray(maps).reshape(-1)
            self.entries.append(_Spilled(self.budget.append(flat), flat.size, flat.dtype))

    def chunks(self) -> Iterator[NDArray[Any]]:
        """Yield all values, flat, at most about :data:`CHUNK` at a time."""
        for entry in self.entries:
            if isinstance(entry, _Spilled):
                for start in range(0, entry.count, CHUNK):
                    count = min(CHUNK, entry.count - start)
                    yield self.budget.read(entry.offset + start * entry.dtype.itemsize, count, entry.dtype)
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
    """Let the pages of a file-backed memory map go, so that streaming over a file does not fill the memory."""
    mapping = getattr(maps, "_mmap", None)
    if isinstance(mapping, mmap.mmap) and getattr(maps, "mode", "") == "r" and hasattr(mmap, "MADV_DONTNEED"):
        mapping.madvise(mmap.MADV_DONTNEED)
