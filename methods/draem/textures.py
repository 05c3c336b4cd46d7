"""Textures of the anomalies: images of a folder (DTD), or generated ones."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Generator, Tensor
from torch.nn import functional
from torchvision.transforms import functional as images_functional

from diadbench.common.errors import UserError
from diadbench.methods.draem.perlin import integer, perlin, rotated, uniform

#: A source returns one texture ``float32 (3,H,W)`` in [0,1] of a size.
Source = Callable[[tuple[int, int], Generator], Tensor]

SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".webp"}
PROCEDURAL_NOTE = "procedural textures instead of DTD"


class FolderTextures:
    """Images of a folder and its subfolders, resized to the requested size.

    Args:
        root: The folder, for example ``dtd/images``.

    Raises:
        UserError: No such folder, or no image in it.
    """

    def __init__(self, root: Path | str) -> None:
        root = Path(root).expanduser()
        if not root.is_dir():
            raise UserError(f"draem: textures {root}: not a directory; give DTD's folder, or null for procedural ones")
        self.files = sorted(path for path in root.rglob("*") if path.suffix.lower() in SUFFIXES)
        if not self.files:
            raise UserError(f"draem: textures {root}: no image ({', '.join(sorted(SUFFIXES))}) in it")

    def __call__(self, size: tuple[int, int], generator: Generator) -> Tensor:
        """Return a random image ``float32 (3,H,W)`` in [0,1]."""
        path = self.files[integer(0, len(self.files), generator)]
        with Image.open(path) as image:
            small = image.convert("RGB").resize((size[1], size[0]), Image.Resampling.BILINEAR)
        return torch.from_numpy(np.array(small)).permute(2, 0, 1).float() / 255


class ProceduralTextures:
    """Colour noise of several octaves, stripes, and pieces of training images, in equal shares.

    Args:
        images: Function that returns a training image ``float32 (3,H,W)`` for a position.
        count: Number of training images.
    """

    def __init__(self, images: Callable[[int], Tensor], count: int) -> None:
        self.images, self.count = images, count

    def __call__(self, size: tuple[int, int], generator: Generator) -> Tensor:
        """Return a texture ``float32 (3,H,W)`` in [0,1]."""
        kind = (self._noise, self._stripes, self._piece)[integer(0, 3, generator)]
        return kind(size, generator).clamp(0, 1)

    def _noise(self, size: tuple[int, int], generator: Generator) -> Tensor:
        """Return fractal noise between two colours, with some additional noise in each channel."""
        base = 2 ** integer(1, 4, generator)
        octaves = [perlin(size, (base * 2**i, base * 2**i), generator) / 2**i for i in range(3)]
        return _between(torch.stack(octaves).sum(0), generator)

    def _stripes(self, size: tuple[int, int], generator: Generator) -> Tensor:
        """Return waves in a random direction, slightly bent by noise."""
        y, x = torch.meshgrid(torch.linspace(0, 1, size[0]), torch.linspace(0, 1, size[1]), indexing="ij")
        angle = torch.tensor(uniform(0, 2 * torch.pi, generator))
        phase = (angle.cos() * y + angle.sin() * x) * uniform(20, 200, generator)
        return _between((phase + 4 * perlin(size, (4, 4), generator)).sin(), generator)

    def _piece(self, size: tuple[int, int], generator: Generator) -> Tensor:
        """Return a piece of another training image (a quarter to all of each side), enlarged to the size."""
        image = self.images(integer(0, self.count, generator))
        h, w = (max(1, int(n * uniform(0.25, 1, generator))) for n in image.shape[1:])
        top, left = integer(0, image.shape[1] - h + 1, generator), integer(0, image.shape[2] - w + 1, generator)
        return functional.interpolate(image[None, :, top : top + h, left : left + w], size, mode="bilinear")[0]


def _between(field: Tensor, generator: Generator) -> Tensor:
    """Colour a field ``(H,W)`` of about [-1,1]: each channel lies between two random values."""
    low, high = torch.rand((2, 3, 1, 1), generator=generator)
    return torch.lerp(low, high, (field[None] + 1) / 2)


def augmented(texture: Tensor, generator: Generator) -> Tensor:
    """Change a texture ``float32 (3,H,W)`` in [0,1] by three of the authors' ten operations, in random order."""
    for i in torch.randperm(len(OPERATIONS), generator=generator)[:3].tolist():
        texture = OPERATIONS[i](texture, generator).clamp(0, 1)
    return texture


def _as_bytes(change: Callable[[Tensor], Tensor], texture: Tensor) -> Tensor:
    """Apply an operation that is defined on bytes."""
    return change((texture * 255).round().to(torch.uint8)).float() / 255


def _gamma(texture: Tensor, g: Generator) -> Tensor:
    return texture ** torch.tensor([uniform(0.5, 2.0, g) for _ in range(3)]).view(3, 1, 1)


def _brightness(texture: Tensor, g: Generator) -> Tensor:
    return texture * uniform(0.8, 1.2, g) + uniform(-30, 30, g) / 255


def _sharpness(texture: Tensor, g: Generator) -> Tensor:
    sharp: Tensor = images_functional.adjust_sharpness(texture, uniform(0.1, 1.9, g))
    return sharp


def _hue_and_saturation(texture: Tensor, g: Generator) -> Tensor:
    hue = images_functional.adjust_hue(texture, uniform(-50, 50, g) / 255)
    both: Tensor = images_functional.adjust_saturation(hue, 1 + uniform(-50, 50, g) / 255)
    return both


def _solarize(texture: Tensor, g: Generator) -> Tensor:
    threshold = uniform(32, 128, g) / 255
    return images_functional.solarize(texture, threshold) if uniform(0, 1, g) < 0.5 else texture


def _posterize(texture: Tensor, g: Generator) -> Tensor:
    bits = integer(1, 9, g)
    return _as_bytes(lambda image: images_functional.posterize(image, bits), texture)


def _invert(texture: Tensor, g: Generator) -> Tensor:
    return 1 - texture


def _autocontrast(texture: Tensor, g: Generator) -> Tensor:
    stretched: Tensor = images_functional.autocontrast(texture)
    return stretched


def _equalize(texture: Tensor, g: Generator) -> Tensor:
    return _as_bytes(images_functional.equalize, texture)


def _rotate(texture: Tensor, g: Generator) -> Tensor:
    return rotated(texture, 45, g)


#: Each function maps ``(texture, generator)`` to a texture. Ranges are those of the authors' imgaug calls.
OPERATIONS: tuple[Callable[[Tensor, Generator], Tensor], ...] = (
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
