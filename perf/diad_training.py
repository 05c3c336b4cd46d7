"""A training step of DiAD's stage 2 with cached latents beside one that encodes, as the authors' does.

Counts the operations of both at full size on the meta device, with gradient checkpointing (the authors' way) and
without, and measures both in turn at a smaller size on one CPU thread. Each step samples the posterior, draws noise,
computes the loss and its gradients, and moves the weights.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from diadbench.methods.diad import config
from diadbench.methods.diad.networks.initial_weights import random_model
from diadbench.methods.diad.networks.model import DiADModel
from diadbench.methods.diad.stages import DiffusionStage

#: Most that a step with cached latents may cost of one that encodes, both with checkpointing.
BOUND = 0.8
WAYS = {
    "encodes, checkpointing": (True, False),
    "cached, checkpointing": (True, True),
    "cached, no checkpointing": (False, True),
}


def step_of(model: DiADModel, pixels: int, batch: int, *, checkpointing: bool, cached: bool) -> Callable[[], Tensor]:
    """Return a function that computes the loss of a batch of noise and its gradients."""
    device, sizes = model.text.device, model.config
    data = {"image": torch.rand(batch, 3, pixels, pixels, device=device)}
    if cached:
        shape = (batch, sizes.latent, pixels // sizes.reduction, pixels // sizes.reduction)
        data["mean"], data["logvar"] = torch.randn(shape, device=device), torch.zeros(shape, device=device)
    model.unet.disable_gradient_checkpointing()
    model.sg.control.disable_gradient_checkpointing()
    if checkpointing:
        model.enable_checkpointing()
    stage = DiffusionStage(model, "adamw", 1e-5, 0)
    model.train()
    model.vae.eval()
    model.scheduler.alphas_cumprod = model.scheduler.alphas_cumprod.to(device)

    def step() -> Tensor:
        model.zero_grad()
        loss = stage.loss(data)
        loss.backward()
        return loss

    return step


def count(pixels: int, batch: int) -> dict[str, float]:
    """Return the operations of a step at full size: multiplications and additions."""
    with torch.device("meta"):
        model = DiADModel(config.size("sd15"))
    counts = {}
    for name, (checkpointing, cached) in WAYS.items():
        step = step_of(model, pixels, batch, checkpointing=checkpointing, cached=cached)
        with FlopCounterMode(display=False) as counter:
            step()
        counts[name] = float(counter.get_total_flops())
    return counts


def measure(sizes: config.ModelConfig, pixels: int, batch: int, turns: int) -> dict[str, float]:
    """Return CPU seconds of a step, weights moved by AdamW; the least of all turns."""
    model = random_model(sizes)
    optimizer = torch.optim.AdamW(model.trained_parameters().values(), lr=1e-5)
    seconds: dict[str, list[float]] = {name: [] for name in WAYS}
    for _ in range(turns + 1):  # the first warms up
        for name, (checkpointing, cached) in WAYS.items():
            step = step_of(model, pixels, batch, checkpointing=checkpointing, cached=cached)
            start = time.process_time()
            step()
            optimizer.step()
            seconds[name].append(time.process_time() - start)
    return {name: min(values[1:]) for name, values in seconds.items()}


def show(title: str, values: dict[str, float], unit: str, scale: float) -> float:
    """Print all ways with their shares of the first; return the second's."""
    print(title)
    first = next(iter(values.values()))
    for name, value in values.items():
        print(f"  {name:<26}{value / scale:9.3f} {unit}  {value / first:6.3f}")
    return values["cached, checkpointing"] / first


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--width", type=int, default=32, help="measured: the authors' layout at this width")
    parser.add_argument("--vae-width", type=int, default=32, help="width of its autoencoder")
    parser.add_argument("--pixels", type=int, default=128, help="measured: image side")
    parser.add_argument("--batch", type=int, default=4, help="measured: images a step")
    parser.add_argument("--turns", type=int, default=3, help="steps of each way; the least counts")
    options = parser.parse_args()
    torch.set_num_threads(1)

    counted = show("sd15, 256 px, batch 12, counted", count(256, 12), "Tflop", 1e12)
    sizes = config.of_width(options.width, context=2 * options.width, vae_width=options.vae_width)
    what = f"width {options.width}, {options.pixels} px, batch {options.batch}, {options.turns} turns, one CPU thread"
    found = show(f"{what}, measured", measure(sizes, options.pixels, options.batch, options.turns), "CPU s", 1.0)
    if not max(counted, found) <= BOUND:
        raise SystemExit(f"cached latents cost more than {BOUND} of encoding")


if __name__ == "__main__":
    main()
