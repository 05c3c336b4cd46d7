"""AU-ROC and AP of all classes' test items as one set, compared with the mean over classes.

A method whose scores are not comparable between classes has lower values here, which the mean over classes hides.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from diadbench.benchmark.metrics.decisions.histogram import Counts
from diadbench.benchmark.metrics.decisions.outcome import Scored, scored_together
from diadbench.benchmark.metrics.exact import ranking as exact


def pooled_row(metric: str, scored: list[Scored], table: pd.DataFrame) -> tuple[Any, ...]:
    """Return ``metric, pooled, mean, difference, error, reason``.

    Args:
        metric: Key of an AU-ROC or AP.
        scored: Test items of each class.
        table: ``class, metric, value`` of the evaluation.

    Returns:
        ``pooled`` of all items as one set, ``mean`` over classes (NaN where a class has none), ``difference``: pooled
        minus mean; ``error``: how far ``pooled`` can be from the exact value, 0 for images.
    """
    values = table.loc[table["metric"] == metric, "value"]
    mean = float(values.mean()) if len(values) and values.notna().all() else float("nan")
    whole = scored_together(scored)
    reason = whole.reason or _undefined(whole)
    if reason:
        return metric, float("nan"), mean, float("nan"), float("nan"), reason
    low, high = _bounds(metric, whole)
    value = (low + high) / 2
    difference = value - mean
    if abs(difference) < exact.ROUNDING:  # summed in another order
        difference = 0.0
    return metric, value, mean, difference, (high - low) / 2, ""


def _undefined(scored: Scored) -> str:
    for side, what in ((scored.anomalous, "anomalous"), (scored.normal, "normal")):
        if not (side.total if isinstance(side, Counts) else len(side)):
            return f"no {what} test item"
    return ""


def _bounds(metric: str, scored: Scored) -> tuple[float, float]:
    """Return the smallest and the largest possible value, since the order of items within a step is unknown."""
    if isinstance(scored.normal, Counts) and isinstance(scored.anomalous, Counts):
        bounds = _auroc_bounds if metric.endswith("auroc") else _ap_bounds
        return bounds(scored.normal, scored.anomalous)
    scores = np.concatenate([scored.normal, scored.anomalous])
    labels = np.arange(len(scores)) >= len(scores) - len(scored.anomalous)  # type: ignore[arg-type]
    ranking = exact.rank(scores, labels)
    value = exact.auroc(ranking) if metric.endswith("auroc") else exact.average_precision(ranking)
    return value, value


def _counted(normal: Counts, anomalous: Counts) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return for each step with anomalous items how many normal ones lie below it, and below its end."""
    upto: NDArray[np.int64] = np.concatenate([np.zeros(1, np.int64), np.cumsum(normal.count)])
    sides: tuple[Literal["left", "right"], ...] = ("left", "right")
    below, through = (upto[np.searchsorted(normal.step, anomalous.step, side)] for side in sides)
    return below, through


def _auroc_bounds(normal: Counts, anomalous: Counts) -> tuple[float, float]:
    """Return AU-ROC with all normal items of a step above its anomalous ones, and with all below."""
    pairs = [sum(map(int.__mul__, anomalous.count.tolist(), side.tolist())) for side in _counted(normal, anomalous)]
    return pairs[0] / (anomalous.total * normal.total), pairs[1] / (anomalous.total * normal.total)


def _ap_bounds(normal: Counts, anomalous: Counts) -> tuple[float, float]:
    """Return the lower and upper bound of AP.

    With all normal items of a step below it, no anomalous item has a better precision than the step's last. With all
    above, the k-th has ``(t + k) / (t + k + f)``: concave in k, so their mean is at least that of the first and last.
    """
    own, total = anomalous.count, anomalous.total
    tp = np.cumsum(own[::-1])[::-1]
    few, many = (normal.total - side for side in reversed(_counted(normal, anomalous)))
    best = tp / (tp + few)
    first = tp - own + 1
    worst = (first / (first + many) + tp / (tp + many)) / 2
    low, high = (float(np.sum(own / total * side)) for side in (worst, best))
    return low, min(high, 1.0)
