"""Weights that no file holds: what a training starts from, and quick random ones where only the cost matters."""

from __future__ import annotations

import torch
from torch import nn

from diadbench.methods.diad.config import ModelConfig
from diadbench.methods.diad.networks.model import DiADModel

_BLOCK = 1 << 20


@torch.no_grad()
def random_model(config: ModelConfig, *, seed: int = 0) -> DiADModel:
    """Return a model in evaluation mode whose layers preserve the scale of their inputs.

    Weights of two or more dimensions are normal with variance one over their inputs (a block of random numbers is
    repeated, so that the full size takes seconds), scales are one, shifts zero. No layer is zero.
    """
    with torch.device("meta"):
        model = DiADModel(config)
    model.to_empty(device="cpu")
    block = torch.randn(_BLOCK, generator=torch.Generator().manual_seed(seed))
    for name, parameter in model.named_parameters():
        if parameter.ndim > 1:
            flat = parameter.view(-1)
            for start in range(0, flat.numel(), _BLOCK):
                flat[start : start + _BLOCK] = block[: flat.numel() - start]
            parameter.mul_(parameter[0].numel() ** -0.5)
        else:
            parameter.fill_(float(name.endswith("weight")))
    model.text.copy_(block[: model.text.numel()].view(model.text.shape))
    return model.eval()


#: Initial logarithm of the variance of a random autoencoder's posterior.
NARROW_LOGVAR = -5.0
#: Size of the random zero convolutions in front of SFF with ``sff_init: active``; see docs/diad.md.
ACTIVE_STD = 1e-4


@torch.no_grad()
def start_posterior(model: DiADModel) -> None:
    """Initialise a random autoencoder's posterior with a standard deviation of 0.08, independent of the image.

    Random weights give about 1. A short stage 1 would then spend its steps on reducing it, and stage 2 would learn
    from noisy latents.
    """
    convolution = model.vae.quant_conv
    convolution.weight[model.config.latent :] = 0
    convolution.bias[model.config.latent :] = NARROW_LOGVAR


@torch.no_grad()
def start_sg(model: DiADModel, sff_init: str) -> None:
    """Initialise the SG network from the UNet, as the authors' ``build_model`` does; hint encoder and SFF are new.

    Args:
        model: The model; its UNet is what the SG network starts from.
        sff_init: ``official``: zero convolutions and SFF both zero, so that SFF never learns. ``active``: SFF's
            convolutions by torch's default, the three zero convolutions in front of it tiny and random, so that
            the first forward pass stays close and gradients flow.
    """
    control = model.sg.control
    for name in ("conv_in", "time_embedding", "down_blocks", "mid_block"):
        getattr(control, name).load_state_dict(getattr(model.unet, name).state_dict(), strict=True)
    for convolution in [*control.controlnet_down_blocks, control.controlnet_mid_block]:
        for parameter in convolution.parameters():
            nn.init.zeros_(parameter)
    for module in control.controlnet_cond_embedding.modules():
        if isinstance(module, nn.Conv2d):
            module.reset_parameters()
    for parameter in control.controlnet_cond_embedding.conv_out.parameters():
        nn.init.zeros_(parameter)
    model.sg.sff.reset(zero=sff_init == "official")
    if sff_init == "active":
        for index in range(model.sg.count - 7, model.sg.count - 4):
            convolution = control.controlnet_down_blocks[index]
            assert isinstance(convolution, nn.Conv2d)
            nn.init.normal_(convolution.weight, std=ACTIVE_STD / convolution.in_channels**0.5)
