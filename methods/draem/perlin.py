"""Perlin noise and the masks and textures made of it. Everything random comes from the generator that is given."""

from __future__ import annotations

import math

import torch
from torch import Generator, Tensor
from torchvision.transforms import InterpolationMode
from torchvision.transforms import functional as images_functional

#: Cells of a mask's noise along an axis are 2 to a power below this one.
OCTAVES = 6
THRESHOLD = 0.5


def uniform(low: float, high: float, generator: Generator) -> float:
    """One number from ``[low, high)``."""
    return low + (high - low) * torch.rand((), generator=generator).item()


def integer(low: int, high: int, generator: Generator) -> int:
    """One of ``low .. high-1``."""
    return int(torch.randint(low, high, (), generator=generator))


def perlin(size: tuple[int, int], cells: tuple[int, int], generator: Generator) -> Tensor:
    """Perlin noise ``float32 (H,W)``, about in [-1,1], from random unit gradients on a grid of ``cells``."""
    angles = 2 * math.pi * torch.rand((cells[0] + 1, cells[1] + 1), generator=generator)
    gradients = torch.stack([angles.cos(), angles.sin()])
    return perlin_from(gradients, size)


def perlin_from(gradients: Tensor, size: tuple[int, int]) -> Tensor:
    """Noise ``(H,W)`` of given gradients ``(2, cells_h + 1, cells_w + 1)``, components along rows and columns."""
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
    """Turn ``(C,H,W)`` about its middle by up to ``limit`` degrees either way; corners become zero."""
    angle = uniform(-limit, limit, generator)
    turned: Tensor = images_functional.rotate(image, angle, InterpolationMode.BILINEAR)
    return turned


def perlin_mask(size: tuple[int, int], generator: Generator) -> Tensor:
    """A random mask ``float32 (1,H,W)`` of 0 and 1; it may be empty."""
    cells = (2 ** integer(0, OCTAVES, generator), 2 ** integer(0, OCTAVES, generator))
    noise = perlin(size, cells, generator)[None]
    return (rotated(noise, 90, generator) > THRESHOLD).float()
