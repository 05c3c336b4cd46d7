"""ImageNet's mean and standard deviation, with which all of DiAD's images are normalised (not [-1, 1])."""

from __future__ import annotations

import functools

import torch
from torch import Tensor

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def normalise(images: Tensor) -> Tensor:
    """Normalise ``(B,3,H,W)`` images in [0,1] for the networks."""
    return (images - _column(MEAN, images)) / _column(STD, images)


def denormalise(images: Tensor) -> Tensor:
    """Invert :func:`normalise`. Nothing is clamped."""
    return images * _column(STD, images) + _column(MEAN, images)


def _column(values: tuple[float, ...], like: Tensor) -> Tensor:
    return _constant(values, like.dtype, like.device)


@functools.cache
def _constant(values: tuple[float, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
    """Return a constant on a device; it is cached, because each new one would be a copy that the device waits for."""
    with torch.inference_mode(False):  # also used in training
        return torch.tensor(values, dtype=dtype, device=device).view(1, 3, 1, 1)
