"""My method, trained by gradient: one file. Try it: ``diadbench methods check my_method.py:MyMethod``."""

import lightning.pytorch as pl
import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, mse_loss

from diadbench.datasets.decoding.data import TrainData
from diadbench.methods.base import MethodInfo, Prediction, RunContext
from diadbench.methods.features.backbones import Backbone, backbone_of_run
from diadbench.methods.training.lightning import Budget, LightningMethod


class Net(pl.LightningModule):  # a frozen backbone, and a small network that learns to give its features back
    def __init__(self, backbone: Backbone, lr: float) -> None:
        super().__init__()
        self.backbone, self.lr = backbone, lr
        wide = backbone.channels[0]
        self.decoder = nn.Sequential(nn.Conv2d(wide, 32, 1), nn.ReLU(), nn.Conv2d(32, wide, 1))

    def error(self, images: Tensor) -> Tensor:  # (B,1,h,w) of images (B,3,H,W)
        features = self.backbone(images)[0]
        return mse_loss(self.decoder(features), features, reduction="none").mean(1, keepdim=True)

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        # image: float32 (B,3,H,W) in [0,1]; class_id: int64 (B,); index: int64 (B,), rows of the data
        loss = self.error(batch["image"]).mean()
        self.log("loss", loss)  # becomes a training curve
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.decoder.parameters(), self.lr)


class MyMethod(LightningMethod[Net]):
    info = MethodInfo("my-method", "My method", "Error of reconstructed features.", needs=("pretrained backbone",))

    # Types and defaults make these the options of a grid. Store them, do no work here.
    def __init__(self, backbone: str = "tf_efficientnet_lite0", weights: str = "package", steps: int = 1000) -> None:
        self.backbone, self.weights, self.steps = backbone, weights, steps

    # The untrained network follows from options and seed. The backbone's origin is kept, random weights become a note
    # of every table, and so does run.notes.append("...").
    def build(self, run: RunContext, *, trained_before: bool = False) -> Net:
        torch.manual_seed(run.seed)
        name, weights = self.backbone, self.weights
        frozen = backbone_of_run(run, name, weights=weights, out_indices=(2,), trained_before=trained_before)
        return Net(frozen, lr=1e-3)

    def budget(self, train: TrainData) -> Budget:  # the base resumes, clips, accumulates, writes checkpoints as it says
        return Budget(self.steps, batch_size=8)

    # A map (B,H,W) and a score (B,), larger is more anomalous; an image's result is its own alone.
    @torch.no_grad()
    def predict(self, images: Tensor) -> Prediction:
        error = self.fitted().error(images.to(self.fitted().device))
        maps = interpolate(error, images.shape[2:], mode="bilinear", align_corners=False)[:, 0]
        return Prediction(maps, maps.amax((1, 2)))
