"""ROC, PR and PRO curves for plots, thinned so that no drawn point moves by more than a pixel."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from diadbench.benchmark.metrics.exact.ranking import BLOCK, Ranking
from diadbench.benchmark.metrics.names import CURVES

#: Number of columns of a drawing's axis; each keeps its first, lowest, highest and last point.
COLUMNS = 2000

Curve = NDArray[np.float64]
#: kind -> x, y
Curves = dict[str, tuple[Curve, Curve]]


def curves(image: Ranking | None, pixel: Ranking | None) -> Curves:
    """Return the curves of the two rankings, by kind, each as ``(x, y)``.

    The kinds and their axes are those of :data:`~diadbench.benchmark.metrics.names.CURVES`. All ``float64 (n,)``,
    ascending in x; PRO over the whole range of false positive rates. A kind without a ranking is left out.
    """
    found: Curves = {}
    for key, info in CURVES.items():
        ranking = image if info.level == "image" else pixel
        if ranking:
            points = _MAKERS[key](ranking)
            found[key] = points[:, 0], points[:, 1]
    return found


def roc_curve(ranking: Ranking, columns: int = COLUMNS) -> Curve:
    """Return FPR and TPR, from (0,0) to (1,1)."""
    return _walk(ranking, ranking.positives, ranking.n_positive, columns)


def pro_curve(ranking: Ranking, columns: int = COLUMNS) -> Curve:
    """Return FPR and mean per-region overlap, from (0,0) to (1,1)."""
    return _walk(ranking, ranking.weight, 1, columns)


def pr_curve(ranking: Ranking, columns: int = COLUMNS) -> Curve:
    """Return recall and precision, from the highest threshold to the prevalence at recall 1."""
    kept: list[Curve] = []
    found = 0
    for stop in range(len(ranking.score), 0, -BLOCK):
        part = slice(max(0, stop - BLOCK), stop)
        tp = np.cumsum(ranking.positives[part][::-1], dtype=np.int64) + found
        found = int(tp[-1])
        fp = ranking.n_negative - ranking.below[part][::-1]
        # Recall stays the same with all normal items between this score and the next, so the curve drops there.
        lower = slice(max(0, stop - BLOCK - 1), stop - 1)
        before = ranking.n_negative - (ranking.below[lower] + ranking.equal[lower])[::-1]
        lowest = tp / (tp + np.append(before, ranking.n_negative)[: len(tp)])
        recall, precision = tp / ranking.n_positive, tp / (tp + fp)
        points = np.stack([np.repeat(recall, 2), np.stack([precision, lowest], axis=1).reshape(-1)], axis=1)
        kept.append(thin(points, columns))
    return thin(np.concatenate(kept), columns)


def _walk(ranking: Ranking, gain: Any, total: int, columns: int) -> Curve:
    kept = [np.zeros((1, 2))]
    height = 0.0
    for stop in range(len(ranking.score), 0, -BLOCK):
        part = slice(max(0, stop - BLOCK), stop)
        after = (ranking.n_negative - ranking.below[part][::-1]) / ranking.n_negative
        before = after - ranking.equal[part][::-1] / ranking.n_negative
        step = gain[part][::-1] / total
        top = height + np.cumsum(step)
        bottom = top - step
        height = float(top[-1])
        points = np.stack([np.stack([before, bottom], 1), np.stack([after, top], 1)], axis=1).reshape(-1, 2)
        kept.append(thin(points, columns))
    kept.append(np.ones((1, 2)))
    return thin(np.concatenate(kept), columns)


def thin(points: Curve, columns: int = COLUMNS) -> Curve:
    """Keep the first, lowest, highest and last point of each column of x, in the original order.

    Args:
        points: ``(n,2)`` with x in [0,1], ascending.
        columns: Number of columns. No point of the curve moves by more than one of them.
    """
    if len(points) <= columns:
        return points
    column = np.minimum((points[:, 0] * columns).astype(np.int64), columns - 1)
    first = np.flatnonzero(np.diff(column, prepend=-1))
    last = np.append(first[1:], len(points)) - 1
    sizes = last - first + 1
    height = points[:, 1]
    lowest = np.flatnonzero(height == np.repeat(np.minimum.reduceat(height, first), sizes))
    highest = np.flatnonzero(height == np.repeat(np.maximum.reduceat(height, first), sizes))
    ends = [one[np.searchsorted(one, first)] for one in (lowest, highest)]
    return np.asarray(points[np.unique(np.concatenate([first, last, *ends]))])


_MAKERS = {"image_roc": roc_curve, "image_pr": pr_curve, "roc": roc_curve, "pr": pr_curve, "pro": pro_curve}
