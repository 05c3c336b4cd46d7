"""The gradients of every method in every precision that it offers are those of float32, up to that precision.

DRAEM's are compared in the networks' last layers, where its losses arrive: its untrained batch norms, 49 of them, carry
the rounding of half precision on until the first layers' gradients point elsewhere, with any loss.
"""

from __future__ import annotations

from collections.abc import Callable

import lightning.pytorch as pl
import pytest
import torch
from torch import Tensor, nn

from diadbench.methods.diad import config
from diadbench.methods.diad.networks.model import DiADModel
from diadbench.methods.diad.stages import AutoencoderStage, DiffusionStage
from diadbench.methods.draem.method import _Module as DraemModule
from diadbench.methods.draem.textures import ProceduralTextures
from diadbench.methods.uniad.head import HeadConfig, UniADHead
from diadbench.methods.uniad.method import _Module as UniadModule
from diadbench.methods.uniad.settings import resolve

#: Least cosine between the gradients.
CLOSE = {torch.bfloat16: 0.9, torch.float16: 0.97}


def images(count: int = 4, size: int = 64) -> Tensor:
    coarse = torch.rand(count, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    return nn.functional.interpolate(coarse, (size, size), mode="bilinear")


def draem() -> tuple[pl.LightningModule, object]:
    return DraemModule(8, 4, lr=1e-4, steps=1, source=ProceduralTextures(lambda i: images()[i], 4)), images()


def uniad() -> tuple[pl.LightningModule, object]:
    shape = HeadConfig(inplanes=16, feature_size=(4, 4), hidden_dim=16, nhead=2, neighbor_size=(3, 3), dropout=0.0)
    return UniadModule(UniADHead(shape), resolve("official", {}), lambda x: x), torch.rand(4, 16, 4, 4)


def diffusion() -> tuple[pl.LightningModule, object]:
    model = DiADModel(config.size("tiny"))
    return DiffusionStage(model, "adamw", 1e-5, 0), {"image": images()}


def autoencoder() -> tuple[pl.LightningModule, object]:
    return AutoencoderStage(DiADModel(config.size("tiny")), None, 1e-4, 0), {"image": images()}


def gradient(make: Callable[[], tuple[pl.LightningModule, object]], dtype: torch.dtype | None) -> Tensor:
    torch.manual_seed(0)
    module, batch = make()
    module.log = module.log_dict = lambda *values, **more: None  # type: ignore[method-assign,assignment]
    torch.manual_seed(1)
    with torch.autocast("cpu", dtype or torch.bfloat16, enabled=dtype is not None):
        loss = module.training_step(batch, 0)
    assert isinstance(loss, Tensor)
    scale = 256.0 if float(loss) < 100 else 1.0  # what a scaler finds for float16
    (loss * scale).backward()
    found = [
        parameter.grad.flatten()
        for name, parameter in module.named_parameters()
        if parameter.grad is not None and (make is not draem or "fin_out" in name)
    ]
    return torch.cat(found) / scale


@pytest.mark.parametrize("dtype", list(CLOSE), ids=str)
@pytest.mark.parametrize("make", [draem, uniad, diffusion, autoencoder])
def test_gradients_in_half_precision(make: Callable[[], tuple[pl.LightningModule, object]], dtype: torch.dtype) -> None:
    exact, found = gradient(make, None), gradient(make, dtype)
    assert torch.isfinite(found).all()
    assert float(nn.functional.cosine_similarity(exact, found, dim=0)) > CLOSE[dtype]
