"""A reconstruction from start to end: the hint is encoded once, one pass of the networks a step, one decode."""

from __future__ import annotations

import torch
from torch import Tensor

from diadbench.methods.diad.diffusion import LEVELS, denoise, timesteps
from diadbench.methods.diad.model import DiADModel


@torch.no_grad()
def reconstruct(
    model: DiADModel,
    images: Tensor,
    posterior: tuple[Tensor, Tensor],
    noises: tuple[Tensor, Tensor],
    *,
    steps: int = 10,
    start: int = LEVELS - 1,
) -> Tensor:
    """Return normalised reconstructions ``float32 (B,3,H,W)``.

    Equal to the authors' way up to rounding: their guidance of 9 lies between two equal estimates.

    Args:
        model: The networks.
        images: Normalised images ``(B,3,H,W)``.
        posterior: Mean and log-variance ``(B,4,h,w)``, from :meth:`DiADModel.encode`.
        noises: Noise of the posterior and of the diffusion, each ``(B,4,h,w)``.
        steps: DDIM steps.
        start: Noise level to start from.
    """
    z = model.sample_latent(*posterior, noises[0])
    level = timesteps(steps, start)[2]
    noisy = model.add_noise(z, noises[1], torch.full((len(z),), level, device=z.device))
    hint = model.encode_hint(images)
    z = denoise(noisy, lambda x, t: model.eps(x, t, hint).float(), steps=steps, start=start)
    return model.decode(z).float()
