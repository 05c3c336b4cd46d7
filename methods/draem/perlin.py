"""Perlin noise, and the masks and textures made from it. All randomness comes from the given generator."""

from __future__ import annotations

import math

import torch
from torch import Generator, Tensor
from torchvision.transforms import InterpolationMode
from torchvision.transforms import functional as images_functional

#: Smallest cell of a mask's noise, in pixels: the authors take 1 to 32 cells along the 256 pixels of their images.
CELL = 8
THRESHOLD = 0.5


def uniform(low: float, high: float, generator: Generator) -> float:
    """Return one number from ``[low, high)``."""
    return low + (high - low) * torch.rand((), generator=generator).item()


def integer(low: int, high: int, generator: Generator) -> int:
    """Return one of ``low .. high-1``."""
    return int(torch.randint(low, high, (), generator=generator))


def perlin(size: tuple[int, int], cells: tuple[int, int], generator: Generator) -> Tensor:
    """Return Perlin noise ``float32 (H,W)``, about in [-1,1], from random unit gradients on a grid of ``cells``."""
    angles = 2 * math.pi * torch.rand((cells[0] + 1, cells[1] + 1), generator=generator)
    gradients = torch.stack([angles.cos(), angles.sin()])
    return perlin_from(gradients, size)


def perlin_from(gradients: Tensor, size: tuple[int, int]) -> Tensor:
    """Return noise ``(H,W)`` of gradients ``(2, cells_h + 1, cells_w + 1)``, with components along rows and columns."""
    cells = (gradients.shape[1] - 1, gradients.shape[2] - 1)
    y, x = (torch.arange(n) * (c / n) for n, c in zip(size, cells, strict=True))
    row, column = y.long().clamp(max=cells[0] - 1), x.long().clamp(max=cells[1] - 1)
    y, x = (y - row)[:, None], (x - column)[None]

    def corner(down: int, right: int) -> Tensor:
        g = gradients[:, row + down][:, :, column + right]
        return g[0] * (y - down) + g[1] * (x - right)

    fade_y, fade_x = _fade(y), _fade(x)
    top = torch.lerp(corner(0, 0), corner(0, 1), fade_x.expand(size))
    bottom = torch.lerp(corner(1, 0), corner(1, 1), fade_x.expand(size))
    return math.sqrt(2) * torch.lerp(top, bottom, fade_y.expand(size))


def _fade(t: Tensor) -> Tensor:
    return t**3 * (t * (6 * t - 15) + 10)


def rotated(image: Tensor, limit: float, generator: Generator) -> Tensor:
    """Rotate ``(C,H,W)`` about its centre by up to ``limit`` degrees in either direction; corners become zero."""
    angle = uniform(-limit, limit, generator)
    turned: Tensor = images_functional.rotate(image, angle, InterpolationMode.BILINEAR)
    return turned


def octaves(side: int) -> int:
    """Return the number of scales (1, 2, 4, ... cells) of a side in pixels: 6 for 256, fewer for smaller images.

    The authors' 32 cells on a side of 64 pixels would be specks of one or two pixels, which no score can detect.
    """
    return max(1, min(6, (side // CELL).bit_length()))


def perlin_mask(size: tuple[int, int], generator: Generator) -> Tensor:
    """Return a random mask ``float32 (1,H,W)`` of 0 and 1; it may be empty."""
    rows, columns = (2 ** integer(0, octaves(side), generator) for side in size)
    noise = perlin(size, (rows, columns), generator)[None]
    return (rotated(noise, 90, generator) > THRESHOLD).float()
