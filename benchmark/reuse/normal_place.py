"""The scores of a cell's normal test images, with which the score of a new image is compared."""

from __future__ import annotations

import math
import urllib.parse
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from diadbench.benchmark.records.own_files import read_scores
from diadbench.benchmark.records.store import CellRecord
from diadbench.common.errors import UserError, unknown_name

Array = npt.NDArray[np.float64]
#: Default percentage of normal test images that a threshold lets pass.
USUAL_SHARE = "95%"


@dataclass(frozen=True)
class NormalScores:
    """Scores that the method itself gave to normal test images.

    Attributes:
        scores: ``float64 (N,)``, ascending.
        of: Description of the images: ``the 40 normal test images of toy``.
    """

    scores: Array
    of: str

    def percentiles(self, scores: Array) -> Array:
        """Return for each score the percentage of normal test images below it; a tie counts one half.

        NaN where there is no normal test image.
        """
        if not len(self.scores):
            return np.full(len(scores), np.nan)
        below = np.searchsorted(self.scores, scores, "left") + np.searchsorted(self.scores, scores, "right")
        return np.asarray(50.0 * below / len(self.scores))


@dataclass(frozen=True)
class Threshold:
    """Score above which an image is called anomalous (``value``; ``None``: unknown), and ``why`` it was chosen."""

    value: float | None
    why: str

    def decide(self, score: float) -> str:
        """Return ``anomalous``, ``normal``, or an empty text without a threshold."""
        return "" if self.value is None else "anomalous" if score > self.value else "normal"


def normal_scores(record: CellRecord, part: str, among: str = "") -> NormalScores:
    """Return the scores of a cell's normal test images.

    Args:
        record: The cell.
        part: Directory name of the model that predicts: a class, if each class has its own model.
        among: Keep only the images of this class.

    Raises:
        UserError: The cell has no class of this name.
    """
    path = record.directory / "scores.parquet"
    table = read_scores(record.directory) if path.is_file() else pd.DataFrame({"class": [], "label": [], "score": []})
    classes = sorted(set(table["class"].astype(str)))
    own = urllib.parse.unquote(part)
    if among and among not in classes:
        raise unknown_name("class", among, classes, where="--among")
    chosen = among or (own if own in classes else "")
    kept = table[(table["label"] == 0) & ((table["class"] == chosen) if chosen else True)]
    column = "method_score" if "method_score" in kept else "score"  # Cells of earlier versions have only one.
    scores = np.sort(kept[column].to_numpy(dtype=np.float64))
    dataset = record.config.get("dataset_label", record.dataset)  # also of a cell that was copied out of its run
    place = f"{dataset}, class {chosen}" if chosen else dataset
    return NormalScores(scores, f"the {len(scores)} normal test images of {place}")


def threshold_from(text: str, normal: NormalScores) -> Threshold:
    """Return the threshold of a text: a score, or ``95%``: that share of normal test images lies at or below it.

    Without normal test images, a share gives no threshold.

    Raises:
        UserError: Neither a number nor a share above 0 % and up to 100 %.
    """
    number = _number(text.removesuffix("%"))
    share = text.endswith("%")
    if number is None or (share and not 0 < number <= 100):
        raise UserError(f"--threshold: expected a score such as 0.5, or a share such as {USUAL_SHARE}, found {text!r}")
    if not share:
        return Threshold(number, "as given")
    if not len(normal.scores):
        return Threshold(None, "no normal test image's score is kept with the cell, so there is no threshold")
    value = float(np.quantile(normal.scores, number / 100, method="inverted_cdf"))
    return Threshold(value, f"{number:g} % of {normal.of} lie at or below it")


def _number(text: str) -> float | None:
    try:
        found = float(text)
    except ValueError:
        return None
    return found if math.isfinite(found) else None


def placed(table: pd.DataFrame, normal: NormalScores, threshold: Threshold) -> pd.DataFrame:
    """Return a table of scores with the columns ``percentile``, ``decision`` and ``threshold``, greatest first."""
    scores = table["score"].to_numpy(dtype=np.float64)
    columns: dict[str, Any] = {
        "percentile": normal.percentiles(scores).round(2),
        "decision": [threshold.decide(score) for score in scores],
        "threshold": threshold.value,
    }
    return table.assign(**columns).sort_values("score", ascending=False, kind="stable")
