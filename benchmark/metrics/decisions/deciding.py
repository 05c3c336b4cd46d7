"""Compute two tables from collected scores: the results of thresholds, and the metrics of all classes as one set."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from diadbench.benchmark.metrics.decisions.histogram import Counts, StepHistogram, without
from diadbench.benchmark.metrics.decisions.normal_scores import NormalScores, NormalSummary, all_together
from diadbench.benchmark.metrics.decisions.outcome import Outcome, Scored, scored_together
from diadbench.benchmark.metrics.decisions.pooled import pooled_row
from diadbench.benchmark.metrics.decisions.threshold_rules import DECISION_RULES, ThresholdRule
from diadbench.benchmark.metrics.names import DECISION_COLUMNS, DECISION_VALUES, ORACLE, POOLED_COLUMNS

_LEVELS = ("image", "pixel")


class _Pixels:
    """Pixels of the test images of one class."""

    def __init__(self) -> None:
        self.all, self.anomalous = StepHistogram(), StepHistogram()
        self.broken = 0
        self.unmasked = 0

    def add(self, maps: NDArray[Any], masks: NDArray[np.bool_] | None) -> None:
        if masks is None:
            self.unmasked += len(maps)
            return
        if not maps.size:
            return
        if not np.isfinite([maps.min(), maps.max()]).all():  # NaN passes both comparisons.
            self.broken += int((~np.isfinite(maps).all(axis=(1, 2))).sum())
            return
        self.all.add(maps.reshape(-1))
        if masks.any():
            self.anomalous.add(maps[masks])

    @property
    def scored(self) -> Scored:
        reason = f"NaN or infinity in {self.broken} anomaly maps" if self.broken else ""
        reason = reason or ("no masks" if self.unmasked else "")
        anomalous = self.anomalous.counts
        return Scored(without(self.all.counts, anomalous), anomalous, reason)


class Decider:
    """Collect test scores and normal scores of all classes. Thresholds are set without any label.

    Args:
        classes: Names of the classes.
    """

    def __init__(self, classes: Sequence[str]) -> None:
        self.classes = tuple(classes)
        self._normal: dict[int, NormalScores] = {}
        self._summaries: dict[int, NormalSummary] = {}
        self._pixels: dict[int, _Pixels] = {}

    def add_normal(self, one: int, maps: NDArray[Any] | None, scores: NDArray[np.float64]) -> None:
        """Add normal training or validation images of a class."""
        self._normal.setdefault(one, NormalScores()).add(maps, scores)

    def add_test(self, one: int, maps: NDArray[Any], masks: NDArray[np.bool_] | None) -> None:
        """Add test images of a class. Image scores are passed to :meth:`tables`."""
        self._pixels.setdefault(one, _Pixels()).add(maps, masks)

    def set_normal(self, one: int, summary: NormalSummary) -> None:
        """Set the normal images of a class from a value of :meth:`normal`."""
        self._summaries[one] = summary

    def normal(self, one: int) -> NormalSummary:
        """Return the normal scores of a class."""
        if one in self._summaries:
            return self._summaries[one]
        return self._normal.get(one, NormalScores()).summary

    def pixels(self, one: int) -> Scored | None:
        """Return the counts of a class's test pixels; ``None`` if no map was given."""
        return self._pixels[one].scored if one in self._pixels else None

    def forget(self, one: int) -> None:
        """Discard the test pixels of a class."""
        self._pixels.pop(one, None)

    def tables(
        self, images: pd.DataFrame, table: pd.DataFrame, pixels: Sequence[Scored | None]
    ) -> tuple[pd.DataFrame, pd.DataFrame]:
        """Return the table of thresholds and the table of the classes as one set.

        Args:
            images: ``class, score, label`` of all test images.
            table: ``class, metric, value`` of the evaluation, for the means over classes.
            pixels: Result of :meth:`pixels` of each class.

        Returns:
            Columns :data:`DECISION_COLUMNS` and :data:`POOLED_COLUMNS`.
        """
        normal = [self.normal(one) for one in range(len(self.classes))]
        rows: list[tuple[Any, ...]] = []
        pooled: list[tuple[Any, ...]] = []
        for level in _LEVELS:
            if level == "pixel" and not any(pixels):
                continue
            scored = [one or _nothing() for one in pixels] if level == "pixel" else self._images_of(images)
            rows += _rows(level, self.classes, scored, normal)
            pooled += [pooled_row(f"{level[0]}_{name}", scored, table) for name in ("auroc", "ap")]
        return pd.DataFrame(rows, columns=list(DECISION_COLUMNS)), pd.DataFrame(pooled, columns=list(POOLED_COLUMNS))

    def _images_of(self, images: pd.DataFrame) -> list[Scored]:
        return [_images(images[images["class"] == name]) for name in self.classes]


