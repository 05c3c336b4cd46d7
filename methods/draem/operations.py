"""The authors' ten changes of a texture for whole batches, with separate random parameters for every image.

Their ranges are those of :data:`diadbench.methods.draem.textures.OPERATIONS`, in the same order.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

#: Number of the random values drawn for an image that an operation uses.
NUMBERS = 4


def augmented(textures: Tensor, chosen: NDArray[np.int64], drawn: NDArray[np.float32]) -> Tensor:
    """Change each texture by its operations, one after another.

    Args:
        textures: ``float32 (B,3,H,W)`` in [0,1].
        chosen: Positions in :data:`OPERATIONS`, ``(B, rounds)``, on the CPU, so that nothing waits for the GPU.
        drawn: Numbers in [0,1), ``(B, at least rounds * NUMBERS)``.
    """
    at = np.arange(len(textures))  # present order of the images, in which those with the same operation are adjacent
    for number in range(chosen.shape[1]):
        values = drawn[:, number * NUMBERS : (number + 1) * NUMBERS]
        groups = [np.flatnonzero(chosen[:, number] == place) for place in range(len(OPERATIONS))]
        order = np.concatenate(groups)
        textures = textures.index_select(0, sent(at[order], textures.device))
        parts = torch.split(textures, [len(rows) for rows in groups])
        changed = [
            OPERATIONS[place](part, values[rows]) for place, (part, rows) in enumerate(zip(parts, groups)) if len(rows)
        ]
        textures, at = torch.cat(changed).clamp(0, 1), np.argsort(order)
    return textures.index_select(0, sent(at, textures.device))


def turning(angles: NDArray[np.floating[Any]], size: tuple[int, int]) -> NDArray[np.float32]:
    """Return the matrices ``(B,6)`` for :func:`resampled` that rotate images of a size about their centre (radians)."""
    height, width = size
    cos, sin, none = np.cos(angles), np.sin(angles), np.zeros_like(angles)
    return np.stack([cos, sin * (-height / width), none, sin * (width / height), cos, none], 1).astype(np.float32)


def cutting(
    top: NDArray[np.floating[Any]],
    left: NDArray[np.floating[Any]],
    height: NDArray[np.floating[Any]],
    width: NDArray[np.floating[Any]],
) -> NDArray[np.float32]:
    """Return the matrices ``(B,6)`` for :func:`resampled` that enlarge pieces, given as shares of the image's sides."""
    none = np.zeros_like(top)
    rows = [width, none, 2 * left + width - 1, none, height, 2 * top + height - 1]
    return np.stack(rows, 1).astype(np.float32)


def resampled(images: Tensor, matrix: Tensor, *, padding: str = "zeros") -> Tensor:
    """Sample each of ``(B,C,H,W)`` bilinearly at the positions of its matrix ``(B,2,3)``, from -1 to 1 along a side.

    With zeros as padding, what lies outside becomes zero.
    """
    height, width = images.shape[2:]
    grid = (_places((height, width), images.device) @ matrix.transpose(1, 2)).view(-1, height, width, 2)
    return functional.grid_sample(images, grid, mode="bilinear", padding_mode=padding, align_corners=False)


@functools.lru_cache(maxsize=8)
def _places(size: tuple[int, int], device: torch.device) -> Tensor:
    """Return the centres of all pixels, ``(H*W,3)``: column and row from -1 to 1, and a one."""
    with torch.inference_mode(False):
        y, x = ((2 * torch.arange(side) + 1) / side - 1 for side in size)
        rows, columns = torch.meshgrid(y, x, indexing="ij")
        return torch.stack([columns, rows, torch.ones(size)], 2).flatten(0, 1).to(device)


def sent(values: NDArray[np.int64] | NDArray[np.float32], device: torch.device) -> Tensor:
    """Copy numbers to a device asynchronously."""
    tensor = torch.from_numpy(np.ascontiguousarray(values))
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor


def _column(values: NDArray[np.floating[Any]], low: float, high: float, like: Tensor) -> Tensor:
    """Return numbers in a range, one per image, ``(B,1,1,1)``; of several columns ``(B,k,1,1)``."""
    wide = values.reshape(len(values), -1)
    return sent((low + (high - low) * wide).astype(np.float32), like.device)[:, :, None, None]


