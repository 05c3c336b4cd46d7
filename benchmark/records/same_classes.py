"""Decide whether means over classes can be read without the classes, which are most of the rows of a large run."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc


def means_suffice(table: pa.Table) -> bool:
    """Return whether all cells of each dataset have figures of the same classes, and each mean goes over all of them.

    The rows of classes are then not needed to interpret the means.

    Args:
        table: One row a cell, with the columns ``dataset``, ``class``, ``scope``, ``metric``, ``n_classes``.
    """
    offsets = np.asarray(_one(table["metric"]).offsets)
    codes = {name: _codes(table[name]) for name in ("class", "scope", "metric")}
    counts = _one(table["n_classes"]).values.fill_null(-1).to_numpy()
    datasets = _one(table["dataset"]).dictionary_encode()
    of_class = _place(table["scope"], "class")
    for dataset in range(len(datasets.dictionary)):
        cells = np.flatnonzero(np.asarray(datasets.indices) == dataset)
        cells = cells[np.diff(offsets)[cells] > 1]  # the others have no figures
        if len(cells) and not _alike(offsets, cells, codes, counts, of_class):
            return False
    return True


def _alike(
    offsets: np.ndarray[Any, Any],
    cells: np.ndarray[Any, Any],
    codes: dict[str, np.ndarray[Any, Any]],
    counts: np.ndarray[Any, Any],
    of_class: int,
) -> bool:
    lengths = offsets[cells + 1] - offsets[cells]
    if (lengths != lengths[0]).any():
        return False
    rows = offsets[cells][:, None] + np.arange(lengths[0])
    if any((values[rows] != values[rows[0]]).any() for values in codes.values()):
        return False
    scope, metric = codes["scope"][rows[0]], codes["metric"][rows[0]]
    classes = np.array([((scope == of_class) & (metric == each)).sum() for each in metric])
    return bool((counts[rows] == classes)[:, scope != of_class].all())


def _one(column: pa.ChunkedArray) -> pa.Array:
    found = column.unify_dictionaries().combine_chunks()
    return found if isinstance(found, pa.Array) else pa.concat_arrays(found.chunks)


def _codes(column: pa.ChunkedArray) -> np.ndarray[Any, Any]:
    return np.asarray(_one(column).values.indices)


def _place(column: pa.ChunkedArray, word: str) -> int:
    return int(pc.index(_one(column).values.dictionary, word).as_py())
