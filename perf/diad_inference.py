"""DiAD's reconstruction the authors' way and ours, in turn, in one process on one CPU thread.

The authors' way: batch 1, both (equal) guidance halves with scale 9, the hint encoded at every step, all outputs of
the SG network, and a second decode of the latents. Ours: one pass, the hint once, the outputs that are used, one
decode, any batch size. Both are built from this package's parts. Prints CPU seconds an image (the least of all turns)
and their ratio.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import torch
from torch import Tensor

from diadbench.methods.diad import config
from diadbench.methods.diad.diffusion import LEVELS, denoise
from diadbench.methods.diad.networks.initial_weights import random_model
from diadbench.methods.diad.networks.model import DiADModel
from diadbench.methods.diad.reconstruct import reconstruct

GUIDANCE = 9.0


@torch.no_grad()
def authors_way(model: DiADModel, images: Tensor, posterior_noise: Tensor, noise: Tensor) -> Tensor:
    """Reconstruct one image as the authors' test does."""
    mean, logvar = model.encode(images)
    z = model.sample_latent(mean, logvar, posterior_noise)
    model.decode(z)  # they log it
    twice = torch.cat([images, images])

    def eps(x: Tensor, t: Tensor) -> Tensor:
        x, t = torch.cat([x, x]), torch.cat([t, t])
        control = model.control(x, t, model.encode_hint(twice), full=True)
        without, with_prompt = model.noise_of(x, t, control[-4:]).chunk(2)
        return without + GUIDANCE * (with_prompt - without)

    x = model.add_noise(z, noise, torch.full((len(z),), LEVELS - 1))
    return model.decode(denoise(x, eps))


@torch.no_grad()
def our_way(model: DiADModel, images: Tensor, posterior_noise: Tensor, noise: Tensor) -> Tensor:
    """Reconstruct a batch as the method does."""
    return reconstruct(model, images, model.encode(images), (posterior_noise, noise))


def clock(run: Callable[[], Tensor]) -> tuple[float, Tensor]:
    """Return CPU seconds and the result."""
    start = time.process_time()
    result = run()
    return time.process_time() - start, result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", default="tiny", help="sd15, small or tiny")
    parser.add_argument("--width", type=int, default=0, help="the authors' layout at this width instead of --size")
    parser.add_argument("--vae-width", type=int, default=32, help="the autoencoder's width, with --width")
    parser.add_argument("--pixels", type=int, default=128, help="image side")
    parser.add_argument("--batch", type=int, default=8, help="images of our batch")
    parser.add_argument("--turns", type=int, default=3, help="times that each side runs; the least counts")
    parser.add_argument("--contiguous", action="store_true", help="our side without channels-last memory")
    options = parser.parse_args()
    torch.set_num_threads(1)
    sizes = config.size(options.size)
    if options.width:
        sizes = config.of_width(options.width, context=2 * options.width, vae_width=options.vae_width)
    sizes.check_size(options.pixels, options.pixels)

    model = random_model(sizes)
    images = torch.randn(options.batch, 3, options.pixels, options.pixels)
    side = options.pixels // sizes.reduction
    noises = torch.randn(2, options.batch, sizes.latent, side, side)
    seconds: dict[str, list[float]] = {"authors": [], "ours": []}
    for _ in range(options.turns):
        model.to(memory_format=torch.contiguous_format)
        spent, theirs = clock(lambda: authors_way(model, images[:1], noises[0, :1], noises[1, :1]))
        seconds["authors"].append(spent)
        if not options.contiguous:
            model.to(memory_format=torch.channels_last)
        spent, ours = clock(lambda: our_way(model, images, noises[0], noises[1]))
        seconds["ours"].append(spent / options.batch)

    error = float((ours[:1] - theirs).abs().max() / theirs.abs().max())
    name = f"width {options.width}" if options.width else options.size
    print(f"DiAD {name}, {options.pixels} px, one CPU thread, {options.turns} turns")
    print(f"  authors, batch 1   {min(seconds['authors']):8.3f} CPU s an image")
    print(f"  ours, batch {options.batch:<6} {min(seconds['ours']):8.3f} CPU s an image")
    print(f"  ratio              {min(seconds['ours']) / min(seconds['authors']):8.3f}")
    print(f"  largest difference {error:8.1e} of the maximum (1e-5 allowed)")
    if not error <= 1e-5:
        raise SystemExit("the two ways differ")


if __name__ == "__main__":
    main()
