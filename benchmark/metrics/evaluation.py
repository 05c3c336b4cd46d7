"""What an evaluation gives: a table by class, its mean, image scores, curves and thresholds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from diadbench.benchmark.metrics.curves import Curves
from diadbench.benchmark.metrics.names import DECISION_COLUMNS, POOLED_COLUMNS, in_order
from diadbench.benchmark.metrics.protocols import Protocol


@dataclass(frozen=True)
class Evaluation:
    """Results of one test set under one protocol.

    Attributes:
        protocol: The conventions; its name belongs on every row.
        table: One row per class and metric: ``class, metric, value, reason, n_normal, n_anomalous``. ``value`` is in
            [0,1], NaN with a ``reason`` where undefined. Counts are of images, for sample-level metrics of samples.
        images: One row per image: ``class, index, score, label, sample_id``, with the score and label of the protocol's
            rules.
        curves: Class -> kind -> ``(x, y)``: ROC, PR and PRO curves for plots, thinned (kinds:
            :func:`diadbench.benchmark.metrics.curves.curves`).
        thresholds: ``class, level, threshold``: where F1 is largest, for ``image`` and ``pixel``; predicted anomalous
            is ``score >= threshold``. NaN where undefined.
        decisions: What thresholds do that a user could set; anomalous is ``score > threshold``. Columns
            :data:`~diadbench.benchmark.metrics.names.DECISION_COLUMNS`. Empty unless the evaluator was asked for it.
        pooled: AU-ROC and AP of all classes as one set: columns
            :data:`~diadbench.benchmark.metrics.names.POOLED_COLUMNS`. Empty likewise.
    """

    protocol: Protocol
    table: pd.DataFrame
    images: pd.DataFrame
    curves: Mapping[str, Curves]
    thresholds: pd.DataFrame
    decisions: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=list(DECISION_COLUMNS)))
    pooled: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=list(POOLED_COLUMNS)))

    @property
    def image_scores(self) -> dict[int, float]:
        """Return the score of each image by its index, according to the protocol's rule."""
        return dict(zip(self.images["index"].tolist(), self.images["score"].tolist()))

    def mean(self, classes: Sequence[str] | None = None) -> pd.DataFrame:
        """Return the mean over classes: ``metric, value, n_defined, n_classes, reason``.

        If a class has no value, neither has the mean, and the reason says ``13/15 classes``.

        Args:
            classes: Only these classes; ``None`` takes all.
        """
        table = self.table if classes is None else self.table[self.table["class"].isin(list(classes))]
        return mean_over_classes(table)


def mean_over_classes(table: pd.DataFrame) -> pd.DataFrame:
    """Average a table of ``class, metric, value, reason`` over classes; NaN if a class has no value."""
    rows = []
    for metric in in_order(table["metric"]):
        part = table[table["metric"] == metric]
        defined, total = int(part["value"].notna().sum()), len(part)
        value = float(part["value"].mean()) if defined == total else float("nan")
        rows.append((metric, value, defined, total, _mean_reason(part, defined, total)))
    return pd.DataFrame(rows, columns=["metric", "value", "n_defined", "n_classes", "reason"])


def _mean_reason(part: pd.DataFrame, defined: int, total: int) -> str:
    if defined == total:
        return ""
    reasons = part.loc[part["value"].isna(), "reason"].unique()
    if defined == 0 and len(reasons) == 1:
        return str(reasons[0])
    return f"{defined}/{total} classes"


def mean_of_seven(values: Mapping[str, tuple[float, str]], seven: Sequence[str]) -> tuple[float, str]:
    """Return mAD, the mean of the seven metrics of DiAD's table; NaN if any of them is undefined."""
    missing = [key for key in seven if np.isnan(values[key][0])]
    if missing:
        return float("nan"), f"{', '.join(missing)}: {values[missing[0]][1]}"
    return float(np.mean([values[key][0] for key in seven])), ""
