"""Check what comes with a batch of images: class ids, scores, labels, names of samples."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diadbench.benchmark.metrics.exact.inputs import as_array, as_binary, as_column, as_floats
from diadbench.benchmark.metrics.exact.pooling import map_scores
from diadbench.benchmark.metrics.exact.spill import blocks
from diadbench.benchmark.metrics.protocols import Protocol
from diadbench.common.errors import UserError


def checked_ids(class_id: Any, classes: int) -> NDArray[np.int64]:
    """Return ``(B,)`` class ids. Raises UserError unless they are integers from 0 to ``classes - 1``."""
    ids = np.atleast_1d(as_array(class_id))
    if ids.ndim != 1 or (ids.size and ids.dtype.kind not in "iu"):
        raise UserError(f"class ids: expected integers of the shape (B,), found {ids.dtype} {ids.shape}")
    wrong = ids[(ids < 0) | (ids >= classes)]
    if wrong.size:
        raise UserError(f"class ids: expected 0 to {classes - 1}, found {wrong[0]}")
    return ids.astype(np.int64)


def checked_scores(
    score: Any, maps: NDArray[Any] | None, size: int, protocol: Protocol, pooled: Any = None
) -> NDArray[np.float64]:
    """Return ``(size,)`` image scores: the method's own where the protocol takes them, else from the maps, else NaN.

    ``pooled`` holds those from the maps where they are known. Raises UserError if the protocol doesn't pool maps.
    """
    if pooled is not None and protocol.score != "pooled":
        raise UserError(f"pooled scores: protocol {protocol.name} has the rule {protocol.score}; pass none")
    if protocol.score == "method" and score is not None:
        return as_column(score, size, "scores").astype(np.float64)
    if pooled is not None:
        return as_column(pooled, size, "pooled scores").astype(np.float64)
    if maps is None or not maps.size:
        return np.full(size, np.nan)
    found = [map_scores(as_floats(block), protocol) for block in blocks(maps)]
    return np.concatenate(found).astype(np.float64)


def checked_labels(label: Any, masks: NDArray[np.bool_] | None, size: int, protocol: Protocol) -> NDArray[np.bool_]:
    """Return ``(size,)`` labels, from the masks where the protocol says so or none are given. Raises UserError."""
    given = None
    if label is not None:
        given = as_binary(as_column(label, size, "labels"), "labels", "1 is anomalous, 0 is normal")
    if masks is not None and (given is None or protocol.label_rule == "mask"):
        return np.asarray(masks.any(axis=(1, 2)))
    if given is None:
        raise UserError("labels: none given, and no masks to take them from")
    return given


def checked_names(sample_id: Sequence[str] | None, size: int, *, needed: bool) -> NDArray[Any]:
    """Return ``(size,)`` names of samples, empty ones if none are given. Raises UserError if they are ``needed``."""
    if sample_id is None:
        if needed:
            raise UserError("sample ids: none given; sample-level metrics need one for each image")
        return np.full(size, "", dtype=object)
    if len(sample_id) != size:
        raise UserError(f"sample ids: expected {size}, one for each image, found {len(sample_id)}")
    return np.array([str(name) for name in sample_id], dtype=object)
