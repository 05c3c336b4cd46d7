"""The metrics of one class: computed values, and their form as plain arrays for a cell that is killed and resumed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from diadbench.benchmark.metrics.curves import Curves
from diadbench.benchmark.metrics.decisions.outcome import Scored

#: Columns of :attr:`ClassResult.scores` that are numbers.
NUMBERS = ("index", "score", "label")


@dataclass(frozen=True)
class ClassResult:
    """The results of a class whose images have all been seen.

    Attributes:
        rows: ``(class, metric, value, reason, n_normal, n_anomalous)`` of each metric.
        scores: One row per image: ``class``, ``index``, ``score``, ``label``, ``sample_id``.
        curves: By kind, see :mod:`diadbench.benchmark.metrics.curves`.
        thresholds: ``(class, level, threshold)``.
        pixels: Counts of the pixels, from which thresholds are evaluated; ``None`` if there are none.
    """

    rows: list[tuple[str, str, float, str, int, int]]
    scores: pd.DataFrame
    curves: Curves
    thresholds: list[tuple[str, str, float]]
    pixels: Scored | None = None

    def to_arrays(self, name: str) -> dict[str, NDArray[Any]]:
        """Return plain arrays from which :meth:`from_arrays` restores exactly the same result."""
        # JSON writes a number with all its digits, and NaN too
        texts = {"rows": self.rows, "thresholds": self.thresholds, "samples": self.scores["sample_id"].tolist()}
        arrays = {key: np.array(json.dumps([name, value])) for key, value in texts.items()}
        arrays |= {key: self.scores[key].to_numpy() for key in NUMBERS}
        for kind, (x, y) in self.curves.items():
            arrays |= {f"curve/{kind}/x": x, f"curve/{kind}/y": y}
        return arrays | (self.pixels.to_arrays("pixels/") if self.pixels else {})

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> ClassResult:
        """Restore a result from the arrays of :meth:`to_arrays`. Raises KeyError or ValueError for other arrays."""
        (name, rows), (_, thresholds), (_, samples) = (
            json.loads(str(arrays[key])) for key in ("rows", "thresholds", "samples")
        )
        columns = {"class": name, **{key: arrays[key] for key in NUMBERS}}
        kinds = [key.split("/")[1] for key in arrays if key.startswith("curve/") and key.endswith("/x")]
        return cls(
            rows=[tuple(row) for row in rows],
            scores=pd.DataFrame({**columns, "sample_id": pd.Series(samples, dtype=object)}),
            curves={kind: (arrays[f"curve/{kind}/x"], arrays[f"curve/{kind}/y"]) for kind in kinds},
            thresholds=[tuple(threshold) for threshold in thresholds],
            pixels=Scored.from_arrays(arrays, "pixels/") if "pixels/reason" in arrays else None,
        )
