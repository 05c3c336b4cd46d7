"""What stage 2 doesn't train is kept small meanwhile, and comes back as it was."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils._pytree import tree_leaves

from diadbench.methods.authoring.small_data import small_train
from diadbench.methods.base import RunContext
from diadbench.methods.diad import of_width
from diadbench.methods.diad.method import DiAD
from diadbench.methods.diad.networks.initial_weights import random_model
from diadbench.methods.diad.networks.memory import FROZEN, reduced_memory


def test_slim_changes_little_while_it_lasts_and_nothing_afterwards() -> None:
    model = random_model(of_width(32, context=32, vae_width=32))
    before = {key: value.clone() for key, value in model.state_dict().items()}
    x = torch.randn(1, 4, 16, 16, generator=torch.Generator().manual_seed(0))
    images, t = torch.zeros(1, 3, 128, 128), torch.tensor([500])
    with torch.no_grad():
        exact = model.eps(x, t, model.encode_hint(images))
        with reduced_memory(model, dtype=torch.bfloat16, without_autoencoder=True):
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
    with reduced_memory(model, dtype=torch.bfloat16):
        z, noise = torch.randn(2, 1, 4, 16, 16)
        model.loss(z, torch.zeros(1, 3, 128, 128), noise, torch.tensor([9])).backward()
    assert all(parameter.grad is not None and parameter.dtype == torch.float32 for parameter in trained.values())


def test_8_bit_adam_trains_and_resumes(tmp_path: Path) -> None:
    """Moments are bytes, and a training that is cut in two goes on with them."""
    pytest.importorskip("bitsandbytes")
    options: dict[str, Any] = {
        "size": "tiny",
        "weights": "random",
        "train_steps": 3,
        "batch_size": 2,
        "accumulate": 1,
        "lr": 1e-3,
        "optimizer": "adamw8bit",
        "backbone": "tf_efficientnet_lite0",
        "backbone_weights": "package",
    }
    run = RunContext(0, torch.device("cpu"), (32, 32), ("a",), tmp_path, tmp_path / "cache")
    DiAD(**options).fit(small_train(1, images=2, size=32), run)
    moments = torch.load(tmp_path / "diffusion.ckpt", weights_only=True)["optimizer_states"][0]["state"]
    leaves = [leaf for leaf in tree_leaves(moments) if isinstance(leaf, torch.Tensor) and leaf.numel() >= 4096]
    assert leaves
    assert {leaf.dtype for leaf in leaves} == {torch.uint8}
    method = DiAD(**{**options, "train_steps": 5})
    method.fit(small_train(1, images=2, size=32), run)
    assert torch.load(tmp_path / "diffusion.ckpt", weights_only=True)["global_step"] == 5
    assert method.model is not None
    assert all(parameter.isfinite().all() for parameter in method.model.parameters())
