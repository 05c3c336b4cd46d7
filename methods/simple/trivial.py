"""Three trivial methods, as a reference for the scores of all others."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional

from diadbench.common.errors import UserError
from diadbench.methods.base import Method, Prediction, RunContext
from diadbench.methods.catalog import CATALOG
from diadbench.methods.features.backbone_tags import check_backbone
from diadbench.methods.features.backbones import Backbone, backbone_of_run
from diadbench.methods.features.kept_backbone import keep_backbone, refuse_other_backbone
from diadbench.methods.features.neighbours import Bank
from diadbench.methods.features.weights import read_tensor, write_tensors

if TYPE_CHECKING:
    from diadbench.datasets.decoding.data import TrainData

_BATCH = 8


class MeanImage(Method):
    """Squared difference to the mean of all training images, of whatever class.

    The map is the mean over the three colours; the score is the mean of the map.
    """

    info = CATALOG["mean-image"].info

    def __init__(self) -> None:
        self._mean: Tensor | None = None

    def fit(self, train: TrainData, run: RunContext) -> None:
        """Average the images."""
        total = torch.zeros((3, *train.image_size), dtype=torch.float64)
        done = 0
        for batch in train.batches(_BATCH):
            total += batch.image[:, :3].double().sum(0)
            done += len(batch.image)
            run.progress(done, len(train), "images")
        self._mean = (total / done).float().to(run.device)

    def predict(self, images: Tensor) -> Prediction:
        """Compare with the mean."""
        assert self._mean is not None, "fit or load first"
        error = (images.to(self._mean.device) - self._mean).square().mean(1)
        return Prediction(error, error.mean((1, 2)), self._mean.expand_as(images))

    def save(self, directory: Path) -> None:
        """Write the mean image."""
        assert self._mean is not None, "fit or load first"
        write_tensors(directory / "mean.safetensors", {"mean": self._mean})

    def load(self, directory: Path, run: RunContext) -> None:
        """Read the mean image."""
        self._mean = read_tensor(directory / "mean.safetensors", "mean", str(run.device))


class PixelKnn(Method):
    """Distance to the nearest training image, both shrunk to ``size`` x ``size`` pixels.

    The map is the squared difference to that image, enlarged; the score is the distance (root of the sum of squares).

    Args:
        size: Side of the small images, in pixels.
    """

    info = CATALOG["pixel-knn"].info

    def __init__(self, size: int = 64) -> None:
        if size < 1:
            raise UserError(f"pixel-knn: size must be at least 1, got {size}")
        self.size = size
        self._bank: Bank | None = None

    def _small(self, images: Tensor) -> Tensor:
        small = functional.interpolate(images, (self.size, self.size), mode="bilinear", antialias=True)
        return small.flatten(1)

    def fit(self, train: TrainData, run: RunContext) -> None:
        """Keep all training images, small."""
        rows = torch.empty((len(train), 3 * self.size**2), device=run.device)
        done = 0
        for batch in train.batches(_BATCH):
            rows[done : done + len(batch.image)] = self._small(batch.image.to(run.device))
            done += len(batch.image)
            run.progress(done, len(train), "images")
        self._bank = Bank(rows)

    def predict(self, images: Tensor) -> Prediction:
        """Find the nearest training image and compare with it."""
        assert self._bank is not None, "fit or load first"
        small = self._small(images.to(self._bank.vectors.device))
        squared, positions = self._bank.nearest(small)
        error = (small - self._bank.vectors[positions[:, 0]]).square().view(-1, 3, self.size, self.size).mean(1)
        return Prediction(_enlarge(error, images), squared[:, 0].sqrt())

    def save(self, directory: Path) -> None:
        """Write the small images."""
        _save_bank(self._bank, directory)

    def load(self, directory: Path, run: RunContext) -> None:
        """Read the small images."""
        self._bank = _load_bank(directory, run)


class GlobalKnn(Method):
    """Distance of the image's pooled backbone feature to the nearest of a training image.

    The map is the same value everywhere: this method doesn't localise.

    Args:
        backbone: timm model, ``model.tag`` for weights from the hub.
        weights: ``hub``, a file or folder, ``package`` or ``random``.
        level: timm's feature level (4: the last one, stride 32, of most networks).
    """

    info = CATALOG["global-knn"].info

    def __init__(self, backbone: str = "wide_resnet50_2.tv_in1k", weights: str = "hub", level: int = 4) -> None:
        self.backbone = backbone
        self.weights = weights
        self.level = level
        self._network: Backbone | None = None
        self._bank: Bank | None = None

    @classmethod
    def check_options(cls, options: Mapping[str, Any]) -> None:
        """Refuse a backbone from the hub without a tag."""
        check_backbone(options["backbone"], options["weights"])

    def _start(self, run: RunContext, *, trained_before: bool = False) -> Backbone:
        self._network = backbone_of_run(
            run, self.backbone, weights=self.weights, out_indices=(self.level,), trained_before=trained_before
        )
        return self._network

    @torch.no_grad()
    def _features(self, images: Tensor) -> Tensor:
        assert self._network is not None, "fit or load first"
        maps: list[Tensor] = self._network(images)
        return maps[0].mean((2, 3))

    def fit(self, train: TrainData, run: RunContext) -> None:
        """Keep the pooled features of all training images."""
        self._start(run)
        rows: list[Tensor] = []
        for batch in train.batches(_BATCH):
            rows.append(self._features(batch.image.to(run.device)))
            run.progress(min(len(rows) * _BATCH, len(train)), len(train), "images")
        self._bank = Bank(torch.cat(rows))

    def predict(self, images: Tensor) -> Prediction:
        """Find the nearest training image by its feature."""
        assert self._bank is not None, "fit or load first"
        squared, _ = self._bank.nearest(self._features(images.to(self._bank.vectors.device)))
        score = squared[:, 0].sqrt()
        return Prediction(score[:, None, None].expand(-1, *images.shape[2:]).contiguous(), score)

    def save(self, directory: Path) -> None:
        """Write the features, and which backbone they are of."""
        assert self._network is not None, "fit or load first"
        keep_backbone(directory, self._network)
        _save_bank(self._bank, directory)

    def load(self, directory: Path, run: RunContext) -> None:
        """Read the features; the backbone comes from its own weights again and must be the same."""
        refuse_other_backbone(directory, self._start(run, trained_before=True), run)
        self._bank = _load_bank(directory, run)

    def parameters_count(self) -> int | None:
        """Parameters of the part of the backbone that is used."""
        return None if self._network is None else sum(p.numel() for p in self._network.parameters())


def _enlarge(maps: Tensor, images: Tensor) -> Tensor:
    """Resize ``(B,h,w)`` maps to the size of the images."""
    size = (images.shape[2], images.shape[3])
    return functional.interpolate(maps[:, None], size, mode="bilinear", align_corners=False)[:, 0]


def _save_bank(bank: Bank | None, directory: Path) -> None:
    assert bank is not None, "fit or load first"
    write_tensors(directory / "bank.safetensors", {"bank": bank.vectors})


def _load_bank(directory: Path, run: RunContext) -> Bank:
    return Bank(read_tensor(directory / "bank.safetensors", "bank", str(run.device)))
