"""Models with random weights that are made quickly, for benchmarks and tests in which only the cost matters."""

from __future__ import annotations

import torch

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
