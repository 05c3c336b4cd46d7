"""Noise that depends only on the image and the seed, not on batch size or order."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import torch
from torch import Tensor


def image_noise(images: Tensor, shape: Sequence[int], *, seed: int, draw: int = 0) -> tuple[Tensor, Tensor]:
    """Return the posterior's noise and the diffusion's noise, each ``(B,*shape)``, on the images' device.

    Args:
        images: ``float32 (B,3,H,W)`` in [0,1], as given.
        shape: Shape of one latent image.
        seed: The run's seed.
        draw: Number of the sample, if several are averaged.
    """
    drawn = [_draw(image, (2, *shape), seed, draw) for image in images.detach().cpu()]
    both = torch.stack(drawn, dim=1)
    if images.device.type == "cuda":
        both = both.pin_memory().to(images.device, non_blocking=True)
    posterior, diffusion = both
    return posterior, diffusion


def _draw(image: Tensor, shape: tuple[int, ...], seed: int, draw: int) -> Tensor:
    digest = hashlib.sha256(f"{seed}/{draw}/".encode() + image.contiguous().numpy().tobytes()).digest()
    generator = torch.Generator().manual_seed(int.from_bytes(digest[:8], "little") >> 1)
    return torch.randn(shape, generator=generator)
