"""What stage 2 doesn't train is kept small meanwhile, and comes back as it was."""

from __future__ import annotations

import torch

from diadbench.methods.diad import of_width
from diadbench.methods.diad.memory import FROZEN, slim
from diadbench.methods.diad.random_weights import random_model


def test_slim_changes_little_while_it_lasts_and_nothing_afterwards() -> None:
    model = random_model(of_width(32, context=32, vae_width=32))
    before = {key: value.clone() for key, value in model.state_dict().items()}
    x = torch.randn(1, 4, 16, 16, generator=torch.Generator().manual_seed(0))
    images, t = torch.zeros(1, 3, 128, 128), torch.tensor([500])
    with torch.no_grad():
        exact = model.eps(x, t, model.encode_hint(images))
        with slim(model, dtype=torch.bfloat16, without_autoencoder=True):
            assert not any(key.startswith("vae.") for key in model.state_dict())
            for name in FROZEN:
                assert {p.dtype for p in getattr(model.unet, name).parameters()} == {torch.bfloat16}
            half = model.eps(x, t, model.encode_hint(images))
    assert half.dtype == torch.float32
    assert 0 < float((half - exact).norm() / exact.norm()) < 0.03
    after = model.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(value, after[key]) for key, value in before.items())


def test_gradients_flow_past_a_frozen_half_in_half_precision() -> None:
    model = random_model(of_width(32, context=32, vae_width=32))
    trained = model.trained_parameters()
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name in trained)
    with slim(model, dtype=torch.bfloat16):
        z, noise = torch.randn(2, 1, 4, 16, 16)
        model.loss(z, torch.zeros(1, 3, 128, 128), noise, torch.tensor([9])).backward()
    assert all(parameter.grad is not None and parameter.dtype == torch.float32 for parameter in trained.values())
