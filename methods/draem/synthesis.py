"""Training pairs: a normal image, the same image with a painted anomaly, and the mask of the anomaly."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from diadbench.methods.draem.perlin import perlin_mask, rotated, uniform
from diadbench.methods.draem.textures import Source, augmented

#: Share of training images that are rotated, and share without an anomaly.
TURN, NORMAL = 0.3, 0.5


@dataclass(frozen=True)
class Pairs:
    """A training batch.

    Attributes:
        clean: ``float32 (B,3,H,W)`` in [0,1].
        corrupted: The same images with anomalies.
        mask: ``float32 (B,1,H,W)``, 1 where painted.
    """

    clean: Tensor
    corrupted: Tensor
    mask: Tensor


def blend(image: Tensor, texture: Tensor, mask: Tensor, beta: float) -> Tensor:
    """Paint ``texture`` over ``image`` where ``mask`` is 1, with weight ``beta`` of the image.

    ``(1-M) I + M [(1-beta) A + beta I]``, all ``(3,H,W)`` (mask ``(1,H,W)``).
    """
    return torch.where(mask > 0, (1 - beta) * texture + beta * image, image)


def corrupt(image: Tensor, source: Source, generator: Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Return ``(clean, corrupted, mask)`` of one image ``float32 (3,H,W)``; half of the images stay normal."""
    if uniform(0, 1, generator) < TURN:
        image = rotated(image, 90, generator)
    size = (image.shape[1], image.shape[2])
    if uniform(0, 1, generator) < NORMAL:
        return image, image, torch.zeros((1, *size))
    mask = perlin_mask(size, generator)
    texture = augmented(source(size, generator), generator)
    return image, blend(image, texture, mask, uniform(0, 0.8, generator)), mask


def corrupt_batch(images: Tensor, source: Source, generator: Generator, rows: Sequence[int] | None = None) -> Pairs:
    """Corrupt ``float32 (B,3,H,W)`` images on the CPU, one after another from one generator.

    Args:
        images: The images.
        source: Textures.
        generator: All randomness.
        rows: Positions of the images in the batch that they are a share of; the numbers of the others are drawn too.
    """
    at = {row: place for place, row in enumerate(range(len(images)) if rows is None else rows)}
    drawn = {row: corrupt(images[at.get(row, 0)], source, generator) for row in range(max(at) + 1)}
    clean, corrupted, mask = zip(*(drawn[row] for row in at), strict=True)
    return Pairs(torch.stack(clean), torch.stack(corrupted), torch.stack(mask))
