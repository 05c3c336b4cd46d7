"""My method, trained by gradient: one file. Try it: ``diadbench methods check my_method.py:MyMethod``."""

from __future__ import annotations

from typing import Any

import lightning.pytorch as pl
import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from diadbench.datasets.decoding.data import TrainData
from diadbench.methods.base import MethodInfo, Prediction, RunContext
from diadbench.methods.features.backbones import Backbone, load_backbone
from diadbench.methods.training.lightning import Budget, LightningMethod


class Net(pl.LightningModule):
    """A frozen backbone, and a small network that learns to give its features back on normal images."""

    def __init__(self, backbone: Backbone, width: int, lr: float) -> None:
        super().__init__()
        self.backbone, self.lr = backbone, lr
        channels = backbone.channels[0]
        self.decoder = nn.Sequential(nn.Conv2d(channels, width, 1), nn.ReLU(), nn.Conv2d(width, channels, 1))

    def error(self, images: Tensor) -> Tensor:
        """Error of the features at each place: ``(B,h,w)`` of images ``(B,3,H,W)``."""
        features: Tensor = self.backbone(images)[0]
        made: Tensor = self.decoder(features)
        return (made - features).square().mean(1)

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        """``image``: float32 (B,3,H,W) in [0,1]; ``class_id``: int64 (B,); ``index``: int64 (B,), rows of the data."""
        loss = self.error(batch["image"]).mean()
        self.log("loss", loss)  # becomes a training curve
        return loss

    def configure_optimizers(self) -> Any:
        """Return the optimiser, with a schedule if there is one."""
        return torch.optim.Adam(self.decoder.parameters(), self.lr)


class MyMethod(LightningMethod[Net]):
    """Error of reconstructed backbone features."""

    info = MethodInfo("my-method", "My method", "Error of reconstructed features.", needs=("pretrained backbone",))

    def __init__(
        self,
        backbone: str = "tf_efficientnet_lite0",
        weights: str = "package",
        level: int = 2,
        width: int = 32,
        steps: int = 1000,
        batch_size: int = 8,
        lr: float = 1e-3,
    ) -> None:
        # Types and defaults make these the options of a grid. Store them, do no work here.
        self.backbone, self.weights, self.level, self.width, self.lr = backbone, weights, level, width, lr
        self.steps, self.batch_size = steps, batch_size

    def build(self, run: RunContext, *, trained_before: bool = False) -> Net:
        """Return the untrained network, which follows from options and seed; the base trains, saves and loads it."""
        backbone = load_backbone(
            self.backbone, weights=self.weights, out_indices=(self.level,), trained_before=trained_before
        )
        backbone.tell(run)  # random weights become a note of every table, and so does run.notes.append("...")
        torch.manual_seed(run.seed)
        return Net(backbone, self.width, self.lr)

    def budget(self, train: TrainData) -> Budget:
        """Return how long to train; the base resumes, clips, accumulates and writes checkpoints as it says."""
        return Budget(self.steps, self.batch_size)

    @torch.no_grad()
    def predict(self, images: Tensor) -> Prediction:
        """Return a map (B,H,W) and a score (B,), larger is more anomalous; an image's result is its own alone."""
        error = self.fitted().error(images.to(self.fitted().device))
        maps = interpolate(error[:, None], images.shape[2:], mode="bilinear", align_corners=False)[:, 0]
        return Prediction(maps, maps.amax((1, 2)))
