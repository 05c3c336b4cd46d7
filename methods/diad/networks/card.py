"""Decide how a step of stage 2 fits a GPU: images at a time, and whether activations are kept or recomputed.

Neither changes the images of a step, but only how many kernels the host has to start for them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch

from diadbench.common.errors import UserError
from diadbench.methods.diad.networks.model import DiADModel
from diadbench.methods.training.budget import Budget, Precision

#: Bytes of activations of an image of 256 x 256 at 320 channels in half precision: those kept for the backward pass if
#: blocks are recomputed, and if all are kept. From the peaks of ``perf/gpu_idle.py diad`` with 12, 24 and 48 images
#: (``perf/gpu_steps.json``), which lie on lines; libraries' workspaces are not in them.
RECOMPUTED, KEPT = 0.091e9, 0.348e9
#: Bytes that an optimiser keeps for a parameter. Adafactor's are counted for ``sd15``: torch factorises the last two
#: axes, which of a 3x3 convolution saves a third.
MOMENTS = {"adamw": 8.0, "adamw8bit": 2.1, "adafactor": 2.26}
#: Bytes of a trained parameter's copy in half precision, which autocast keeps during a step.
CAST = 2.0
#: Share of a card's memory that is used for planning; the rest is for the allocator and the libraries.
USABLE = 0.88
#: Share of a card's memory above which a batch is sure not to fit, so that it is divided.
FULL = 0.95
#: Memory in GB from which activations are kept if they fit.
LARGE = 40e9


@dataclass(frozen=True)
class Placement:
    """How a step is placed on a card.

    Attributes:
        budget: The budget; batch size times accumulation equals that of the configuration.
        recompute: Whether blocks are recomputed in the backward pass.
    """

    budget: Budget
    recompute: bool


def place(
    model: DiADModel,
    budget: Budget,
    image: tuple[int, int],
    memory: int,
    *,
    recompute: bool,
    optimizer: str = "adamw",
    half: bool = False,
) -> Placement:
    """Choose the largest share of a step that fits, and keep activations on a card with much memory.

    Args:
        model: The networks; their memory and that of their optimiser are counted.
        budget: Budget of the configuration.
        image: ``(H, W)``.
        memory: Memory of the card in bytes.
        recompute: The option ``checkpointing``; with ``False`` blocks are never recomputed.
        optimizer: A name of :data:`MOMENTS`.
        half: Whether the frozen half of the UNet is in half precision.

    Raises:
        UserError: The networks alone don't fit.
    """
    share = image[0] * image[1] / 256**2 * model.config.channels[0] / 320 * (1 if "32" not in budget.precision else 2)
    standing_bytes = standing(model, optimizer, budget.precision, half=half)
    if standing_bytes > memory:
        raise UserError(
            f"diad: weights, gradients and moments of {optimizer} take {standing_bytes / 1e9:.1f} GB without an image, "
            f"this GPU has {memory / 1e9:.1f}; set optimizer: adafactor and frozen_precision: bfloat16 (another "
            "configuration, with other results), or a smaller size"
        )
    room = USABLE * memory - standing_bytes
    keeps = not recompute or (memory >= LARGE and KEPT * share * budget.batch_size <= room)
    each = (KEPT if keeps else RECOMPUTED) * share
    if standing_bytes + budget.batch_size * each > FULL * memory:
        placed = _divided(budget, int((FULL * memory - standing_bytes) / each))
    else:
        placed = _merged(budget, int(room / each))
    return Placement(placed, recompute=not keeps)


def standing(model: DiADModel, optimizer: str, precision: Precision, *, half: bool) -> float:
    """Return the bytes that don't depend on the batch: weights, gradients, moments, autocast's copies.

    The autoencoder isn't counted: it leaves the GPU if latents are cached.
    """
    trained = sum(parameter.numel() for parameter in model.trained_parameters().values())
    every = sum(parameter.numel() for name, parameter in model.named_parameters() if not name.startswith("vae."))
    cast = 0.0 if "32" in precision else CAST
    return (2.0 if half else 4.0) * (every - trained) + (8.0 + MOMENTS[optimizer] + cast) * trained


def _merged(budget: Budget, most: int) -> Budget:
    """Return a budget whose batch merges as many accumulated ones as ``most`` images allow."""
    factors = [n for n in range(budget.accumulate, 0, -1) if budget.accumulate % n == 0]
    factor = next((n for n in factors if n * budget.batch_size <= most), 1)
    return replace(budget, batch_size=budget.batch_size * factor, accumulate=budget.accumulate // factor)


def _divided(budget: Budget, most: int) -> Budget:
    """Return a budget whose batches are parts of the configuration's, of at most ``most`` images."""
    part = max((n for n in range(1, most + 1) if budget.batch_size % n == 0), default=1)
    return replace(budget, batch_size=part, accumulate=budget.accumulate * (budget.batch_size // part))


def memory_of(device: torch.device) -> int:
    """Return the memory of a GPU in bytes."""
    return int(torch.cuda.get_device_properties(device).total_memory)