def _nothing() -> Scored:
    empty = Counts(np.empty(0, np.int32), np.empty(0, np.int64))
    return Scored(empty, empty, "no test image")


def _images(frame: pd.DataFrame) -> Scored:
    scores, labels = frame["score"].to_numpy(dtype=np.float64), frame["label"].to_numpy() == 1
    broken = int((~np.isfinite(scores)).sum())
    reason = f"NaN or infinity in {broken} image scores" if broken else "" if len(scores) else "no test image"
    return Scored(np.sort(scores[~labels]), np.sort(scores[labels]), reason)


def _rows(
    level: str, classes: Sequence[str], scored: list[Scored], normal: list[NormalSummary]
) -> Iterator[tuple[Any, ...]]:
    """Yield all rows of a level: each rule for each class, then each rule for all classes at once."""
    for rule in (*DECISION_RULES, None):
        own = [_threshold(level, rule, *pair) for pair in zip(scored, normal)]
        yield from _block(level, "own", rule, classes, scored, own, [one.reason for one in normal])
        together = all_together(normal)
        one = _threshold(level, rule, scored_together(scored), together)
        yield from _block(level, "one", rule, classes, scored, [one] * len(scored), [together.reason] * len(scored))


def _threshold(level: str, rule: ThresholdRule | None, scored: Scored, normal: NormalSummary) -> float:
    if rule is None:
        return scored.best_threshold()
    choose: Callable[[ThresholdRule], float] = normal.image_threshold if level == "image" else normal.pixel_threshold
    return choose(rule)


def _block(
    level: str,
    scope: str,
    rule: ThresholdRule | None,
    classes: Sequence[str],
    scored: list[Scored],
    thresholds: list[float],
    reasons: list[str],
) -> Iterator[tuple[Any, ...]]:
    """Yield one row per class, their mean and, if one threshold serves all classes, a row of all items as one set."""
    head = (level, scope, rule.name if rule else ORACLE)
    outcomes: list[Outcome | None] = []
    values = []
    for name, items, threshold, reason in zip(classes, scored, thresholds, reasons):
        why = items.reason or (reason if rule else "") or ("no threshold" if np.isnan(threshold) else "")
        outcome = None if why else items.at(threshold)
        outcomes.append(outcome)
        values.append(_values(outcome))
        yield (*head, name, "class", threshold, *values[-1], why or _gap(outcome))
    means = np.array(values, dtype=float).mean(axis=0)  # NaN where a class has none
    several = len(set(thresholds)) > 1
    shown = float("nan") if several else thresholds[0]
    yield (*head, "mean", "mean", shown, *means, "" if not np.isnan(means).any() else "not every class has a value")
    if scope == "one" and None not in outcomes:
        total = sum((outcome for outcome in outcomes if outcome), Outcome(0, 0, 0, 0))
        yield (*head, "all", "pooled", shown, *_values(total), _gap(total))


def _gap(outcome: Outcome | None) -> str:
    """Return the reason why some figures of an outcome are undefined."""
    if outcome is None:
        return ""
    gaps = {
        "no anomalous test item": not outcome.n_anomalous,
        "no normal test item": not outcome.n_normal,
        "no item is above the threshold, so there is no precision": not outcome.tp + outcome.fp,
    }
    return next((text for text, is_so in gaps.items() if is_so), "")


def _values(outcome: Outcome | None) -> list[float]:
    found = outcome.values() if outcome else {}
    return [found.get(name, float("nan")) for name in DECISION_VALUES]
