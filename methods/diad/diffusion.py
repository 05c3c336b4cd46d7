"""The diffusion schedule and the DDIM sampler, as the authors use them."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from diffusers import DDIMScheduler
from torch import Tensor

from diadbench.common.errors import UserError

LEVELS = 1000
Eps = Callable[[Tensor, Tensor], Tensor]


def make_scheduler() -> Any:
    """Return diffusers' DDIMScheduler whose steps equal the authors' sampler's: the last one ends at level 0."""
    scheduler: Any = DDIMScheduler
    return scheduler(
        num_train_timesteps=LEVELS,
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
        timestep_spacing="leading",
    )


@functools.cache
def _scheduler(levels: int) -> Any:
    """Return a scheduler with its times set; it is cached, because it holds no state of a reconstruction."""
    with torch.inference_mode(False), torch.device("cpu"):
        scheduler = make_scheduler()
        scheduler.set_timesteps(levels)
    return scheduler


@dataclass(frozen=True)
class Step:
    """One DDIM step: time ``t``, latents after the step, and its estimate of the clean latents."""

    t: int
    x: Tensor
    x0: Tensor


def timesteps(steps: int, start: int = LEVELS - 1) -> tuple[Any, list[int], int]:
    """Return the scheduler, the times in descending order, and the level to which latents are noised.

    From ``start`` 999, latents noised to level 999 are treated as being at the first time (901 with 10 steps), as the
    authors do. From a smaller start they are noised to the first time itself.

    Raises:
        UserError: The number of steps or the start is out of range.
    """
    if not 1 <= start < LEVELS:
        raise UserError(f"diad: start is {start}; expected a noise level from 1 to {LEVELS - 1}")
    if not 1 <= steps <= start:
        raise UserError(f"diad: steps is {steps}; expected 1 to {start} (the start)")
    scheduler = _scheduler(LEVELS * steps // (start + 1))
    times = [int(t) for t in scheduler.timesteps if t <= start][-steps:]
    return scheduler, times, start if start == LEVELS - 1 else times[0]


def walk(x: Tensor, eps: Eps, *, steps: int = 10, start: int = LEVELS - 1) -> Iterator[Step]:
    """Go from noisy latents ``x`` to clean ones deterministically (eta 0) and without clipping; yield each step."""
    scheduler, times, _ = timesteps(steps, start)
    for t in times:
        estimate = eps(x, torch.full((len(x),), t, dtype=torch.int64, device=x.device))
        result = scheduler.step(estimate, t, x)
        x = result.prev_sample
        yield Step(t, x, result.pred_original_sample)


def denoise(x: Tensor, eps: Eps, *, steps: int = 10, start: int = LEVELS - 1) -> Tensor:
    """Return the latents after all steps of :func:`walk`."""
    for step in walk(x, eps, steps=steps, start=start):
        x = step.x
    return x
