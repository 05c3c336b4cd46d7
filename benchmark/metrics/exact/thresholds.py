"""Metrics that published codes compute at fixed thresholds: ADer's grid, ADer's and DiAD's AU-PRO, ADEval's bins.

Each is a set of cuts: edges at which the pixels (or image scores) are counted. Counting is exact; the metrics at the
cuts follow each source exactly, including its rounding.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from diadbench.benchmark.metrics.exact.ranking import BLOCK, Ranking, bounded

_EPS = 1e-8


@dataclass(frozen=True)
class Cuts:
    """Edges at which items are counted.

    Attributes:
        edges: ``(T,)`` ascending.
        side: ``left`` counts items below an edge (the source asks ``score >= edge``), ``right`` those up to it (``>``).
        low: Smallest item; with ``high``, items are min-max normalised in their own precision before they are compared.
        high: Largest item; ``None``: no normalisation.
    """

    edges: NDArray[Any]
    side: Literal["left", "right"]
    low: Any = None
    high: Any = None

    def count(self, ordered: NDArray[Any]) -> NDArray[np.int64]:
        """Return for each edge how many of the ``(n,)`` ascending items lie below it (or up to it, see ``side``)."""
        if self.high is not None:
            ordered = (ordered - self.low) / (self.high - self.low)
        return np.searchsorted(ordered, self.edges, self.side).astype(np.int64)


@dataclass(frozen=True)
class Counts:
    """Number of items above each edge. All arrays are ``(T,)``; ``overlap`` is the mean per-region overlap there."""

    tp: NDArray[np.int64]
    fp: NDArray[np.int64]
    overlap: NDArray[np.float64]
    n_positive: int
    n_negative: int


def counts_at(cuts: Cuts, ranking: Ranking, short: NDArray[np.int64]) -> Counts:
    """Combine a ranking with ``short``, the number of ALL items that don't pass each edge."""
    positives = np.zeros(len(cuts.edges), np.int64)
    above = np.zeros(len(cuts.edges))
    for start in range(0, len(ranking.score), BLOCK):
        part = slice(start, start + BLOCK)
        at = cuts.count(ranking.score[part])
        positives += np.concatenate([[0], np.cumsum(ranking.positives[part], dtype=np.int64)])[at]
        if len(ranking.weight):
            above += np.concatenate([np.cumsum(ranking.weight[part][::-1])[::-1], [0.0]])[at]
    tp = ranking.n_positive - positives
    fp = ranking.n_negative - (short - positives)
    return Counts(tp, fp, above, ranking.n_positive, ranking.n_negative)


def grid_cuts(low: Any, high: Any) -> Cuts:
    """Return ADer's 21 thresholds 0, 0.05, .., 1 on maps min-max normalised over the class, compared with ``>``."""
    return Cuts(np.arange(0.0, 1.0 + 1e-3, 0.05), "right", low, high)


def grid_f1_iou(counts: Counts) -> tuple[float, float]:
    """Return F1-max and IoU-max over ADer's grid, with its 1e-8 in the denominators."""
    predicted = counts.tp + counts.fp
    precision = counts.tp / (predicted + _EPS)
    recall = counts.tp / (counts.n_positive + _EPS)
    f1 = 2 * precision * recall / (precision + recall + _EPS)
    iou = counts.tp / (counts.n_positive + counts.fp + _EPS)
    return float(f1.max()), float(iou.max())


def step_cuts(low: Any, high: Any, steps: int) -> Cuts:
    """Return the thresholds ``arange(min, max, (max - min) / steps)``, compared with ``>``; in the maps' precision."""
    return Cuts(np.arange(low, high, (high - low) / steps), "right")


def step_pro(counts: Counts, limit: float, *, from_minimum: bool) -> float:
    """Return AU-PRO as ADer and DiAD do: points with FPR < limit, FPR rescaled, trapezoid; NaN below two points.

    Nothing is interpolated at the limit, so the value doesn't converge to the exact one with more steps.
    """
    fpr = counts.fp / counts.n_negative
    kept = fpr < limit
    fpr, overlap = fpr[kept], counts.overlap[kept]
    start = fpr.min() if from_minimum and len(fpr) else 0.0
    if len(fpr) < 2 or fpr.max() <= start:
        return float("nan")
    return bounded(float(np.trapezoid(overlap[::-1], ((fpr - start) / (fpr.max() - start))[::-1])))


def bin_cuts(low: Any, high: Any, bins: int) -> Cuts:
    """Return ADEval's bins: linear in float32 from minimum to maximum, half open, so the top item is beyond them."""
    unit = np.linspace(0.0, 1.0, num=bins + 1, dtype=np.float32)
    return Cuts(unit * (float(high) - float(low)) + float(low), "left")


def bin_auroc(counts: Counts) -> float:
    """Return ADEval's AU-ROC: the trapezoid between bin edges, without points at (0,0) and (1,1)."""
    fpr, tpr = counts.fp / counts.n_negative, counts.tp / counts.n_positive
    return bounded(float(np.trapezoid(tpr[::-1], fpr[::-1])))


def bin_ap(counts: Counts) -> float:
    """Return ADEval's AP: the trapezoid of the PR curve, not the step sum; precision is 1 without predictions."""
    predicted = counts.tp + counts.fp
    precision = np.divide(counts.tp, predicted, out=np.ones(len(predicted)), where=predicted > 0)
    return bounded(float(np.trapezoid(precision[::-1], (counts.tp / counts.n_positive)[::-1])))


def bin_pro(counts: Counts, limit: float) -> float:
    """Return ADEval's AU-PRO: the trapezoid between bin edges, the last one interpolated linearly at the limit.

    NaN where no edge lies below the limit.
    """
    fpr, overlap = (counts.fp / counts.n_negative)[::-1], counts.overlap[::-1]
    inside = fpr <= limit
    if not inside.any():
        return float("nan")
    last = int(np.flatnonzero(inside)[-1])
    area = float(np.trapezoid(overlap[: last + 1], fpr[: last + 1]))
    if last + 1 < len(fpr):
        share = (limit - fpr[last]) / (fpr[last + 1] - fpr[last])
        at_limit = overlap[last] + share * (overlap[last + 1] - overlap[last])
        area += float((limit - fpr[last]) * (overlap[last] + at_limit) / 2)
    return bounded(area / limit)
