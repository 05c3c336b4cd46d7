"""The outcome of a threshold: how many items are correctly and wrongly called anomalous."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diadbench.benchmark.metrics.decisions.histogram import Counts, ends_of, together


@dataclass(frozen=True)
class Outcome:
    """Counts at one threshold; an item is called anomalous if its score is above it.

    Attributes:
        tp: Anomalous items that are called anomalous.
        fp: Normal items that are called anomalous.
        n_anomalous: Anomalous items.
        n_normal: Normal items.
    """

    tp: int
    fp: int
    n_anomalous: int
    n_normal: int

    def __add__(self, other: Outcome) -> Outcome:
        return Outcome(
            self.tp + other.tp,
            self.fp + other.fp,
            self.n_anomalous + other.n_anomalous,
            self.n_normal + other.n_normal,
        )

    def values(self) -> dict[str, float]:
        """Return ``f1``, ``precision``, ``recall``, ``fpr`` and ``iou`` in [0,1]; NaN where the denominator is 0."""
        return {
            "f1": _share(2 * self.tp, self.tp + self.fp + self.n_anomalous) if self.n_anomalous else float("nan"),
            "precision": _share(self.tp, self.tp + self.fp),
            "recall": _share(self.tp, self.n_anomalous),
            "fpr": _share(self.fp, self.n_normal),
            "iou": _share(self.tp, self.fp + self.n_anomalous) if self.n_anomalous else float("nan"),
        }


def _share(part: int, whole: int) -> float:
    return part / whole if whole else float("nan")


@dataclass(frozen=True)
class Scored:
    """Test scores of one class, or of several together, as exact counts of normal and anomalous items.

    Attributes:
        normal: Ascending scores of normal images, or the counts of normal pixels.
        anomalous: The same for anomalous items.
        reason: Why there are no scores, or ``""``.
    """

    normal: NDArray[np.float64] | Counts
    anomalous: NDArray[np.float64] | Counts
    reason: str = ""

    def to_arrays(self, prefix: str) -> dict[str, NDArray[Any]]:
        """Return the counts of pixels as plain arrays; :meth:`from_arrays` is the inverse."""
        found: dict[str, NDArray[Any]] = {f"{prefix}reason": np.array(self.reason)}
        for name in ("normal", "anomalous"):
            side = getattr(self, name)
            found |= {f"{prefix}{name}/step": side.step, f"{prefix}{name}/count": side.count}
        return found

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]], prefix: str) -> Scored:
        """Restore counts from the arrays of :meth:`to_arrays`. Raises KeyError for other arrays."""
        normal, anomalous = (
            Counts(arrays[f"{prefix}{name}/step"], arrays[f"{prefix}{name}/count"]) for name in ("normal", "anomalous")
        )
        return cls(normal, anomalous, str(arrays[f"{prefix}reason"]))

    def at(self, threshold: float) -> Outcome:
        """Return the outcome of a threshold. For pixels, it must be the end of a step."""
        found = [(_above(one, threshold), _total(one)) for one in (self.anomalous, self.normal)]
        return Outcome(found[0][0], found[1][0], found[0][1], found[1][1])

    def best_threshold(self) -> float:
        """Return the highest threshold with the largest F1 on these test labels; NaN without an anomalous item."""
        positives = _total(self.anomalous)
        if not positives or self.reason:
            return float("nan")
        below, tp, fp = _candidates(self)
        return float(below[int(np.argmax(2 * tp / (tp + fp + positives)))])


def _above(items: Any, threshold: float) -> int:
    if isinstance(items, Counts):
        return items.above(threshold)
    return len(items) - int(np.searchsorted(items, threshold, "right"))


def _total(items: Any) -> int:
    return items.total if isinstance(items, Counts) else len(items)


def _candidates(scored: Scored) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.int64]]:
    """Return thresholds from high to low, one just below each anomalous score, with true and false positives."""
    normal, anomalous = scored.normal, scored.anomalous
    if isinstance(normal, Counts) and isinstance(anomalous, Counts):
        at = np.searchsorted(normal.step, anomalous.step, "left")
        upto = np.concatenate([[0], np.cumsum(normal.count)])
        fp = normal.total - upto[at]
        tp = np.cumsum(anomalous.count[::-1])
        below = ends_of(anomalous.step - 1)
        return below[::-1], tp, fp[::-1]
    assert not isinstance(normal, Counts)
    assert not isinstance(anomalous, Counts)
    distinct = np.unique(anomalous)
    tp = len(anomalous) - np.searchsorted(anomalous, distinct, "left")
    fp = len(normal) - np.searchsorted(normal, distinct, "left")
    return np.nextafter(distinct, -np.inf)[::-1], tp[::-1], fp[::-1]


def scored_together(several: list[Scored]) -> Scored:
    """Combine the items of several classes."""
    reason = next((one.reason for one in several if one.reason), "")
    sides: list[Any] = []
    for name in ("normal", "anomalous"):
        parts = [getattr(one, name) for one in several]
        counted = any(isinstance(part, Counts) for part in parts)
        sides.append(together(parts) if counted else np.sort(np.concatenate([np.empty(0), *parts])))
    return Scored(sides[0], sides[1], reason)
