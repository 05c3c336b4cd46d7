"""The anomalous pixels of one class: scores and regions, returned sorted in ranges of scores.

They are kept in memory within the budget, then in its file, so the memory of one range suffices for any class.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diadbench.benchmark.metrics.exact.ranking import BLOCK
from diadbench.benchmark.metrics.exact.spill import Budget, DiskArray

#: Number of pixels (of 8 bytes) that are buffered before they are charged to the budget or written to the file.
PENDING = 1 << 20
#: Most pixels ranked at a time; each range is one more pass over the maps. About 60 bytes a pixel: 1 GB.
RANGE = 1 << 24
#: Bytes of the budget for each pixel of a range: the default budget of 256 MB allows the most.
_BYTES_OF_BUDGET = 16
#: The edges of ranges are chosen among this many bins of float32, by their upper bits.
_BIN_BITS = 16

#: Scores in ascending order with the region of each pixel; a piece never ends between two equal scores.
Piece = tuple[NDArray[Any], NDArray[np.int32]]


class Bag:
    """Scores and regions of pixels, in the order in which they were added.

    Args:
        budget: Memory and file that the bag may use; ``None``: memory without a limit.
    """

    def __init__(self, budget: Budget | None = None) -> None:
        self._budget = budget
        self._parts: list[Piece] = []
        self._pending = 0  # bytes that are not charged to the budget
        self._charged = 0
        self._packed: NDArray[np.int64] = np.empty(0, np.int64)
        self._files: list[tuple[DiskArray, DiskArray]] = []
        self._double = False

    def add(self, scores: NDArray[Any], regions: NDArray[np.int32]) -> None:
        """Add ``(n,)`` float32 or float64 scores and their regions."""
        self._parts.append((scores, regions))
        self._double |= scores.dtype != np.float32
        self._pending += scores.nbytes + regions.nbytes
        if self._budget and self._pending >= 8 * PENDING:
            if self._budget.used + self._pending <= self._budget.limit:
                self._budget.used += self._pending
                self._charged += self._pending
                self._pending = 0
            else:
                self._write(self._budget)

    def _write(self, budget: Budget) -> None:
        """Move everything that is in memory to the file."""
        if len(self._packed):
            self._parts.append(unpack(self._packed))
            self._packed = np.empty(0, np.int64)
        for scores, regions in self._parts:
            if not self._files or self._files[-1][0].dtype != scores.dtype:
                self._files.append((DiskArray(budget, scores.dtype), DiskArray(budget, regions.dtype)))
            for file, values in zip(self._files[-1], (scores, regions)):
                file.append(values)
        self._parts = []
        budget.used -= self._charged
        self._pending = self._charged = 0

    def ranges(self, most: int | None = None) -> Iterator[Iterable[Piece]]:
        """Yield ascending ranges of about ``most`` pixels, each as a list of pieces. The bag keeps its pixels.

        By default a range is as large as the budget allows, between :data:`PENDING` and :data:`RANGE` pixels.
        """
        if most is None:
            most = min(RANGE, max(PENDING, self._budget.limit // _BYTES_OF_BUDGET)) if self._budget else RANGE
        if self._files:
            assert self._budget is not None
            self._write(self._budget)
            for low, high in self._edges(most):
                yield self._sorted(*self._between(low, high))
        elif self._double:
            yield [self._sort_doubles()]
        else:
            self._sort_packed()
            for part in _runs(self._packed, most):
                yield map(unpack, _runs(part, BLOCK))

    def _sorted(self, scores: NDArray[Any], regions: NDArray[np.int32]) -> Iterable[Piece]:
        if self._double:
            return [_ordered(scores, regions)]
        packed = pack(scores, regions)
        packed.sort()
        return map(unpack, _runs(packed, BLOCK))

    def _edges(self, most: int) -> Iterator[tuple[int, int]]:
        """Yield ranges of bins with about ``most`` pixels each. A bin has at most 65,536 distinct float32 scores."""
        counts = np.zeros(1 << _BIN_BITS, np.int64)
        for scores, _ in self._blocks():
            counts += np.bincount(_bins(scores), minlength=len(counts))
        start = held = 0
        for bin_, count in enumerate(counts):
            if count and held and held + count > most:  # no range without a pixel
                yield start, bin_
                start, held = bin_, 0
            held += int(count)
        yield start, len(counts)

    def _blocks(self) -> Iterator[Piece]:
        for scores, regions in self._files:
            for start in range(0, len(scores), PENDING):
                part = slice(start, start + PENDING)
                yield scores[part], regions[part]

    def _between(self, low: int, high: int) -> Piece:
        """Read the pixels in bins ``low`` to ``high - 1``."""
        found: list[Piece] = []
        for scores, regions in self._blocks():
            bins = _bins(scores)
            inside = (bins >= low) & (bins < high)
            found.append((scores[inside], regions[inside]))
        scores, regions = (np.concatenate(each) for each in zip(*found))
        return scores, regions

    def _sort_packed(self) -> None:
        """Move all scores and regions into one sorted array: eight bytes a pixel, without a second copy."""
        old = len(self._packed)
        packed = np.empty(old + sum(len(scores) for scores, _ in self._parts), np.int64)
        packed[:old], self._packed = self._packed, packed
        while self._parts:
            scores, regions = self._parts.pop()
            packed[old : old + len(scores)] = pack(scores, regions)
            old += len(scores)
        packed.sort()

    def _sort_doubles(self) -> Piece:
        if len(self._packed):
            self._parts.append(unpack(self._packed))
            self._packed = np.empty(0, np.int64)
        scores, regions = (np.concatenate(each) for each in zip(*self._parts))
        self._parts = [(scores, regions)]
        return _ordered(scores, regions)


def pack(scores: NDArray[np.float32], regions: NDArray[np.int32]) -> NDArray[np.int64]:
    """Pack score and region into one integer that sorts by score, then region, so that one fast sort handles both."""
    packed = sortable(scores).astype(np.int64)
    packed <<= 32
    packed |= regions
    return packed


def unpack(packed: NDArray[np.int64]) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    """Undo :func:`pack`."""
    bits = (packed >> 32).astype(np.int32)
    bits ^= (bits >> 31) & 0x7FFFFFFF
    return bits.view(np.float32), packed.astype(np.int32)


def sortable(values: NDArray[np.float32]) -> NDArray[np.int32]:
    """Map float32 to integers in the same order; equal values stay equal."""
    bits = (values + np.float32(0)).view(np.int32)  # -0.0 becomes 0.0
    return bits ^ ((bits >> 31) & 0x7FFFFFFF)


def _bins(scores: NDArray[Any]) -> NDArray[np.int32]:
    with np.errstate(over="ignore"):  # doubles beyond float32 share the first or the last bin
        return (sortable(scores.astype(np.float32, copy=False)) >> (32 - _BIN_BITS)) + (1 << (_BIN_BITS - 1))


def _ordered(scores: NDArray[Any], regions: NDArray[np.int32]) -> Piece:
    order = np.argsort(scores)
    return scores[order], regions[order]


def _runs(packed: NDArray[np.int64], most: int) -> Iterator[NDArray[np.int64]]:
    """Cut a sorted array into pieces of about ``most``, never between two equal scores."""
    start = 0
    while start < len(packed):
        last = packed[min(start + most, len(packed)) - 1]
        stop = int(np.searchsorted(packed, last | 0xFFFFFFFF, "right"))
        yield packed[start:stop]
        start = stop
