"""A method that a user might bring: distance to the mean image. It logs every fit and every end, for the tests."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from diadbench.datasets.decoding.data import TrainData
from diadbench.methods.base import Method, MethodInfo, Prediction, RunContext


def log(word: str) -> None:
    """Append a line to the file that the test named."""
    path = os.environ.get("DIADBENCH_TEST_LOG")
    if path:
        with open(path, "a") as file:
            file.write(word + "\n")


class PixelMean(Method):
    """Absolute difference to the mean image. ``trouble`` makes it misbehave."""

    info = MethodInfo("pixel-mean", "Pixel mean", "Absolute difference to the mean image.", batch_invariant=True)

    def __init__(self, trouble: str = "", seconds: float = 0.0, scale: float = 1.0) -> None:
        self.trouble = trouble
        self.seconds = seconds
        self.scale = scale
        self.mean = torch.zeros(0)

    def fit(self, train: TrainData, run: RunContext) -> None:
        """Average all images."""
        log(f"fit {run.directory}")
        self._misbehave()
        total = torch.zeros(3, *train.image_size, dtype=torch.float64)
        for done, batch in enumerate(train.batches(16)):
            total += batch.image.double().sum(0)
            time.sleep(self.seconds / 10)
            run.progress(done * 16, len(train), "fit")
        self.mean = (total / len(train)).float()
        run.extras["trained_on"] = len(train)

    def _misbehave(self) -> None:
        if self.trouble == "raise":
            raise ValueError("this method always raises")
        if self.trouble == "hang":
            time.sleep(3600)
        if self.trouble == "die":
            os.kill(os.getpid(), 9)
        if self.trouble == "eat":
            eaten = []
            while True:
                eaten.append(bytearray(os.urandom(1) * 50_000_000))
                time.sleep(0.05)

    def predict(self, images: Tensor) -> Prediction:
        """Average the difference over the channels; the score is the map's maximum."""
        if self.trouble == "hungry":
            eaten = np.ones(len(images) * 12_500_000)  # 100 MB an image
            time.sleep(float(eaten[-1]) / 4)
        maps = (images - self.mean.to(images.device)).abs().mean(1) * self.scale
        return Prediction(maps, maps.amax((1, 2)))

    def save(self, directory: Path) -> None:
        """Write the mean."""
        torch.save(self.mean, directory / "mean.pt")
        (directory / "meta.json").write_text(json.dumps({"shape": list(self.mean.shape)}))

    def load(self, directory: Path, run: RunContext) -> None:
        """Read the mean."""
        self.mean = torch.load(directory / "mean.pt", weights_only=True)
