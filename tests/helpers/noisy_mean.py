"""A method for tests of reports: distance to the mean image under noise. It can fail, skip, print and leave notes.

It has no title, so that tables print its label in the grid.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from diadbench.common.errors import Skip, UserError
from diadbench.datasets.decoding.data import TrainData
from diadbench.methods.base import Method, MethodInfo, Prediction, RunContext


class NoisyMean(Method):
    """Absolute difference to the mean image, with noise of the size of ``noise`` that the seed decides."""

    info = MethodInfo("noisy-mean", "", "Absolute difference to the mean image, with noise.")

    def __init__(
        self,
        noise: float = 0.1,
        rebuilds: bool = False,
        says: str = "",
        note: str = "",
        raises: str = "",
        exhausts: str = "",
        skips: str = "",
        only_seed: int = -1,
    ) -> None:
        self.noise, self.rebuilds, self.says, self.note = noise, rebuilds, says, note
        self.raises, self.exhausts, self.skips, self.only_seed = raises, exhausts, skips, only_seed
        self.mean, self.seed = torch.zeros(0), 0

    def fit(self, train: TrainData, run: RunContext) -> None:
        """Average all images; end as the options say, in the cells of ``only_seed`` alone where one is given."""
        if self.says:
            print(self.says)
        if self.only_seed in (-1, run.seed):
            self._end()
        if self.note:
            run.notes.append(self.note)
        images = [batch.image.double().sum(0) for batch in train.batches(16)]
        self.mean, self.seed = (torch.stack(images).sum(0) / len(train)).float(), run.seed

    def _end(self) -> None:
        if self.raises:
            raise UserError(self.raises)
        if self.exhausts:
            raise MemoryError(self.exhausts)
        if self.skips:
            raise Skip(self.skips)

    def predict(self, images: Tensor) -> Prediction:
        """Average the difference over the channels; the noise of an image follows from the seed and its pixels."""
        maps = (images - self.mean).abs().mean(1)
        for one, image in zip(maps, images):
            generator = torch.Generator().manual_seed(self.seed * 1_000_003 + int(image.sum().item() * 1000))
            one += self.noise * torch.rand(one.shape, generator=generator)
            one += self.noise * torch.rand((), generator=generator)
        return Prediction(maps, maps.amax((1, 2)), self.mean.expand_as(images) if self.rebuilds else None)

    def save(self, directory: Path) -> None:
        """Write the mean."""
        torch.save((self.mean, self.seed), directory / "mean.pt")

    def load(self, directory: Path, run: RunContext) -> None:
        """Read the mean."""
        self.mean, self.seed = torch.load(directory / "mean.pt", weights_only=True)

    def parameters_count(self) -> int:
        """Values of the mean image."""
        return self.mean.numel()


class First(NoisyMean):
    """Stands in for DiAD."""

    info = MethodInfo("first", "", "Noisy mean.", "A paper", "AAAI'24", "he2024diad")


class Second(NoisyMean):
    """Stands in for UniAD."""

    info = MethodInfo("second", "", "Noisy mean.", "A paper", "NeurIPS'22", "you2022uniad")


class Third(NoisyMean):
    """Stands in for PatchCore."""

    info = MethodInfo("third", "", "Noisy mean.", "A paper", "CVPR'22", "roth2022patchcore")


class Fourth(NoisyMean):
    """Stands in for DRAEM."""

    info = MethodInfo("fourth", "", "Noisy mean.", "A paper", "ICCV'21", "zavrtanik2021draem")
