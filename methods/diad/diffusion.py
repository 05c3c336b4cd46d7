"""The diffusion schedule and the DDIM sampler, as the authors use them."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import torch
from diffusers import DDIMScheduler
from torch import Tensor

from diadbench.common.errors import UserError

LEVELS = 1000
#: Where steps lie: ``leading`` as the authors have them, the last at level 1; ``trailing`` with the first at the start.
Spacing = Literal["leading", "trailing"]
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


def timesteps(steps: int, start: int = LEVELS - 1, spacing: Spacing = "leading") -> tuple[Any, list[int], int]:
    """Return the scheduler, the times in descending order, and the level to which latents are noised.

    ``leading``: From ``start`` 999, latents noised to level 999 are treated as being at the first time (901 with 10
    steps), as the authors do. From a smaller start they are noised to the first time itself, and the fewer the steps,
    the lower it is: from 349 it is 316 with 10 steps, 201 with 2, and 1 with a single one, which changes nothing.

    ``trailing`` (Lin et al., Common Diffusion Noise Schedules and Sample Steps are Flawed, WACV 2024): equal steps down
    from ``start``, to which the latents are noised whatever the number of steps.

    Raises:
        UserError: The number of steps or the start is out of range.
    """
    if not 1 <= start < LEVELS:
        raise UserError(f"diad: start is {start}; expected a noise level from 1 to {LEVELS - 1}")
    if not 1 <= steps <= start:
        raise UserError(f"diad: steps is {steps}; expected 1 to {start} (the start)")
    if spacing == "trailing":
        times = [round((start + 1) * left / steps) - 1 for left in range(steps, 0, -1)]
        return _scheduler(LEVELS), times, start
    scheduler = _scheduler(LEVELS * steps // (start + 1))
    times = [int(t) for t in scheduler.timesteps if t <= start][-steps:]
    return scheduler, times, start if start == LEVELS - 1 else times[0]


def walk(
    x: Tensor, eps: Eps, *, steps: int = 10, start: int = LEVELS - 1, spacing: Spacing = "leading"
) -> Iterator[Step]:
    """Go from noisy latents ``x`` to clean ones deterministically (eta 0) and without clipping; yield each step."""
    scheduler, times, _ = timesteps(steps, start, spacing)
    for t, after in zip(times, [*times[1:], 0], strict=True):
        estimate = eps(x, torch.full((len(x),), t, dtype=torch.int64, device=x.device))
        if spacing == "trailing":  # the scheduler's own steps all have one length
            yield (step := _ddim(scheduler, estimate, t, after, x))
            x = step.x
            continue
        result = scheduler.step(estimate, t, x)
        x = result.prev_sample
        yield Step(t, x, result.pred_original_sample)


def _ddim(scheduler: Any, estimate: Tensor, t: int, after: int, x: Tensor) -> Step:
    """Return the deterministic DDIM step from level ``t`` to level ``after``."""
    now, then = (float(scheduler.alphas_cumprod[level]) for level in (t, after))
    clean = (x - (1 - now) ** 0.5 * estimate) / now**0.5
    return Step(t, then**0.5 * clean + (1 - then) ** 0.5 * estimate, clean)


def denoise(x: Tensor, eps: Eps, *, steps: int = 10, start: int = LEVELS - 1, spacing: Spacing = "leading") -> Tensor:
    """Return the latents after all steps of :func:`walk`."""
    for step in walk(x, eps, steps=steps, start=start, spacing=spacing):
        x = step.x
    return x
