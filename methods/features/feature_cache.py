"""Frozen features of the training images, computed once and read from a memory map by everyone after that.

The cache is half precision on disk, below the run's shared cache directory. One process fills it, under a lock that
dies with the process; others wait. A filler that was killed leaves a count behind, and the next one goes on from there.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
from filelock import FileLock
from torch import Tensor

from diadbench.common.errors import UserError
from diadbench.common.files import read_json, write_json

if TYPE_CHECKING:
    from diadbench.datasets.decoding.data import TrainData

#: Raise this when the layout on disk changes: old caches are then not found.
LAYOUT = 1

Progress = Callable[[int, int, str], None]


class FeatureCache:
    """Features ``float16 (N,C,h,w)`` of the ``N`` training images, in a memory map.

    Attributes:
        path: The file.
        shape: ``(N,C,h,w)``.
    """

    def __init__(self, path: Path, shape: tuple[int, ...]) -> None:
        self.path, self.shape = path, shape
        self._map: npt.NDArray[np.float16] = np.memmap(path, np.float16, "r", shape=shape)

    def __len__(self) -> int:
        return self.shape[0]

    def __reduce__(self) -> tuple[type[FeatureCache], tuple[Path, tuple[int, ...]]]:
        return FeatureCache, (self.path, self.shape)  # pickling a memory map would copy its content

    def read(self, indices: Tensor | list[int]) -> Tensor:
        """Return ``float32 (n,C,h,w)`` of the given positions, on the CPU."""
        return torch.from_numpy(self._map[np.asarray(indices)]).float()

    def error(self, exact: Tensor, indices: Tensor | list[int]) -> float:
        """Root mean square of what half precision cost, relative to that of the features themselves."""
        exact = exact.detach().cpu().float()
        return ((self.read(indices) - exact).square().mean() / exact.square().mean()).sqrt().item()


def cache_key(train: TrainData, **facts: Any) -> str:
    """Digest of all that decides the features: the images (with size and filter) and ``facts`` of the network."""
    content = {"layout": LAYOUT, "images": train.fingerprint, "size": list(train.image_size), **facts}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:32]


def build_cache(
    extract: Callable[[Tensor], Tensor],
    train: TrainData,
    directory: Path,
    *,
    batch_size: int = 16,
    save_every: int = 256,
    progress: Progress = lambda done, total, what: None,
    **facts: Any,
) -> FeatureCache:
    """Open the cache of these images and this network; fill it first where it is missing or half full.

    Args:
        extract: Maps images ``float32 (B,3,H,W)`` in [0,1] (CPU) to features ``(B,C,h,w)`` on any device.
        train: The images.
        directory: Where caches lie; several processes may share it.
        batch_size: Images at a time.
        save_every: Images after which the count is written: a killed filler loses at most these.
        progress: Called with the images done.
        facts: What decides the features besides the images (digest of weights, padding, ...), as JSON values.

    Raises:
        UserError: A feature is too large for half precision, or not finite.
    """
    directory.mkdir(parents=True, exist_ok=True)
    key = cache_key(train, **facts)
    path = directory / f"{key}.f16"
    state_path = directory / f"{key}.json"
    with FileLock(directory / f"{key}.lock"):
        state = _read_state(state_path, path, len(train))
        if state is None:
            shape = (len(train), *extract(train.images([0])).shape[1:])
            np.memmap(path, np.float16, "w+", shape=shape).flush()
            state = {"shape": list(shape), "done": 0, "facts": facts}
            write_json(state_path, state)
        if state["done"] < len(train):
            _fill(extract, train, path, state_path, state, batch_size, save_every, progress)
    return FeatureCache(path, tuple(state["shape"]))


def _read_state(state_path: Path, path: Path, count: int) -> dict[str, Any] | None:
    """What is on disk, or ``None`` when it is not there, cut short, or of another shape."""
    state = read_json(state_path)
    if not isinstance(state, dict) or not path.is_file():
        return None
    shape = state.get("shape")
    if not isinstance(shape, list) or shape[:1] != [count] or not isinstance(state.get("done"), int):
        return None
    return state if path.stat().st_size == 2 * int(np.prod(shape)) else None


def _fill(
    extract: Callable[[Tensor], Tensor],
    train: TrainData,
    path: Path,
    state_path: Path,
    state: dict[str, Any],
    batch_size: int,
    save_every: int,
    progress: Progress,
) -> None:
    total = len(train)
    features = np.memmap(path, np.float16, "r+", shape=tuple(state["shape"]))
    saved = done = state["done"]
    while done < total:
        chosen = list(range(done, min(done + batch_size, total)))
        half = extract(train.images(chosen)).half().cpu()
        if not torch.isfinite(half).all():
            raise UserError("feature cache: features don't fit half precision (above 65504 or not finite); turn it off")
        features[chosen] = half.numpy()
        done += len(chosen)
        progress(done, total, "features")
        if done - saved >= save_every or done == total:
            features.flush()  # the count must never run ahead of the data
            state["done"] = saved = done
            write_json(state_path, state)
