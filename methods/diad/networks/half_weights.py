"""Networks for prediction in bfloat16 whose weights are cast once instead of at every call."""

from __future__ import annotations

import copy

import torch
from torch import nn

from diadbench.methods.diad.networks.model import DiADModel


def with_half_weights(model: DiADModel) -> DiADModel:
    """Return a copy whose convolutions and linear layers hold bfloat16 weights; the model is not changed.

    Under autocast its results equal the model's, where these weights are cast for every product. Norms keep float32.
    """
    half = copy.deepcopy(model)
    for module in half.modules():
        if isinstance(module, (nn.Linear, nn.modules.conv._ConvNd)):
            module.to(torch.bfloat16)
    return half
