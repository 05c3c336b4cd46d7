"""The two passes over the pixels of one class: collect the anomalous scores, then count the normal ones among them.

This is the readable reference in numpy; :mod:`diadbench.benchmark.metrics.kernels` does the same faster.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from diadbench.benchmark.metrics.ranking import Ranking
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
        scores, regions = np.concatenate(self._scores), np.concatenate(self._regions)
        self._scores, self._regions = [scores], [regions]
        per_pixel = 1.0 / np.concatenate(self._sizes)
        if single_weights:
            per_pixel = per_pixel.astype(np.float32).astype(np.float64)
        scores, regions = _ordered(scores, regions)
        starts = np.flatnonzero(np.append(True, scores[1:] != scores[:-1]))
        weight = np.add.reduceat(per_pixel[regions], starts)
        positives = np.diff(starts, append=len(scores)).astype(np.uint32)
        return scores[starts], positives, weight / weight.sum()


def _ordered(scores: NDArray[Any], regions: NDArray[np.int32]) -> tuple[NDArray[Any], NDArray[np.int32]]:
    """Sort scores, and regions with them. 32-bit scores travel in one integer with their region, which is faster."""
    if scores.dtype != np.float32:
        order = np.argsort(scores)
        return scores[order], regions[order]
    bits = (scores + np.float32(0)).view(np.int32)  # -0.0 becomes 0.0
    packed = (bits ^ ((bits >> 31) & 0x7FFFFFFF)).astype(np.int64)
    packed <<= 32
    packed |= regions
    packed.sort()
    bits = (packed >> 32).astype(np.int32)
    bits ^= (bits >> 31) & 0x7FFFFFFF
    return bits.view(np.float32), packed.astype(np.int32)


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
        below -= np.cumsum(positives, dtype=np.int64) - positives
        n_negative = anomalies.n_pixels - anomalies.n_positive
        return Ranking(self.score, positives, below, equal - positives, anomalies.n_positive, n_negative, weight)

    def _totals(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return a new array of how many pixels lie below each score, and how many equal it."""
        return self._below.copy(), self._upto - self._below
