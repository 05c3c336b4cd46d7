"""Image- and sample-level metrics of one class."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from diadbench.benchmark.metrics.exact import ranking as exact
from diadbench.benchmark.metrics.exact import thresholds
from diadbench.benchmark.metrics.exact.pixels import Values
from diadbench.benchmark.metrics.exact.ranking import Ranking
from diadbench.benchmark.metrics.protocols import Protocol


def score_metrics(
    scores: NDArray[Any], labels: NDArray[np.bool_], protocol: Protocol, prefix: str = "i", noun: str = "image"
) -> tuple[Values, Ranking | None, float]:
    """Compute AU-ROC, AP and F1-max of ``(N,)`` scores.

    Args:
        scores: Scores, larger is more anomalous.
        labels: Whether each is anomalous.
        protocol: Says whether curves are exact or binned, and whether an AU-ROC below 0.5 is flipped.
        prefix: ``i`` for images, ``s`` for samples: the first letter of the metrics' keys.
        noun: What one item is, in reasons.

    Returns:
        The values with reasons, the ranking behind them, and the F1-max threshold (NaN where undefined).
    """
    keys = tuple(f"{prefix}_{name}" for name in ("auroc", "ap", "f1max"))
    nan = float("nan")
    reason = undefined_reason(scores, labels, noun)
    if reason:
        return dict.fromkeys(keys, (nan, reason)), None, nan
    ranking = exact.rank(scores, labels)
    best, threshold = exact.f1_max(ranking, exact.SMOOTHING if protocol.f1 == "smoothed" else 0.0)
    found = [exact.auroc(ranking), exact.average_precision(ranking), best]
    reasons = ["", "", ""]
    if protocol.image_curve == "bins":
        found[:2], reasons[:2] = _binned(scores, ranking, protocol)
    if protocol.flip:
        found[0] = max(found[0], 1 - found[0])
    for at, key in enumerate(keys):
        if key not in protocol.metrics:
            found[at], reasons[at] = nan, f"{protocol.name} does not compute it"
    return dict(zip(keys, zip(found, reasons))), ranking, threshold


def undefined_reason(scores: NDArray[Any], labels: NDArray[np.bool_], noun: str) -> str:
    """Return the reason why metrics of ``(N,)`` scores are undefined, or ``""``. ``noun`` names one item."""
    if not len(scores):
        return f"no test {noun}"
    if not np.isfinite(scores).all():
        return f"NaN or infinity in {int((~np.isfinite(scores)).sum())} of {len(scores)} {noun} scores"
    if not labels.any():
        return f"no anomalous test {noun}"
    if labels.all():
        return f"no normal test {noun}"
    return ""


def _binned(scores: NDArray[Any], ranking: Ranking, protocol: Protocol) -> tuple[list[float], list[str]]:
    low, high = scores.min(), scores.max()
    if low == high:
        return [float("nan")] * 2, [f"constant scores: {protocol.name} sets no threshold"] * 2
    cuts = thresholds.bin_cuts(low, high, protocol.bins)
    counts = thresholds.counts_at(cuts, ranking, cuts.count(np.sort(scores)))
    return [thresholds.bin_auroc(counts), thresholds.bin_ap(counts)], ["", ""]
