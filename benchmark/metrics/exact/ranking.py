"""A ranking: the counts that the metrics need of scores and labels, and the exact metrics as pure functions of it.

Every metric depends only on the distinct scores ``s_1 < .. < s_U`` of the ANOMALOUS items and, for each, on four
numbers: how many anomalous items have it, their region weight, how many normal items lie below it, how many equal it.
No big sort is needed, and a threshold between two anomalous scores can never be the best one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

#: Distinct scores handled at a time, so that temporaries stay small beside the ranking itself.
BLOCK = 1 << 18
#: Largest deviation that counts as rounding; sums of float64 over any number of scores stay well below it.
ROUNDING = 1e-9
#: Value that the rule ``smoothed`` adds to precision + recall (Dinomaly's code).
SMOOTHING = 1e-7


@dataclass(frozen=True)
class Ranking:
    """Anomalous scores with the numbers of normal scores between them.

    The arrays of a large class lie on disk (:class:`~diadbench.benchmark.metrics.exact.spill.DiskArray`), so only
    slices should be taken.

    Attributes:
        score: ``(U,)`` float32 or float64, ascending, distinct: the scores of anomalous items.
        positives: ``(U,)`` integer: anomalous items with that score.
        below: ``(U,)`` int64: normal items with a smaller score.
        equal: ``(U,)`` int64: normal items with the same score.
        n_positive: Anomalous items.
        n_negative: Normal items.
        weight: ``(U,)`` float64, sum 1: share of the per-region overlap, ``sum 1/(regions * size of the region)``;
            empty where there are no regions (image scores).
    """

    score: Any
    positives: Any
    below: Any
    equal: Any
    n_positive: int
    n_negative: int
    weight: Any


def bounded(value: float) -> float:
    """Clip a metric that is in [0, 1] by definition if rounding moved it out.

    Only rounding errors are clipped: a value further outside is a fault and stays visible.
    """
    inside = min(max(value, 0.0), 1.0)
    return inside if abs(value - inside) < ROUNDING else value


def rank(scores: NDArray[Any], labels: NDArray[Any]) -> Ranking:
    """Rank ``(N,)`` finite scores with 0/1 labels that fit in memory (images, samples)."""
    scores, labels = np.asarray(scores), np.asarray(labels).astype(bool)
    distinct, positives = np.unique(scores[labels], return_counts=True)
    normal = np.sort(scores[~labels])
    below = np.searchsorted(normal, distinct, "left").astype(np.int64)
    upto = np.searchsorted(normal, distinct, "right").astype(np.int64)
    return Ranking(distinct, positives, below, upto - below, int(labels.sum()), len(normal), np.empty(0))


@dataclass(frozen=True)
class _Part:
    """A run of thresholds from high to low; counts at ``score >= threshold``, all ``(n,)``."""

    score: NDArray[Any]
    own: NDArray[np.int64]  # anomalous items exactly at the threshold
    tp: NDArray[np.int64]
    fp: NDArray[np.int64]
    ties: NDArray[np.int64]  # normal items exactly at the threshold


def _parts(ranking: Ranking) -> Iterator[_Part]:
    passed = 0
    for stop in range(len(ranking.score), 0, -BLOCK):
        part = slice(max(0, stop - BLOCK), stop)
        own = ranking.positives[part][::-1].astype(np.int64)
        tp = np.cumsum(own) + passed
        passed = int(tp[-1])
        fp = ranking.n_negative - ranking.below[part][::-1]
        yield _Part(ranking.score[part][::-1], own, tp, fp, ranking.equal[part][::-1])


def _total(left: NDArray[np.int64], right: NDArray[np.int64]) -> int:
    """Return the exact sum of ``left * right``; for a set of 20 Gpx it exceeds 64 bits."""
    high, low = right >> 31, right & 0x7FFFFFFF
    return (int(np.dot(left, high)) << 31) + int(np.dot(left, low))


def auroc(ranking: Ranking) -> float:
    """Return the area under the ROC curve; ties count one half. Needs both an anomalous and a normal item."""
    pairs = 0
    for part in _parts(ranking):
        pairs += _total(part.own, 2 * (ranking.n_negative - part.fp) + part.ties)
    return pairs / (2 * ranking.n_positive * ranking.n_negative)


def average_precision(ranking: Ranking) -> float:
    """Return average precision: precision at each distinct score, weighted by the gain in recall (no interpolation)."""
    steps = (np.sum(part.own / ranking.n_positive * (part.tp / (part.tp + part.fp))) for part in _parts(ranking))
    return bounded(float(sum(steps)))


def f1_max(ranking: Ranking, smoothing: float = 0.0) -> tuple[float, float]:
    """Return the largest F1 over all thresholds ``score >= t`` and the highest ``t`` that reaches it.

    Args:
        ranking: Anomalous scores among the normal ones.
        smoothing: Added to precision + recall in the denominator, as some published codes do.
    """
    best, threshold = -1.0, np.nan
    for part in _parts(ranking):
        f1 = 2 * part.tp / (part.tp + part.fp + ranking.n_positive)
        if smoothing:
            precision, recall = part.tp / (part.tp + part.fp), part.tp / ranking.n_positive
            f1 = 2 * precision * recall / (precision + recall + smoothing)
        at = int(np.argmax(f1))
        if f1[at] > best:
            best, threshold = float(f1[at]), float(part.score[at])
    return best, threshold


def iou_max(ranking: Ranking) -> float:
    """Return the largest intersection over union over all thresholds: ``F / (2 - F)`` of the largest F1."""
    return max(float(np.max(part.tp / (part.fp + ranking.n_positive))) for part in _parts(ranking))


def aupro(ranking: Ranking, limit: float = 0.3) -> float:
    """Return the area under the per-region-overlap curve up to the false positive rate ``limit``, divided by ``limit``.

    The curve is a sum of ramps, one for each distinct anomalous score: 0 below the rate of the normal items above the
    score, linear over the items that tie with it, and then constant. The area of each ramp up to the limit has a closed
    form, so nothing is sampled, and the curve is interpolated at the limit.
    Source: Bergmann et al., IJCV 129 (2021), section 5.
    """
    end = limit * ranking.n_negative
    area = 0.0
    for start in range(0, len(ranking.score), BLOCK):
        part = slice(start, start + BLOCK)
        ties = ranking.equal[part].astype(np.float64)
        room = end - (ranking.n_negative - ranking.below[part] - ranking.equal[part])
        inside = np.clip(room, 0.0, ties)
        ramp = np.divide(inside * inside, 2 * ties, out=np.zeros_like(ties), where=ties > 0)
        area += float(np.sum(ranking.weight[part] * (ramp + np.maximum(room - ties, 0.0))))
    return bounded(area / end)
