"""The two passes compiled with numba, on one thread; same integers as
:mod:`diadbench.benchmark.metrics.exact.counting`.

The second pass sorts nothing. A multiplication maps values to linear buckets, several per anomalous score. A bucket
without an anomalous score only counts. A bucket with some stores where they begin, and each pixel is compared with
them. Since multiplication and truncation never swap two values, the result is exact.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from diadbench.benchmark.metrics.exact.bag import sortable
from diadbench.benchmark.metrics.exact.counting import Anomalies, Counter, add_running
from diadbench.benchmark.metrics.exact.ranking import BLOCK

#: Keys computed at a time: the loop that computes them has no branch, so it runs on vectors.
_BATCH = 1024
#: Mean number of comparisons per pixel above which another mapping, or sorting, is faster.
_CROWDED = 8.0


def _compiled(function: Any) -> Any:
    try:
        return numba.njit(cache=True, nogil=True)(function)
    except RuntimeError:  # no directory to cache in: compile in every process
        return numba.njit(nogil=True)(function)


@_compiled
def _count(  # type: ignore[no-untyped-def]
    pixels, table, score, below, equal, low, scale, one, top
):  # pragma: no cover - compiled
    """Count pixels into ``table``, or beside the scores of their bucket; ``score`` ends with infinity."""
    key = np.empty(_BATCH, np.int32)
    for start in range(0, pixels.size, _BATCH):
        size = min(_BATCH, pixels.size - start)
        for i in range(size):
            place = (pixels[start + i] - low) * scale + one
            place = max(place, one - one)
            key[i] = np.int32(min(place, top))
        for i in range(size):
            bucket = key[i]
            held = table[bucket]
            if held >= 0:
                table[bucket] = held + 1
            else:
                value = pixels[start + i]
                j = ~held
                while score[j] < value:
                    j += 1
                if score[j] == value:
                    equal[j] += 1
                else:
                    below[j] += 1


@_compiled
def _fold(table, below):  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    """Add the counts of empty buckets to the next score above them, and reset them to 0."""
    waiting = 0
    for bucket in range(table.size):
        held = table[bucket]
        if held >= 0:
            waiting += held
            table[bucket] = 0
        else:
            below[~held] += waiting
            waiting = 0
    below[below.size - 1] += waiting


@_compiled
def _collect(  # type: ignore[no-untyped-def]
    maps, masks, reach, first_region, score, region, size
):  # pragma: no cover - compiled
    """Write the score and region of each anomalous pixel, and the regions' sizes; return the number of regions.

    Regions are built from runs: a run of a row joins the runs of the row above that it touches. ``reach`` is 1 if
    diagonal neighbours touch, else 0.
    """
    n_images, height, width = masks.shape
    most = height * ((width + 1) // 2)
    row_of, begin, end = np.empty(most, np.int32), np.empty(most, np.int32), np.empty(most, np.int32)
    parent, name = np.empty(most, np.int32), np.empty(most, np.int32)
    n_pixels = 0
    n_regions = 0
    for image in range(n_images):
        n_runs = 0
        above_from = 0
        above_to = 0
        for y in range(height):
            found = np.uint8(0)
            for x in range(width):
                found |= masks[image, y, x]
            row_from = n_runs
            if found:
                x = 0
                while x < width:
                    while x < width and masks[image, y, x] == 0:
                        x += 1
                    if x == width:
                        break
                    start = x
                    while x < width and masks[image, y, x] != 0:
                        x += 1
                    row_of[n_runs], begin[n_runs], end[n_runs], parent[n_runs] = y, start, x, n_runs
                    while above_from < above_to and end[above_from] + reach <= start:
                        above_from += 1
                    above = above_from
                    while above < above_to and begin[above] < x + reach:
                        a, b = above, n_runs
                        while parent[a] != a:
                            parent[a] = parent[parent[a]]
                            a = parent[a]
                        while parent[b] != b:
                            parent[b] = parent[parent[b]]
                            b = parent[b]
                        if a < b:
                            parent[b] = a
                        else:
                            parent[a] = b
                        above += 1
                    n_runs += 1
            above_from, above_to = row_from, n_runs
        for run in range(n_runs):
            root = run
            while parent[root] != root:
                root = parent[root]
            if root == run:
                name[run] = n_regions
                size[n_regions] = 0
                n_regions += 1
            else:
                name[run] = name[root]
            size[name[run]] += end[run] - begin[run]
            for x in range(begin[run], end[run]):
                score[n_pixels] = maps[image, row_of[run], x]
                region[n_pixels] = first_region + name[run]
                n_pixels += 1
    return n_regions


class FastAnomalies(Anomalies):
    """First pass, compiled."""

    def _take(self, maps: NDArray[Any], masks: NDArray[np.bool_]) -> None:
        count = int(np.count_nonzero(masks))
        if not count:
            return
        score, region = np.empty(count, maps.dtype), np.empty(count, np.int32)
        size = np.empty(count, np.int32)  # There are no more regions than pixels.
        reach = 1 if self.connectivity == 8 else 0
        flat = np.ascontiguousarray(masks).view(np.uint8)
        n_regions = _collect(np.ascontiguousarray(maps), flat, reach, self.n_regions, score, region, size)
        self._append(score, region, size[:n_regions].astype(np.int64))


class FastCounter(Counter):
    """Second pass, compiled. If scores crowd in few buckets, it maps their bits, or sorts as the reference does.

    Args:
        score: ``(U,)`` float32 or float64, ascending, distinct, finite.
    """

    def __init__(self, score: NDArray[Any]) -> None:
        super().__init__(score)
        self._table: NDArray[np.int32] | None = None
        self._pending = 0
        for bits in (False, True) if score.dtype == np.float32 else (False,):
            if self._prepare(sortable_bits(score) if bits else score):
                self._bits = bits
                return

    def _prepare(self, score: NDArray[Any]) -> bool:
        kind = score.dtype.type
        # More buckets mean fewer comparisons but more cache misses and memory: 128, 64, 32 or 16 bytes a score.
        each = next((count for count, most in ((32, 1 << 16), (16, 1 << 18), (8, 1 << 20)) if len(score) <= most), 4)
        buckets = len(score) * each + 64
        buckets = min(buckets, 1 << (24 if kind is np.float32 else 30))  # the key is computed in this precision
        with np.errstate(over="ignore", divide="ignore"):
            scale = kind((buckets - 3) / float(kind(score[-1] - score[0]))) if len(score) > 1 else kind(1)
        if not (np.isfinite(scale) and scale > 0):
            return False
        one, top = kind(1), kind(buckets - 1)
        table = np.zeros(buckets, np.int32)
        crowd, previous, began = 0.0, -1, 0
        for start in range(0, len(score), BLOCK):
            part = score[start : start + BLOCK]
            keys = np.minimum((part - score[0]) * scale + one, top).astype(np.int32)
            firsts = np.flatnonzero(np.diff(keys, prepend=previous)) + start
            loads = np.diff(np.append(began, firsts))  # the last bucket of the block before ends here
            crowd += float(np.dot(loads, loads.astype(np.float64)))
            previous, began = int(keys[-1]), int(firsts[-1]) if len(firsts) else began
            table[keys[firsts - start]] = ~firsts.astype(np.int32)
        if crowd + float(len(score) - began) ** 2 > _CROWDED * len(score):
            return False
        self._table = table
        self._score = np.append(score, kind(np.inf))
        if score is self.score:  # one copy is enough; bits of scores are another array
            self.score = self._score[:-1]
        self._settings = (score[0], scale, one, top)
        self._gap, self._same = np.zeros(len(score) + 1, np.int64), np.zeros(len(score), np.int64)
        return True

    def add(self, pixels: NDArray[Any]) -> None:
        """Count ``(n,)`` finite pixels of the scores' dtype, in any order."""
        if self._table is None:
            super().add(pixels)
            return
        self._pending += len(pixels)
        if self._pending > 2**31 - 1:  # A bucket holds 31 bits.
            _fold(self._table, self._gap)
            self._pending = len(pixels)
        values = sortable_bits(pixels) if self._bits else pixels
        _count(values, self._table, self._score, self._gap, self._same, *self._settings)

    def _totals(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        if self._table is None:
            return super()._totals()
        _fold(self._table, self._gap)
        self._pending = 0
        below = self._gap[:-1]
        np.cumsum(below, out=below)
        add_running(below, self._same)
        return below, self._same


def sortable_bits(values: NDArray[np.float32]) -> NDArray[np.float64]:
    """Map float32 to whole numbers in the same order, equal where equal: buckets of their logarithm, nearly."""
    return sortable(values).astype(np.float64)
