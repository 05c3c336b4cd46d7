"""Compute PaDiM's Gaussians batch by batch, without keeping embeddings."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

#: Value that anomalib's PaDiM adds to the diagonal of every covariance.
REGULARISER = 0.01 + 1e-5


class RunningGaussian:
    """Collect embeddings batch by batch, in place of the list to which anomalib's PaDiM appends them.

    Mean and sum of centred products are merged batch by batch (Chan, Golub & LeVeque, 1979), which avoids differences
    of large numbers. Memory is that of the covariances for any number of images.
    """

    def __init__(self) -> None:
        self._count = 0
        self._mean: Tensor | None = None
        self._products: Tensor | None = None

    def __len__(self) -> int:
        return self._count

    def append(self, embeddings: Tensor) -> None:
        """Add a batch ``(B,C,h,w)``."""
        rows = embeddings.flatten(2).permute(2, 0, 1)  # (positions, B, C)
        count = rows.shape[1]
        mean = rows.mean(1)
        centred = rows - mean[:, None]
        if self._mean is None or self._products is None:
            self._count, self._mean, self._products = count, mean, centred.transpose(1, 2) @ centred
            return
        self._products.baddbmm_(centred.transpose(1, 2), centred)
        total, step = self._count + count, mean - self._mean
        scaled = step * (self._count * count / total) ** 0.5
        self._products.baddbmm_(scaled[:, :, None], scaled[:, None])
        self._mean += step * (count / total)
        self._count = total

    def result(self) -> tuple[Tensor, Tensor]:
        """Return the means ``(C,positions)`` and inverse covariances ``(positions,C,C)``, in anomalib's format.

        Raises:
            ValueError: Fewer than two images.
        """
        if self._mean is None or self._products is None or self._count < 2:
            raise ValueError(f"PaDiM needs two training images or more, it got {self._count}")
        covariance = self._products.div_(self._count - 1)
        covariance.diagonal(dim1=1, dim2=2).add_(REGULARISER)
        inverse = torch.linalg.inv(covariance)
        self._products = None
        return self._mean.T.contiguous(), inverse


def keep_no_embeddings(model: Any) -> None:
    """Let an anomalib PaDiM (``PadimModel``) process its batches one by one."""
    running = RunningGaussian()

    def fit() -> None:
        model.gaussian.mean, model.gaussian.inv_covariance = running.result()
        model.memory_bank = []
        del model.fit  # restores the class's own attribute

    model.memory_bank, model.fit = running, fit
