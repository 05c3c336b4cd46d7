"""A method that a user might bring: a small denoising net, trained by gradient. It can be slow, and tells its steps."""

from __future__ import annotations

import os
import time
from typing import Any

import lightning.pytorch as pl
import torch
from torch import Tensor, nn

from diadbench.datasets.decoding.data import TrainData
from diadbench.methods.base import MethodInfo, Prediction, RunContext
from diadbench.methods.training.lightning import Budget, LightningMethod


class Net(pl.LightningModule):
    """Dropout, noise, momentum and a schedule: everything that a wrong resume would change."""

    def __init__(self, seconds: float, steps: int) -> None:
        super().__init__()
        self.net = nn.Sequential(
            nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Dropout(0.2), nn.Conv2d(8, 3, 3, padding=1)
        )
        self.seconds, self.steps = seconds, steps

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        """Return the loss; write down the step, the process's rank, and how many images it got."""
        if log := os.environ.get("DIADBENCH_TEST_LOG"):
            with open(log, "a") as file:
                file.write(f"{self.global_step} {self.global_rank} {len(batch['image'])}\n")
        time.sleep(self.seconds)
        noisy = batch["image"] + 0.1 * torch.randn_like(batch["image"])
        loss = (self.net(noisy) - batch["image"]).square().mean()
        self.log("loss", loss)
        return loss

    def configure_optimizers(self) -> Any:
        """Adam with a cosine."""
        optimizer = torch.optim.AdamW(self.parameters(), 1e-2)
        scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, self.steps)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}


class SmallNet(LightningMethod[Net]):
    """Error of a small denoising net."""

    info = MethodInfo("small-net", "", "Error of a small denoising net.")

    def __init__(
        self, steps: int = 20, batch_size: int = 4, seconds: float = 0.0, checkpoint_minutes: float = 5.0
    ) -> None:
        self.steps, self.seconds = steps, seconds
        self._budget = Budget(steps, batch_size, checkpoint_minutes=checkpoint_minutes)

    def build(self, run: RunContext, *, trained_before: bool = False) -> Net:
        """Make the net."""
        torch.manual_seed(run.seed)
        return Net(self.seconds, self.steps)

    def budget(self, train: TrainData) -> Budget:
        """As the options say."""
        return self._budget

    def predict(self, images: Tensor) -> Prediction:
        """Absolute error, summed over the channels."""
        with torch.inference_mode():
            maps = (self.fitted().net(images) - images).abs().sum(1)
        return Prediction(maps, maps.amax((1, 2)))
