"""A whole reconstruction: the hint is encoded once, the networks run once per step, the result is decoded once."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from diadbench.methods.diad.diffusion import LEVELS, Spacing, Step, timesteps, walk
from diadbench.methods.diad.networks.model import DiADModel

#: DDIM steps of the paper.
STEPS = 10
#: ``(x, t, hint) -> eps``.
Estimate = Callable[[Tensor, Tensor, Tensor], Tensor]


def trajectory(
    model: DiADModel,
    images: Tensor,
    posterior: tuple[Tensor, Tensor],
    noises: tuple[Tensor | None, Tensor],
    *,
    steps: int = STEPS,
    start: int = LEVELS - 1,
    spacing: Spacing = "leading",
    estimate: Estimate | None = None,
) -> Iterator[Step]:
    """Yield all DDIM steps of a reconstruction. The ``x`` of the last step is decoded.

    Args:
        model: The networks.
        images: Normalised images ``(B,3,H,W)``.
        posterior: Mean and log-variance ``(B,4,h,w)``, from :meth:`DiADModel.encode`.
        noises: Noise of the posterior (``None`` takes its mean) and of the diffusion, each ``(B,4,h,w)``.
        steps: DDIM steps.
        start: Noise level to start from.
        spacing: Where the steps lie, see :func:`timesteps`.
        estimate: Used in place of :meth:`DiADModel.eps`, such as a compiled version.
    """
    eps = estimate or model.eps
    z = model.sample_latent(*posterior, noises[0])
    level = timesteps(steps, start, spacing)[2]
    noisy = model.add_noise(z, noises[1], torch.full((len(z),), level, device=z.device))
    hint = model.encode_hint(images)
    yield from walk(noisy, lambda x, t: eps(x, t, hint).float(), steps=steps, start=start, spacing=spacing)


def sampling_notes(steps: int, start: int, spacing: str, n_samples: int, posterior: str) -> list[str]:
    """Return a note for each way in which a sampling departs from the paper's: 10 steps from level 999, one sample."""
    found = []
    if start != LEVELS - 1:
        found.append(f"DiAD starts from noise level {start}")
    if steps != STEPS:
        found.append(f"DiAD denoises in {steps} step{'s' if steps > 1 else ''} (the paper: {STEPS})")
    if spacing == "trailing":
        found.append("DiAD's steps are counted down from the start (the paper: up from level 1)")
    if n_samples != 1:
        found.append(f"DiAD's maps are means over {n_samples} reconstructions (the paper: 1)")
    if posterior == "mean":
        found.append("DiAD starts from the posterior's mean (the paper: a sample)")
    return found


@torch.no_grad()
def reconstruct(
    model: DiADModel,
    images: Tensor,
    posterior: tuple[Tensor, Tensor],
    noises: tuple[Tensor | None, Tensor],
    *,
    steps: int = STEPS,
    start: int = LEVELS - 1,
    spacing: Spacing = "leading",
    estimate: Estimate | None = None,
) -> Tensor:
    """Return normalised reconstructions ``float32 (B,3,H,W)``. Arguments as for :func:`trajectory`.

    The result equals the authors' up to rounding, because their guidance of 9 is applied to two equal estimates.
    """
    for step in trajectory(
        model, images, posterior, noises, steps=steps, start=start, spacing=spacing, estimate=estimate
    ):
        z = step.x
    return model.decode(z).float()
