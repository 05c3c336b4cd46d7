"""Two passes over the pixels of one class: collect the anomalous scores, then count the normal ones between them.

This is the readable reference in numpy; :mod:`diadbench.benchmark.metrics.exact.kernels` does the same faster.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diadbench.benchmark.metrics.exact.bag import Bag
from diadbench.benchmark.metrics.exact.ranking import BLOCK, Ranking
from diadbench.benchmark.metrics.exact.regions import label_regions
from diadbench.benchmark.metrics.exact.spill import Budget

#: ``(U,)`` ascending distinct scores, the count of each, and its region weight (sum 1 over all ranges).
Distinct = tuple[NDArray[Any], NDArray[Any], NDArray[np.float64]]


class Anomalies:
    """First pass: collect the scores and regions of anomalous pixels, the extremes, and the number of pixels.

    Args:
        connectivity: 8 or 4: whether pixels that touch at a corner belong to one region.
        budget: Memory and file for the anomalous pixels; ``None``: memory without a limit.
    """

    def __init__(self, connectivity: int = 8, budget: Budget | None = None) -> None:
        self.connectivity = connectivity
        self.n_pixels = 0
        self.n_positive = 0
        self.n_broken_maps = 0
        self.low: Any = np.float32(np.inf)
        self.high: Any = np.float32(-np.inf)
        self.n_regions = 0
        self._bag = Bag(budget)
        self._sizes: list[NDArray[np.int64]] = []

    def add(self, maps: NDArray[Any], masks: NDArray[np.bool_]) -> None:
        """Add ``(B,H,W)`` float32 or float64 maps with their bool masks. Non-finite maps are only counted."""
        self.n_pixels += maps.size
        if not maps.size:
            return
        low, high = maps.min(), maps.max()  # NaN passes both comparisons.
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
        self._bag.add(scores, regions)
        self._sizes.append(sizes)
        self.n_regions += len(sizes)
        self.n_positive += len(scores)

    def distinct(self, *, single_weights: bool = False) -> Iterator[Distinct]:
        """Yield ranges of ascending distinct scores; a class of moderate size is one range.

        Args:
            single_weights: Round each region's weight to float32 first, as ADEval does.
        """
        sizes = np.concatenate(self._sizes)
        per_pixel = 1.0 / sizes
        if single_weights:
            per_pixel = per_pixel.astype(np.float32).astype(np.float64)
        total = float(np.sum(np.sort(sizes * per_pixel)))  # Sorted, so that the order of images changes nothing.
        for pieces in self._bag.ranges():
            found = [_distinct(*piece, per_pixel) for piece in pieces]
            score, positives, weight = (np.concatenate(each) if len(found) > 1 else each[0] for each in zip(*found))
            del found
            weight /= total
            yield score, positives, weight


def _distinct(
    scores: NDArray[Any], regions: NDArray[np.int32], per_pixel: NDArray[np.float64]
) -> tuple[NDArray[Any], NDArray[np.uint32], NDArray[np.float64]]:
    starts = np.flatnonzero(np.append(True, scores[1:] != scores[:-1]))
    weight = np.add.reduceat(per_pixel[regions], starts)
    return scores[starts], np.diff(starts, append=len(scores)).astype(np.uint32), weight


class Counter:
    """Second pass: for each distinct anomalous score, count how many of ALL pixels lie below it and up to it."""

    def __init__(self, score: NDArray[Any]) -> None:
        self.score = score
        self._below = np.zeros(len(score), np.int64)
        self._upto = np.zeros(len(score), np.int64)

    def add(self, pixels: NDArray[Any]) -> None:
        """Count ``(n,)`` finite pixels of the scores' dtype, in any order."""
        ordered = np.sort(pixels)
        self._below += np.searchsorted(ordered, self.score, "left")
        self._upto += np.searchsorted(ordered, self.score, "right")

    def ranking(
        self, anomalies: Anomalies, positives: NDArray[Any], weight: NDArray[np.float64], passed: int = 0
    ) -> Ranking:
        """Subtract the counts of the anomalous pixels; the rest are the normal pixels.

        Args:
            anomalies: The first pass.
            positives: ``(U,)`` anomalous pixels with each score.
            weight: ``(U,)`` their region weight.
            passed: Number of anomalous pixels below the first score, i.e. in the ranges before this one.
        """
        below, equal = self._totals()
        below -= passed
        add_running(below, positives, sign=-1)
        equal -= positives
        n_negative = anomalies.n_pixels - anomalies.n_positive
        return Ranking(self.score, positives, below, equal, anomalies.n_positive, n_negative, weight)

    def _totals(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return how many pixels lie below each score, and how many equal it. This consumes the counter."""
        self._upto -= self._below
        return self._below, self._upto


def add_running(total: NDArray[np.int64], counts: NDArray[Any], sign: int = 1) -> None:
    """Add to each entry of ``total`` the sum of all ``counts`` before it, in place, with temporaries of one block."""
    passed = 0
    for start in range(0, len(total), BLOCK):
        part = slice(start, start + BLOCK)
        running = np.cumsum(counts[part], dtype=np.int64) + passed
        passed = int(running[-1])
        total[part] += sign * (running - counts[part])
