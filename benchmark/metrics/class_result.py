"""The metrics of one class as they are computed, and as plain arrays: a cell that is killed keeps them."""

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
    """What an evaluator knows of a class whose images have all come.

    Attributes:
        rows: ``(class, metric, value, reason, n_normal, n_anomalous)`` of each metric.
        scores: A row an image: ``class``, ``index``, ``score``, ``label``, ``sample_id``.
        curves: By kind, see :mod:`diadbench.benchmark.metrics.curves`.
        thresholds: ``(class, level, threshold)``.
        pixels: Its pixels as counts, from which thresholds are tried; ``None`` where there are none.
    """

    rows: list[tuple[str, str, float, str, int, int]]
    scores: pd.DataFrame
    curves: Curves
    thresholds: list[tuple[str, str, float]]
    pixels: Scored | None = None

    def to_arrays(self, name: str) -> dict[str, NDArray[Any]]:
        """Return plain arrays from which :meth:`from_arrays` makes the same result, to the last bit."""
        # JSON writes a number with all its digits, and NaN too
        texts = {"rows": self.rows, "thresholds": self.thresholds, "samples": self.scores["sample_id"].tolist()}
        arrays = {key: np.array(json.dumps([name, value])) for key, value in texts.items()}
        arrays |= {key: self.scores[key].to_numpy() for key in NUMBERS}
        for kind, (x, y) in self.curves.items():
            arrays |= {f"curve/{kind}/x": x, f"curve/{kind}/y": y}
        return arrays | (self.pixels.to_arrays("pixels/") if self.pixels else {})

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> ClassResult:
        """Read what :meth:`to_arrays` gave. Raises KeyError or ValueError where it is something else."""
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
