"""A whole reconstruction: the hint is encoded once, the networks run once per step, the result is decoded once.

What goes into one stands here too: images as the networks take them (normalised with ImageNet's mean and standard
deviation, not to [-1, 1]), and noise that depends only on the image and the seed, not on batch size or order.
"""

from __future__ import annotations

import copy
import functools
import hashlib
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor, nn

from diadbench.methods.diad.diffusion import LEVELS, Spacing, Step, timesteps, walk
from diadbench.methods.diad.networks.model import DiADModel

#: DDIM steps of the paper.
STEPS = 10
#: ``(x, t, hint) -> eps``.
Estimate = Callable[[Tensor, Tensor, Tensor], Tensor]
#: ImageNet's, of each channel.
MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)


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


def with_half_weights(model: DiADModel) -> DiADModel:
    """Return a copy whose convolutions and linear layers hold bfloat16 weights; the model is not changed.

    Under autocast its results equal the model's, where these weights are cast for every product. Norms keep float32.
    """
    half = copy.deepcopy(model)
    for module in half.modules():
        if isinstance(module, (nn.Linear, nn.modules.conv._ConvNd)):
            module.to(torch.bfloat16)
    return half


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
