"""The discriminator of stage 1: whose loss moves what, and that it starts when it is said to."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from diadbench.common.errors import UserError
from diadbench.methods.authoring.small_data import small_train
from diadbench.methods.base import RunContext
from diadbench.methods.diad.method import DiAD
from diadbench.methods.diad.networks.discriminator import adaptive_weight, discriminator_loss, generator_loss, patch_gan

OPTIONS: dict[str, Any] = {
    "size": "tiny",
    "weights": "random",
    "autoencoder_steps": 4,
    "autoencoder_batch_size": 2,
    "autoencoder_accumulate": 1,
    "ablation": "autoencoder",
    "backbone": "tf_efficientnet_lite0",
    "backbone_weights": "package",
}


def test_each_loss_moves_its_own_network() -> None:
    torch.manual_seed(0)
    network = patch_gan(8)
    images, output = torch.randn(2, 3, 32, 32), torch.randn(2, 3, 32, 32, requires_grad=True)
    generator_loss(network, output).backward()
    assert output.grad is not None
    assert output.grad.abs().sum() > 0
    assert all(parameter.grad is None for parameter in network.parameters())
    output.grad = None
    discriminator_loss(network, images, output).backward()
    assert output.grad is None
    assert all(parameter.grad is not None for parameter in network.parameters())


def test_the_adaptive_weight_balances_both_losses() -> None:
    last = torch.ones(3, requires_grad=True)
    assert float(adaptive_weight(10 * last.sum(), 2 * last.sum(), last)) == pytest.approx(0.5 * 5, rel=1e-3)
    assert float(adaptive_weight(1e9 * last.sum(), 0 * last.sum(), last)) == pytest.approx(0.5e4)


def fitted(path: Path, **options: Any) -> tuple[DiAD, RunContext, set[str]]:
    path.mkdir()
    run = RunContext(0, torch.device("cpu"), (32, 32), ("a", "b"), path, path / "cache")
    method = DiAD(**{**OPTIONS, **options})
    method.fit(small_train(2, images=2, size=32), run)
    logged = {line.split(",")[1] for line in (path / "history.csv").read_text().splitlines()[1:]}
    return method, run, logged


def test_it_starts_at_its_step_and_the_results_say_so(tmp_path: Path) -> None:
    plain, _, without = fitted(tmp_path / "plain")
    late, run, logged = fitted(tmp_path / "late", discriminator=True, discriminator_start=2)
    assert run.extras["autoencoder_loss"].endswith("+ KL + discriminator from step 2")
    assert logged - without == {"autoencoder/fooling", "autoencoder/telling", "autoencoder/adaptive_weight"}
    rows = (tmp_path / "late" / "history.csv").read_text().splitlines()
    assert [row.split(",")[0] for row in rows if "telling" in row] == ["3", "4"]  # steps 2 and 3, counted from 0

    never, run, logged = fitted(tmp_path / "never", discriminator=True, discriminator_start=4)
    assert logged == without
    assert any("never ran" in note for note in run.notes)
    weights = [dict(method.model.vae.state_dict()) for method in (plain, never, late) if method.model is not None]
    assert all(torch.equal(value, weights[1][name]) for name, value in weights[0].items())
    assert not all(torch.equal(value, weights[2][name]) for name, value in weights[0].items())


def test_a_start_before_the_first_step_is_refused() -> None:
    with pytest.raises(UserError, match="discriminator_start is -1"):
        DiAD(discriminator=True, discriminator_start=-1)
