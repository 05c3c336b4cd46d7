"""Posterior means and log-variances of all training images, encoded once and kept in the shared cache.

The posterior is sampled anew at every step, as the authors do: a cached sample would be another objective.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from filelock import FileLock
from safetensors.torch import load_file, save_file
from torch import Tensor

from diadbench.common.files import write_with
from diadbench.methods.base import RunSettings
from diadbench.methods.diad.model import DiADModel
from diadbench.methods.diad.normalise import normalise

if TYPE_CHECKING:
    from diadbench.datasets.decoding.data import TrainData


def posteriors(model: DiADModel, train: TrainData, run: RunSettings, batch_size: int = 8) -> tuple[Tensor, Tensor]:
    """Return mean and log-variance ``float32 (N,4,h,w)`` of all training images, on the CPU."""
    path = run.cache_dir / "latents" / f"{_key(model, train)}.safetensors"
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{path}.lock"):
        if not path.is_file():
            _encode(model, train, run, batch_size, path)
    found = load_file(path)
    return found["mean"], found["logvar"]


class CachedLatents:
    """Batches of stage 2: images with their posteriors. A class, so that several processes can be sent it.

    Args:
        train: The images.
        mean: ``float32 (N,4,h,w)``.
        logvar: ``float32 (N,4,h,w)``.
    """

    def __init__(self, train: TrainData, mean: Tensor, logvar: Tensor) -> None:
        self._train, self._mean, self._logvar = train, mean, logvar

    def __call__(self, indices: Tensor) -> dict[str, Tensor]:
        """Return the batch of positions ``int64 (B,)``."""
        return {"image": self._train.images(indices), "mean": self._mean[indices], "logvar": self._logvar[indices]}


@torch.no_grad()
def _encode(model: DiADModel, train: TrainData, run: RunSettings, batch_size: int, path: Path) -> None:
    means, logvars = [], []
    for batch in train.batches(batch_size):
        mean, logvar = model.encode(normalise(batch.image.to(run.device)))
        means.append(mean.float().cpu())
        logvars.append(logvar.float().cpu())
        run.progress(sum(map(len, means)), len(train), "latents")
    tensors = {"mean": torch.cat(means).contiguous(), "logvar": torch.cat(logvars).contiguous()}
    write_with(path, lambda name: save_file(tensors, name))


def _key(model: DiADModel, train: TrainData) -> str:
    digest = hashlib.sha256(train.fingerprint.encode())
    for name, value in sorted(model.vae.state_dict().items()):
        digest.update(f"{name} {tuple(value.shape)}".encode())
        digest.update(value.detach().float().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:32]
