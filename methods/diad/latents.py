"""Posterior means and log-variances of all training images, encoded once and kept in a cached array.

The posterior is sampled again at every step, as in the authors' code; a cached sample would change the objective.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from diadbench.common.cache.arrays import ArrayPlan, CachedArray, batches, build, known_row_shape
from diadbench.methods.base import RunContext
from diadbench.methods.diad.networks.model import DiADModel
from diadbench.methods.diad.reconstruct import normalise
from diadbench.methods.features.feature_cache import SHARD_IMAGES, arithmetic, described
from diadbench.methods.features.stored_images import as_float, images_on, kept

if TYPE_CHECKING:
    from diadbench.datasets.decoding.data import TrainData

#: Part of the key. Raise it when the layout of a row changes.
LAYOUT = 2


def posteriors(
    model: DiADModel, train: TrainData, run: RunContext, *, own: bool = False, batch_size: int = 8
) -> CachedArray:
    """Return mean and log-variance ``float32 (N,2,4,h,w)`` of all training images.

    Args:
        model: The model whose autoencoder encodes.
        train: The images.
        run: The run's settings.
        own: Whether this cell alone has trained the autoencoder; its latents then lie in the cell's own directory and
            are removed with it. Otherwise they lie in the shared cache.
        batch_size: Images at a time.

    Raises:
        UserError: The disk is full.
    """
    place = (run.directory if own else run.cache_dir) / "latents" / _key(model, train, run.device)

    def encode(chosen: list[int]) -> npt.NDArray[np.float32]:
        return _encode(model, images_on(train, chosen, run.device))

    plan = ArrayPlan(
        place,
        len(train),
        known_row_shape(place) or encode([0]).shape[1:],
        "float32",
        batches(encode, batch_size),
        what="latents",
        about=f"latents of {described(train)}",
        shard_rows=SHARD_IMAGES,
        batch=batch_size,
        shared=not own,
    )
    array = build(plan, lambda done, total, what: run.progress(done, total, what or "latents"))
    assert array is not None, "a batch fills all its rows or raises"
    return array


def forget_own(run: RunContext) -> None:
    """Remove the latents of a cell's own autoencoder, which are not read after its training."""
    shutil.rmtree(run.directory / "latents", ignore_errors=True)


def deviation(latents: CachedArray) -> float:
    """Return the standard deviation of all posterior means."""
    return float(torch.from_numpy(latents.gather(np.arange(len(latents)))[:, 0].copy()).std())


class CachedLatents:
    """Batches of stage 2: images with their posteriors. It is a class so that it can be sent to other processes.

    Args:
        train: The images.
        latents: ``float32 (N,2,4,h,w)``: mean and log-variance.
    """

    def __init__(self, train: TrainData, latents: CachedArray) -> None:
        self._train, self._latents = train, latents

    def read(self, indices: Tensor) -> dict[str, Tensor]:
        """Return images as they are stored and their posteriors ``float32 (B,2,4,h,w)``, on the CPU."""
        return {
            "image": kept(self._train, indices),
            "posterior": torch.from_numpy(self._latents.gather(indices.numpy())),
        }

    def finish(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Convert the images, and separate mean and log-variance."""
        both = batch["posterior"]
        mean, logvar = both[:, 0].contiguous(), both[:, 1].contiguous()
        return {"image": as_float(batch["image"]), "mean": mean, "logvar": logvar}

    def __call__(self, indices: Tensor) -> dict[str, Tensor]:
        """Return the batch of positions ``int64 (B,)``."""
        return self.finish(self.read(indices))


@torch.no_grad()
def _encode(model: DiADModel, images: Tensor) -> npt.NDArray[np.float32]:
    mean, logvar = model.encode(normalise(images))
    both: npt.NDArray[np.float32] = torch.stack([mean, logvar], dim=1).float().cpu().numpy()
    return both


def _key(model: DiADModel, train: TrainData, device: torch.device) -> str:
    facts: list[Any] = [LAYOUT, train.fingerprint, arithmetic(device)]
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode())
    for name, value in sorted(model.vae.state_dict().items()):
        digest.update(f"{name} {tuple(value.shape)} {value.dtype}".encode())
        digest.update(value.detach().float().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:32]
