"""Reduce the memory of what stage 2 doesn't train: the frozen half in half precision, the autoencoder on the CPU."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from diadbench.methods.diad.networks.model import DiADModel

#: Parts of the UNet that the authors' code freezes.
FROZEN = ("conv_in", "time_embedding", "down_blocks", "mid_block")


@contextmanager
def reduced_memory(
    model: DiADModel, *, dtype: torch.dtype = torch.float32, without_autoencoder: bool = False
) -> Iterator[None]:
    """Reduce a model's memory for stage 2, and restore it afterwards; untrained weights come back exactly.

    Args:
        model: The model.
        dtype: Precision of the UNet's frozen half in the block; its float32 weights are kept on the CPU. A model that
            trains its whole UNet has no frozen half.
        without_autoencoder: Remove the autoencoder from the model (latents are cached) and keep it on the CPU.
    """
    parts = [] if model.train_encoder or dtype == torch.float32 else [getattr(model.unet, name) for name in FROZEN]
    exact = [{key: value.detach().cpu().clone() for key, value in part.state_dict().items()} for part in parts]
    autoencoder, device = model.vae, model.text.device
    for part in parts:
        part.to(dtype)
    if without_autoencoder:
        model.vae = None
        autoencoder.to("cpu")
    try:
        yield
    finally:
        for part, state in zip(parts, exact, strict=True):
            part.float().load_state_dict(state, strict=True)
        if without_autoencoder:
            model.vae = autoencoder.to(device)
