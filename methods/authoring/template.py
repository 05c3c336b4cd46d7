"""My method: one file, which can lie anywhere. Try it: ``diadbench methods check my_method.py:MyMethod``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from diadbench.methods.base import Method, MethodInfo, Prediction, RunContext

if TYPE_CHECKING:
    from diadbench.datasets.decoding.data import TrainData


class MyMethod(Method):
    """How unusual each pixel's colour is at its place, in standard deviations."""

    # What tables print; `needs` says what must be there, `cite` is a BibTeX key.
    info = MethodInfo("my-method", "My method", "Standardised distance to the mean image.", batch_invariant=True)

    def __init__(self, smallest_std: float = 0.05) -> None:
        # Keyword arguments with types and defaults are the options of the grid. Store them, do no work here.
        self.smallest_std = smallest_std
        self.state: dict[str, Tensor] = {}

    def fit(self, train: TrainData, run: RunContext) -> None:
        """Learn from the normal images of all classes: one model for them all."""
        total, squares = torch.zeros(3, *train.image_size), torch.zeros(3, *train.image_size)
        for done, batch in enumerate(train.batches(8), 1):  # batch.image: float32 (B,3,H,W) in [0,1]
            total += batch.image.sum(0)
            squares += batch.image.square().sum(0)
            run.progress(done * 8, len(train), "images")
        mean = total / len(train)
        std = (squares / len(train) - mean**2).clamp_min(self.smallest_std**2).sqrt()
        self.state = {"mean": mean.to(run.device), "std": std.to(run.device)}

    @torch.no_grad()
    def predict(self, images: Tensor) -> Prediction:
        """Return a map (B,H,W) and a score (B,), larger is more anomalous; an image's result is its own alone."""
        images = images.to(self.state["mean"].device)
        anomaly_map = ((images - self.state["mean"]) / self.state["std"]).abs().mean(1)
        return Prediction(anomaly_map, anomaly_map.amax((1, 2)))

    def save(self, directory: Path) -> None:
        """Write all that predict needs."""
        save_file(self.state, directory / "state.safetensors")

    def load(self, directory: Path, run: RunContext) -> None:
        """Read what save wrote."""
        self.state = load_file(directory / "state.safetensors", device=str(run.device))
