"""The two passes over the pixels of one class: collect the anomalous scores, then count the normal ones among them.

This is the readable reference in numpy; :mod:`diadbench.benchmark.metrics.kernels` does the same faster.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diadbench.benchmark.metrics.ranking import BLOCK, Ranking
from diadbench.benchmark.metrics.regions import label_regions


class Anomalies:
    """First pass: scores and regions of the anomalous pixels, extremes, and how many pixels there are."""

    def __init__(self, connectivity: int = 8) -> None:
        self.connectivity = connectivity
        self.n_pixels = 0
        self.n_positive = 0
        self.n_broken_maps = 0
        self.low: Any = np.float32(np.inf)
        self.high: Any = np.float32(-np.inf)
        self.n_regions = 0
        self._scores: list[NDArray[Any]] = []
        self._regions: list[NDArray[np.int32]] = []
        self._packed: NDArray[np.int64] = np.empty(0, np.int64)
        self._sizes: list[NDArray[np.int64]] = []

    def add(self, maps: NDArray[Any], masks: NDArray[np.bool_]) -> None:
        """Take ``(B,H,W)`` float32 or float64 maps with their bool masks. Non-finite maps are counted, nothing more."""
        self.n_pixels += maps.size
        if not maps.size:
            return
        low, high = maps.min(), maps.max()  # NaN comes through both
        if not (np.isfinite(low) and np.isfinite(high)):
            finite = np.isfinite(maps).reshape(len(maps), -1).all(axis=1)
            self.n_broken_maps += int((~finite).sum())
            return
        self.low, self.high = min(self.low, low), max(self.high, high)
        self._take(maps, masks)

    def _take(self, maps: NDArray[Any], masks: NDArray[np.bool_]) -> None:
        for one_map, mask in zip(maps, masks):
            of_pixel, sizes = label_regions(mask, self.connectivity)
            if len(sizes):
                self._append(one_map[mask], of_pixel + np.int32(self.n_regions), sizes)

    def _append(self, scores: NDArray[Any], regions: NDArray[np.int32], sizes: NDArray[np.int64]) -> None:
        self._scores.append(scores)
        self._regions.append(regions)
        self._sizes.append(sizes)
        self.n_regions += len(sizes)
        self.n_positive += len(scores)

    def distinct(self, *, single_weights: bool = False) -> tuple[NDArray[Any], NDArray[Any], NDArray[np.float64]]:
        """Return ``(U,)`` ascending distinct scores, how often each occurs, and its region weight (sum 1).

        ``single_weights`` rounds each region's weight to float32 first, as ADEval does.
        """
        per_pixel = 1.0 / np.concatenate(self._sizes)
        if single_weights:
            per_pixel = per_pixel.astype(np.float32).astype(np.float64)
        if all(part.dtype == np.float32 for part in self._scores):
            self._sort_packed()
            parts = [_distinct(*unpack(block), per_pixel) for block in _runs(self._packed)]
        else:
            parts = [_distinct(*self._sorted_doubles(), per_pixel)]
        scores, positives, weight = (np.concatenate(each) if len(parts) > 1 else each[0] for each in zip(*parts))
        weight /= weight.sum()
        return scores, positives, weight

    def _sort_packed(self) -> None:
        """Move all scores and regions into one sorted array: eight bytes a pixel, and no copy beside it."""
        old = len(self._packed)
        packed = np.empty(old + sum(map(len, self._scores)), np.int64)
        packed[:old], self._packed = self._packed, packed
        while self._scores:
            scores, regions = self._scores.pop(), self._regions.pop()
            packed[old : old + len(scores)] = pack(scores, regions)
            old += len(scores)
        packed.sort()

    def _sorted_doubles(self) -> tuple[NDArray[Any], NDArray[np.int32]]:
        if len(self._packed):
            scores, regions = unpack(self._packed)
            self._scores.append(scores)
            self._regions.append(regions)
            self._packed = np.empty(0, np.int64)
        scores, regions = np.concatenate(self._scores), np.concatenate(self._regions)
        self._scores, self._regions = [scores], [regions]
        order = np.argsort(scores)
        return scores[order], regions[order]


def pack(scores: NDArray[np.float32], regions: NDArray[np.int32]) -> NDArray[np.int64]:
    """Put score and region into one integer that sorts by score, then region: one sort moves both, and faster."""
    bits = (scores + np.float32(0)).view(np.int32)  # -0.0 becomes 0.0
    packed = (bits ^ ((bits >> 31) & 0x7FFFFFFF)).astype(np.int64)
    packed <<= 32
    packed |= regions
    return packed


def unpack(packed: NDArray[np.int64]) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    """Undo :func:`pack`."""
    bits = (packed >> 32).astype(np.int32)
    bits ^= (bits >> 31) & 0x7FFFFFFF
    return bits.view(np.float32), packed.astype(np.int32)


def _runs(packed: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
    """Cut a sorted array into pieces of about :data:`BLOCK`, never between two equal scores."""
    start = 0
    while start < len(packed):
        last = packed[min(start + BLOCK, len(packed)) - 1]
        stop = int(np.searchsorted(packed, last | 0xFFFFFFFF, "right"))
        yield packed[start:stop]
        start = stop


def _distinct(
    scores: NDArray[Any], regions: NDArray[np.int32], per_pixel: NDArray[np.float64]
) -> tuple[NDArray[Any], NDArray[np.uint32], NDArray[np.float64]]:
    starts = np.flatnonzero(np.append(True, scores[1:] != scores[:-1]))
    weight = np.add.reduceat(per_pixel[regions], starts)
    return scores[starts], np.diff(starts, append=len(scores)).astype(np.uint32), weight


class Counter:
    """Second pass: for each distinct anomalous score, how many of ALL pixels lie below it and up to it."""

    def __init__(self, score: NDArray[Any]) -> None:
        self.score = score
        self._below = np.zeros(len(score), np.int64)
        self._upto = np.zeros(len(score), np.int64)

    def add(self, pixels: NDArray[Any]) -> None:
        """Count ``(n,)`` finite pixels of the scores' dtype, in any order."""
        ordered = np.sort(pixels)
        self._below += np.searchsorted(ordered, self.score, "left")
        self._upto += np.searchsorted(ordered, self.score, "right")

    def ranking(self, anomalies: Anomalies, positives: NDArray[Any], weight: NDArray[np.float64]) -> Ranking:
        """Take the anomalous pixels' own counts off; what is left are the normal ones."""
        below, equal = self._totals()
        add_running(below, positives, sign=-1)
        equal -= positives
        n_negative = anomalies.n_pixels - anomalies.n_positive
        return Ranking(self.score, positives, below, equal, anomalies.n_positive, n_negative, weight)

    def _totals(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return how many pixels lie below each score, and how many equal it. The counter is used up by it."""
        self._upto -= self._below
        return self._below, self._upto


def add_running(total: NDArray[np.int64], counts: NDArray[Any], sign: int = 1) -> None:
    """Add to each entry of ``total`` all ``counts`` before it, in place and with temporaries of one block."""
    passed = 0
    for start in range(0, len(total), BLOCK):
        part = slice(start, start + BLOCK)
        running = np.cumsum(counts[part], dtype=np.int64) + passed
        passed = int(running[-1])
        total[part] += sign * (running - counts[part])
