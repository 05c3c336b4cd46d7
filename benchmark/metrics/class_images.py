"""The images of one class: their scores and labels as they come in batches, and the metrics of whole samples."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from diadbench.benchmark.metrics.exact.pixels import Values
from diadbench.benchmark.metrics.exact.scores import score_metrics
from diadbench.benchmark.metrics.protocols import Protocol


@dataclass
class ClassImages:
    """Image-level state of one class: lists with one entry per batch."""

    index: list[NDArray[np.int64]] = field(default_factory=list)
    score: list[NDArray[np.float64]] = field(default_factory=list)
    label: list[NDArray[np.bool_]] = field(default_factory=list)
    sample: list[str] = field(default_factory=list)

    def frame(self, name: str) -> pd.DataFrame:
        """Return one row an image: ``class``, ``index``, ``score``, ``label`` (0 or 1), ``sample_id``."""
        return pd.DataFrame(
            {
                "class": name,
                "index": np.concatenate([np.empty(0, np.int64), *self.index]),
                "score": np.concatenate([np.empty(0), *self.score]),
                "label": np.concatenate([np.empty(0, bool), *self.label]).astype(np.int8),
                "sample_id": pd.Series(self.sample, dtype=object),
            }
        )


def sample_values(images: pd.DataFrame, protocol: Protocol) -> tuple[Values, tuple[int, int]]:
    """Return the sample-level metrics of a class, and the numbers of its normal and anomalous samples.

    Args:
        images: One row an image, as :meth:`ClassImages.frame` returns them.
        protocol: The metric conventions.
    """
    grouped = images.groupby("sample_id", sort=False)[["score", "label"]].agg({"score": _largest, "label": "max"})
    labels = grouped["label"].to_numpy().astype(bool)
    found, _, _ = score_metrics(grouped["score"].to_numpy(), labels, protocol, "s", "sample")
    return found, (int((~labels).sum()), int(labels.sum()))


def _largest(scores: pd.Series[float]) -> float:
    return float(scores.max(skipna=False))  # A NaN makes the whole sample NaN.
