"""Count a class once where a dataset stands under several names, as it was evaluated at several sizes."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import pandas as pd

from diadbench.reports.tables.rows.result_rows import tuples

Floats = npt.NDArray[np.float64]


def labels_of(results: pd.DataFrame) -> dict[str, str]:
    """Return the label of each dataset's name: one label has several names where sizes or options differ."""
    if "dataset_label" not in results:
        return {}
    return dict(tuples(results[["dataset", "dataset_label"]].drop_duplicates("dataset")))


def class_codes(values: pd.DataFrame, labels: Mapping[str, str]) -> npt.NDArray[np.int64]:
    """Return a number for each row of a table by (dataset, class), the same for one class of one label."""
    places: dict[tuple[str, str], int] = {}
    keys = [(labels.get(dataset, dataset), name) for dataset, name in values.index]
    return np.array([places.setdefault(key, len(places)) for key in keys], dtype=np.int64)


def each_once(figures: Floats, codes: npt.NDArray[np.int64]) -> Floats:
    """Return the mean of the figures ``(N,)`` of each code, in order of the codes that occur."""
    if len(np.unique(codes)) == len(codes):
        return figures
    counts = np.bincount(codes)
    means: Floats = np.bincount(codes, weights=figures)[counts > 0] / counts[counts > 0]
    return means
