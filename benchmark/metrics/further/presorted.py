"""PG and PB: the share of a stream that can be sorted automatically before a person inspects it.

PG: the share of normal items that score below all but the allowed share of the anomalous ones. PB: the share of
anomalous items that score above all but the allowed share of the normal ones. Ties at the threshold count against both.
Source: arXiv 2503.23451. At the level of images and of pixels.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from diadbench.benchmark.metrics.exact.ranking import BLOCK, Ranking
from diadbench.benchmark.metrics.further.selection import Pixels, quantile, ranked_quantile, streamed_quantile


def presorted_good(scores: NDArray[Any], labels: NDArray[np.bool_], misses: float) -> float:
    """Return PG of ``(N,)`` scores: normal ones strictly below the ``misses`` quantile of the anomalous ones."""
    threshold = quantile(np.sort(scores[labels]), misses)
    return float(np.mean(scores[~labels] < threshold))


def presorted_bad(scores: NDArray[Any], labels: NDArray[np.bool_], alarms: float) -> float:
    """Return PB of ``(N,)`` scores: anomalous ones strictly above the ``1 - alarms`` quantile of the normal ones."""
    threshold = quantile(np.sort(scores[~labels]), 1 - alarms)
    return float(np.mean(scores[labels] > threshold))


def presorted_good_pixels(pixels: Pixels, ranking: Ranking, misses: float) -> float:
    """Return PG of pixels, in one pass over them."""
    threshold = ranked_quantile(ranking, misses)
    below = sum(int(np.count_nonzero(chunk < threshold)) for chunk in pixels())
    normal = below - anomalous_count(ranking, threshold, "below")
    return normal / ranking.n_negative


def presorted_bad_pixels(pixels: Pixels, dtype: np.dtype[Any], ranking: Ranking, alarms: float) -> float:
    """Return PB of pixels, in two passes over float32 maps and four over float64 maps."""
    threshold = streamed_quantile(pixels, dtype, ranking.n_negative, 1 - alarms, ranking)
    return anomalous_count(ranking, threshold, "above") / ranking.n_positive


def anomalous_count(ranking: Ranking, threshold: float, where: str) -> int:
    """Return how many anomalous items lie strictly ``below`` or ``above`` a threshold."""
    total = 0
    for start in range(0, len(ranking.score), BLOCK):
        part = slice(start, start + BLOCK)
        score = np.asarray(ranking.score[part], np.float64)
        inside = score < threshold if where == "below" else score > threshold
        total += int(ranking.positives[part][inside].sum(dtype=np.int64))
    return total
