"""All training patches, projected to few dimensions, in a cached float16 array that can be resumed after a kill."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from diadbench.common.cache.arrays import ArrayPlan, CachedArray, batches, build
from diadbench.common.files import write_with
from diadbench.methods.features.feature_cache import SHARD_IMAGES


@dataclass(frozen=True)
class PatchRows:
    """The patches of all images as one array ``float16 (N * P, d)``, read from disk by slices and by positions.

    Attributes:
        images: ``float16 (N, P, d)``.
    """

    images: CachedArray

    def __len__(self) -> int:
        return self.shape[0]

    @property
    def shape(self) -> tuple[int, int]:
        """``(N * P, d)``."""
        count, per_image, dimension = self.images.shape
        return count * per_image, dimension

    def __getitem__(self, rows: slice | NDArray[np.int64]) -> NDArray[np.float16]:
        """Return a copy ``(n, d)`` of the given rows; a slice has no step."""
        if isinstance(rows, slice):
            start, stop, _ = rows.indices(len(self))
            return self._between(start, stop)
        part_of, places = np.divmod(rows, self.images.parts[0].shape[0] * self.images.shape[1])
        out = np.empty((len(rows), self.shape[1]), dtype=np.float16)
        for part in np.unique(part_of):
            chosen = part_of == part
            out[chosen] = self.images.parts[part].rows.reshape(-1, self.shape[1])[places[chosen]]
        return out

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        """Return all rows, in memory."""
        return np.asarray(self[:], dtype=dtype)

    def _between(self, start: int, stop: int) -> NDArray[np.float16]:
        per_image = self.images.shape[1]
        first, last = start // per_image, -(-stop // per_image)
        whole = self.images.gather(np.arange(first, last)).reshape(-1, self.shape[1])
        return whole[start - first * per_image : stop - first * per_image]


@dataclass(frozen=True)
class Patches:
    """Projected patches of all training images.

    Attributes:
        values: ``float16 (N * P, d)`` on disk; image ``i`` has rows ``i*P .. (i+1)*P - 1``.
        per_image: ``P``.
        scale: Distances in ``values`` times this value are distances of features, up to the projection.
    """

    values: PatchRows
    per_image: int
    scale: float


def digest(facts: dict[str, Any]) -> str:
    """Return a short digest of plain values, by which scratch files are found again."""
    return hashlib.sha256(json.dumps(facts, sort_keys=True, default=str).encode()).hexdigest()[:16]


def project_patches(
    features: Callable[[list[int]], Tensor],
    images: int,
    *,
    dimension: int,
    seed: int,
    batch_size: int,
    directory: Path,
    progress: Callable[[int, int], None],
) -> Patches:
    """Project the patches of all images by a seeded Gaussian matrix; resume where a killed run stopped.

    Values are centred and scaled by the first batch's mean and standard deviation, to fit the range of float16.

    Args:
        features: Function that returns ``float32 (n, P, D)`` patch features of the images at the given positions.
        images: Number of images.
        dimension: Dimensions after the projection.
        seed: Seed of the matrix.
        batch_size: Images at a time.
        directory: Directory of the patches; its name contains all that decides them, so that stale ones are not used.
        progress: Called with (images done, images).

    Raises:
        UserError: The disk is full.
    """
    first = features(list(range(min(batch_size, images))))
    per_image, width = first.shape[1:]
    matrix = torch.randn(width, dimension, generator=torch.Generator().manual_seed(seed)) / dimension**0.5
    matrix = matrix.to(first.device)
    centre = (first.flatten(0, 1) @ matrix).mean(0)
    scale = float((first.flatten(0, 1) @ matrix - centre).std()) or 1.0

    def project(chosen: list[int]) -> NDArray[np.float16]:
        block = first if chosen[0] == 0 else features(chosen)
        values = (block.flatten(0, 1) @ matrix - centre) / scale
        rows: NDArray[np.float16] = values.half().cpu().view(len(chosen), per_image, dimension).numpy()
        return rows

    plan = ArrayPlan(
        directory / "patches",
        images,
        (per_image, dimension),
        "float16",
        batches(project, batch_size),
        what="patches",
        about=f"patches of {images} images",
        shard_rows=SHARD_IMAGES,
        batch=batch_size,
        shared=False,
    )
    array = build(plan, lambda done, total, what: progress(done, total))
    assert array is not None, "a batch fills all its rows or raises"
    return Patches(PatchRows(array), per_image, scale)


def mean_distances(values: PatchRows, seed: int, count: int = 10) -> NDArray[np.float32]:
    """Return the mean distance of each row to ``count`` random rows, the authors' start of the greedy selection."""
    generator = np.random.default_rng(seed)
    chosen = np.sort(generator.choice(len(values), min(count, len(values)), replace=False))
    anchors = torch.from_numpy(values[chosen]).float()
    result = np.empty(len(values), dtype=np.float32)
    for begin in range(0, len(values), 65_536):
        rows = torch.from_numpy(values[begin : begin + 65_536]).float()
        result[begin : begin + len(rows)] = torch.cdist(rows, anchors).mean(1).numpy()
    return result


def load_or_make(path: Path, make: Callable[[], dict[str, NDArray[Any]]]) -> dict[str, NDArray[Any]]:
    """Return the arrays in ``path`` (``.npz``), which are computed and written first if the file doesn't exist."""
    if not path.is_file():
        arrays = make()
        write_with(path, lambda name: np.savez(name, **arrays))  # type: ignore[arg-type]  # taken for allow_pickle
    with np.load(path) as saved:
        return {name: saved[name] for name in saved.files}
