"""Training images as they are stored, and their way to a device."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from diadbench.datasets.decoding.data import TrainData


def kept(train: TrainData, indices: Tensor) -> Tensor:
    """Return images as they are stored; training data of other classes may only have converted ones."""
    read: Callable[[Tensor], Tensor] = getattr(train, "kept", train.images)
    return read(indices)


def images_on(train: TrainData, chosen: list[int], device: torch.device) -> Tensor:
    """Return images ``float32 (n,3,H,W)`` in [0,1] on a device, for one pass over the training data.

    To a GPU they go as they are stored, from pinned memory and without waiting, and are converted there.
    """
    if device.type != "cuda":
        return train.images(chosen).to(device)
    return as_float(kept(train, torch.tensor(chosen)).pin_memory().to(device, non_blocking=True))


def as_float(images: Tensor) -> Tensor:
    """Return images as ``float32``: bytes are divided by 255, other types are already in their own units."""
    return images.to(torch.float32).div_(255) if images.dtype == torch.uint8 else images
