"""What stage 2 doesn't train is kept small meanwhile: the frozen half in half precision, the autoencoder elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from diadbench.methods.diad.networks.model import DiADModel

#: Parts of the UNet that the authors freeze.
FROZEN = ("conv_in", "time_embedding", "down_blocks", "mid_block")


@contextmanager
def slim(model: DiADModel, *, dtype: torch.dtype = torch.float32, without_autoencoder: bool = False) -> Iterator[None]:
    """Slim a model for stage 2, and give it back as it was: no bit of what isn't trained changes.

    Args:
        model: The model.
        dtype: Of the UNet's frozen half meanwhile; its float32 weights wait on the CPU. A model that trains its
            whole UNet has no frozen half.
        without_autoencoder: Take it off the model (latents are cached); it waits on the CPU.
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
