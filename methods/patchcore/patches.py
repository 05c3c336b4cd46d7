"""All training patches, projected to few dimensions, in one float16 memory map that survives a kill."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from diadbench.common.files import read_json, write_json, write_with

_FLUSH_SECONDS = 20.0


@dataclass(frozen=True)
class Patches:
    """Projected patches of all training images.

    Attributes:
        values: ``float16 (N * P, d)`` memory map; image ``i`` has rows ``i*P .. (i+1)*P - 1``.
        per_image: ``P``.
        scale: Distances in ``values`` times this are distances of features, up to the projection.
    """

    values: NDArray[np.float16]
    per_image: int
    scale: float


def digest(facts: dict[str, Any]) -> str:
    """Short digest of plain values: the name under which scratch files are found again."""
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
    """Project the patches of all images by a seeded Gaussian matrix; go on where a killed run stopped.

    Values are centred and scaled by the first batch's mean and standard deviation, so that float16 holds them well.

    Args:
        features: Gives ``float32 (n, P, D)`` patch features of the images at the given positions.
        images: Number of images.
        dimension: Dimensions after the projection.
        seed: Decides the matrix.
        batch_size: Images at a time.
        directory: Where the files are; named after all that decides them, so nothing stale is ever taken up.
        progress: Called with (images done, images).
    """
    directory.mkdir(parents=True, exist_ok=True)
    first = features(list(range(min(batch_size, images))))
    per_image, width = first.shape[1:]
    matrix = torch.randn(width, dimension, generator=torch.Generator().manual_seed(seed)) / dimension**0.5
    matrix = matrix.to(first.device)
    centre = (first.flatten(0, 1) @ matrix).mean(0)
    scale = float((first.flatten(0, 1) @ matrix - centre).std()) or 1.0

    path, marker = directory / "patches.f16", directory / "patches.json"
    shape = (images * per_image, dimension)
    state = read_json(marker)
    done = int(state["done"]) if isinstance(state, dict) and path.is_file() else 0
    values = np.memmap(path, dtype=np.float16, mode="r+" if done else "w+", shape=shape)
    flushed = time.monotonic()
    while done < images:
        chosen = list(range(done, min(done + batch_size, images)))
        block = first if done == 0 else features(chosen)
        projected = (block.flatten(0, 1) @ matrix - centre) / scale
        values[done * per_image : (done + len(chosen)) * per_image] = projected.half().cpu().numpy()
        done += len(chosen)
        if done == images or time.monotonic() - flushed > _FLUSH_SECONDS:
            values.flush()  # data first, then the mark that says how much of it is good
            write_json(marker, {"done": done})
            flushed = time.monotonic()
        progress(done, images)
    return Patches(values, per_image, scale)


def mean_distances(values: NDArray[np.float16], seed: int, count: int = 10) -> NDArray[np.float32]:
    """Mean distance of each row to ``count`` random rows: how PatchCore's authors start their greedy selection."""
    generator = np.random.default_rng(seed)
    chosen = np.sort(generator.choice(len(values), min(count, len(values)), replace=False))
    anchors = torch.from_numpy(np.array(values[chosen])).float()
    result = np.empty(len(values), dtype=np.float32)
    for begin in range(0, len(values), 65_536):
        rows = torch.from_numpy(np.array(values[begin : begin + 65_536])).float()
        result[begin : begin + len(rows)] = torch.cdist(rows, anchors).mean(1).numpy()
    return result


def load_or_make(path: Path, make: Callable[[], dict[str, NDArray[Any]]]) -> dict[str, NDArray[Any]]:
    """Return the arrays in ``path`` (``.npz``); make and write them first when there is no such file."""
    if not path.is_file():
        arrays = make()
        write_with(path, lambda name: np.savez(name, **arrays))  # type: ignore[arg-type]  # taken for allow_pickle
    with np.load(path) as saved:
        return {name: saved[name] for name in saved.files}
