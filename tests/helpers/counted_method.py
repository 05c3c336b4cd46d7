"""A method that a user might bring. It counts fits, loads and predicted images in a file, and dies where it is told to.

It draws random numbers while it predicts and says things then: all that a resume could lose.
"""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import torch
from torch import Tensor

from diadbench.datasets.decoding.data import TrainData
from diadbench.methods.base import Method, MethodInfo, Prediction, RunContext


def count(word: str) -> int:
    """Append a line to the file that the test named; return how many there are that begin with the same word."""
    path = Path(os.environ["COUNTED_METHOD_LOG"])
    with open(path, "a", encoding="utf-8") as file:
        file.write(f"{word}\n")
    return sum(line.split()[0] == word.split()[0] for line in path.read_text(encoding="utf-8").splitlines())


class Counted(Method):
    """Absolute difference to the mean image, with noise."""

    info = MethodInfo("counted", "Counted", "Absolute difference to the mean image.", batch_invariant=True)

    def __init__(self, level: float = 1.0) -> None:
        self.level = level
        self.mean = torch.zeros(0)
        self.seen: set[float] = set()
        self.run: RunContext | None = None

    def fit(self, train: TrainData, run: RunContext) -> None:
        """Average all images."""
        count("fit")
        images = train.images(torch.arange(len(train)))
        self.mean, self.seen = images.mean(0), {image.sum().item() for image in images}
        run.notes.append("said in fit")
        run.extras["draw"] = float(torch.rand(()))
        self.run = run

    def predict(self, images: Tensor) -> Prediction:
        """Score; at the batches that ``COUNTED_METHOD_DIES`` names, counted over all processes, die instead.

        Training images, which cells score to set thresholds, are not counted.
        """
        if {image.sum().item() for image in images} <= self.seen:
            count(f"normal {len(images)}")
            maps = (images - self.mean).abs().mean(1) * self.level + 0.1 * torch.rand(images.shape[0], 1, 1)
            return Prediction(maps, maps.amax((1, 2)), images.flip(1))
        batch = count("batch")
        assert self.run is not None
        if batch == 2:
            self.run.notes.append("said in predict")
        if str(batch) in os.environ.get("COUNTED_METHOD_DIES", "").split(","):
            os.kill(os.getpid(), getattr(signal, os.environ.get("COUNTED_METHOD_SIGNAL", "SIGKILL")))
            time.sleep(60)
        count(f"images {len(images)}")
        maps = (images - self.mean).abs().mean(1) * self.level + 0.1 * torch.rand(images.shape[0], 1, 1)
        for image in images:
            count(f"image {image.sum().item():.9f}")
        return Prediction(maps, maps.amax((1, 2)), images.flip(1))

    def save(self, directory: Path) -> None:
        """Write the mean."""
        torch.save({"mean": self.mean, "seen": sorted(self.seen)}, directory / "mean.pt")

    def load(self, directory: Path, run: RunContext) -> None:
        """Read the mean."""
        count("load")
        torch.rand(3)  # a load that draws, as a new network's first weights do
        kept = torch.load(directory / "mean.pt", weights_only=True)
        self.mean, self.seen = kept["mean"], set(kept["seen"])
        self.run = run
