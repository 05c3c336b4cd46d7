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
        self._scores: list[NDArray[Any]] = []
        self._regions: list[NDArray[np.int32]] = []
        self._sizes: list[NDArray[np.int64]] = []
        self._n_regions = 0

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
        for one_map, mask in zip(maps, masks):
            of_pixel, sizes = label_regions(mask, self.connectivity)
            if len(sizes):
                self._scores.append(one_map[mask])
                self._regions.append(of_pixel + np.int32(self._n_regions))
                self._sizes.append(sizes)
                self._n_regions += len(sizes)
                self.n_positive += len(of_pixel)

    def distinct(self, *, single_weights: bool = False) -> tuple[NDArray[Any], NDArray[Any], NDArray[np.float64]]:
        """Return ``(U,)`` ascending distinct scores, how often each occurs, and its region weight (sum 1).

        ``single_weights`` rounds each region's weight to float32 first, as ADEval does.
        """
        scores, regions = np.concatenate(self._scores), np.concatenate(self._regions)
        per_pixel = 1.0 / np.concatenate(self._sizes)
        if single_weights:
            per_pixel = per_pixel.astype(np.float32).astype(np.float64)
        score, inverse, positives = np.unique(scores, return_inverse=True, return_counts=True)
        weight = np.bincount(inverse, per_pixel[regions], minlength=len(score))
        return score, positives, weight / weight.sum()


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
        before = np.cumsum(positives, dtype=np.int64) - positives
        equal = self._upto - self._below - positives
        n_negative = anomalies.n_pixels - anomalies.n_positive
        return Ranking(self.score, positives, self._below - before, equal, anomalies.n_positive, n_negative, weight)