def _gamma(x: Tensor, v: NDArray[np.float32]) -> Tensor:
    return x ** _column(v[:, :3], 0.5, 2.0, x)


def _brightness(x: Tensor, v: NDArray[np.float32]) -> Tensor:
    return torch.addcmul(_column(v[:, 1], -30 / 255, 30 / 255, x), x, _column(v[:, 0], 0.8, 1.2, x))


def _sharpness(x: Tensor, v: NDArray[np.float32]) -> Tensor:
    kernel = torch.full((3, 1, 3, 3), 1 / 13, device=x.device)
    kernel[:, :, 1, 1] = 5 / 13
    inner = functional.conv2d(x, kernel, groups=3)
    soft = x.clone()
    soft[:, :, 1:-1, 1:-1] = inner
    return torch.lerp(soft, x, _column(v[:, 0], 0.1, 1.9, x)).clamp(0, 1)


def _hue_and_saturation(x: Tensor, v: NDArray[np.float32]) -> Tensor:
    """Rotate the colours about the grey axis by the hue's angle, and scale their distance from grey."""
    turn = 2 * math.pi * (-50 + 100 * v[:, 0]) / 255
    strength = 1 + (-50 + 100 * v[:, 1]) / 255
    cos, sin = np.cos(turn), np.sin(turn) / math.sqrt(3)
    grey = np.full((len(v), 3, 3), 1 / 3)
    cross = np.array([[0, -1, 1], [1, 0, -1], [-1, 1, 0]], dtype=np.float64)
    rotation = cos[:, None, None] * np.eye(3) + (1 - cos)[:, None, None] * grey + sin[:, None, None] * cross
    luma = np.broadcast_to(np.array([0.2989, 0.587, 0.114]), (3, 3))
    saturation = strength[:, None, None] * np.eye(3) + (1 - strength)[:, None, None] * luma
    matrix = sent((saturation @ rotation).astype(np.float32), x.device)
    return (matrix @ x.flatten(2)).view_as(x)


def _solarize(x: Tensor, v: NDArray[np.float32]) -> Tensor:
    threshold = np.where(v[:, 1] < 0.5, (32 + 96 * v[:, 0]) / 255, 2)
    return torch.where(x >= _column(threshold.astype(np.float32), 0, 1, x), 1 - x, x)


def _posterize(x: Tensor, v: NDArray[np.float32]) -> Tensor:
    steps: NDArray[np.float32] = (256 / 2.0 ** np.floor(1 + 8 * v[:, 0])).astype(np.float32)
    step = _column(steps, 0, 1, x)
    return ((x * 255).round() / step).floor() * step / 255


def _invert(x: Tensor, v: NDArray[np.float32]) -> Tensor:
    return 1 - x


def _autocontrast(x: Tensor, v: NDArray[np.float32]) -> Tensor:
    low, high = x.amin((2, 3), keepdim=True), x.amax((2, 3), keepdim=True)
    return torch.where(high > low, (x - low) / (high - low).clamp_min(1e-6), x)


def _equalize(x: Tensor, v: NDArray[np.float32]) -> Tensor:
    """Equalise each channel's histogram: a pixel becomes the share of its channel's pixels that are not above it."""
    bytes_ = (x * 255).round()
    flat = bytes_.flatten(2).sort(2).values
    below = torch.searchsorted(flat, bytes_.flatten(2).contiguous(), right=True).to(x.dtype)
    first = torch.searchsorted(flat, flat[:, :, :1].contiguous(), right=True).to(x.dtype)
    total = flat.shape[2]
    even = (below - first) / (total - first).clamp_min(1)
    return torch.where(first < total, even, x.flatten(2)).view_as(x)


def _rotate(x: Tensor, v: NDArray[np.float32]) -> Tensor:
    matrices = turning((-45 + 90 * v[:, 0]) * math.pi / 180, (x.shape[2], x.shape[3]))
    return resampled(x, sent(matrices, x.device).view(-1, 2, 3))


#: Each function maps textures ``(B,3,H,W)`` and numbers ``(B,4)`` in [0,1) to textures.
OPERATIONS: tuple[Callable[[Tensor, NDArray[np.float32]], Tensor], ...] = (
    _gamma,
    _brightness,
    _sharpness,
    _hue_and_saturation,
    _solarize,
    _posterize,
    _invert,
    _autocontrast,
    _equalize,
    _rotate,
)
