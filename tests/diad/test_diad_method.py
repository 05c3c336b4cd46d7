"""DiAD as a method: training, resume, saving, noise by image."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from diadbench.common.errors import UserError
from diadbench.common.processes.interrupt import Terminated
from diadbench.methods.authoring.small_data import anomalous_images, small_train
from diadbench.methods.base import RunContext
from diadbench.methods.diad import SIZES, DiADModel, of_width
from diadbench.methods.diad.method import DiAD
from diadbench.methods.diad.networks.initial_weights import start_sg
from diadbench.methods.diad.reconstruct import image_noise
from diadbench.methods.diad.stages import AutoencoderStage

TINY: dict[str, Any] = {
    "size": "tiny",
    "weights": "random",
    "autoencoder_steps": 2,
    "autoencoder_batch_size": 4,
    "autoencoder_accumulate": 1,
    "train_steps": 4,
    "batch_size": 2,
    "accumulate": 1,
    "lr": 1e-3,
    "steps": 2,
    "scale_latents": True,
    "backbone": "tf_efficientnet_lite0",
    "backbone_weights": "package",
}


def settings(path: Path) -> RunContext:
    path.mkdir(parents=True, exist_ok=True)
    return RunContext(0, torch.device("cpu"), (64, 64), ("a", "b"), path, path / "cache")


def weights_of(method: DiAD) -> dict[str, Tensor]:
    assert method.model is not None
    return method.model.state_dict()


def test_trains_saves_loads_and_ignores_batches(tmp_path: Path) -> None:
    run = settings(tmp_path / "run")
    method = DiAD(**TINY)
    method.fit(small_train(2, images=4), run)
    images = anomalous_images(3, 0)[0]
    found = method.predict(images)
    assert found.anomaly_map.shape == (3, 64, 64)
    assert found.reconstruction is not None
    assert found.reconstruction.shape == images.shape
    alone = method.predict(images.flip(0)[:1])
    torch.testing.assert_close(alone.anomaly_map[0], found.anomaly_map[2], rtol=1e-4, atol=1e-5)
    assert any("random weights" in note for note in run.notes)
    kept = tmp_path / "kept"
    kept.mkdir()
    method.save(kept)
    again = DiAD(**TINY)
    again.load(kept, settings(tmp_path / "other"))
    torch.testing.assert_close(again.predict(images).anomaly_map, found.anomaly_map)


def test_killed_in_stage_two_ends_with_the_same_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    train = small_train(2, images=4)
    whole = DiAD(**TINY)
    whole.fit(train, settings(tmp_path / "whole"))

    from diadbench.methods.training import saving

    run = settings(tmp_path / "killed")
    reached = []
    run.progress = lambda done, total, what: reached.append(done) if what == "diffusion" else None
    monkeypatch.setattr(saving, "is_pending", lambda: len(reached) == 2)
    with pytest.raises(Terminated):
        DiAD(**TINY).fit(train, run)
    monkeypatch.undo()
    resumed = DiAD(**TINY)
    resumed.fit(train, run)
    assert len(reached) == 4
    expected = weights_of(whole)
    assert all(torch.equal(value, expected[key]) for key, value in weights_of(resumed).items())


def test_noise_belongs_to_the_image() -> None:
    images = torch.rand(3, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    posterior, diffusion = image_noise(images, (4, 2, 2), seed=1)
    again, _ = image_noise(images[[2, 0]], (4, 2, 2), seed=1)
    assert torch.equal(again, posterior[[2, 0]])
    assert not torch.equal(posterior, diffusion)
    assert not torch.equal(image_noise(images, (4, 2, 2), seed=2)[0], posterior)
    assert not torch.equal(image_noise(images, (4, 2, 2), seed=1, draw=1)[0], posterior)


def sff_gradients(sff_init: str, steps: int = 1) -> tuple[list[float], Tensor]:
    torch.manual_seed(0)
    model = DiADModel(of_width(32, context=32, vae_width=32))
    start_sg(model, sff_init)
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    for parameter in model.trained_parameters().values():
        parameter.requires_grad_(True)
    generator = torch.Generator().manual_seed(1)
    z, noise = torch.randn(2, 1, 4, 16, 16, generator=generator)
    images, t = torch.randn(1, 3, 128, 128, generator=generator), torch.tensor([500])
    optimizer = torch.optim.AdamW(model.trained_parameters().values(), lr=1e-5)
    first = model.eps(z, t, model.encode_hint(images)).detach()
    norms: list[float] = []
    for _ in range(steps):
        optimizer.zero_grad()
        model.loss(z, images, noise, t).backward()
        norms = [float(p.grad.norm()) for p in model.sg.sff.parameters() if p.grad is not None]
        optimizer.step()
    return norms, first


def test_sff_never_learns_as_published_and_learns_when_active() -> None:
    published, first = sff_gradients("official", steps=2)
    assert published == [0.0] * 9
    active, close = sff_gradients("active")
    assert len(active) == 9
    assert min(active) > 0
    assert float((close - first).norm() / first.norm()) < 0.02


def test_sizes_that_cannot_be_halved_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="multiples of 64 from 128"):
        SIZES["sd15"].check_size(96, 160)
    with pytest.raises(UserError, match="steps"):
        DiAD(steps=0)


def test_a_random_autoencoder_starts_with_a_narrow_posterior(tmp_path: Path) -> None:
    model = DiAD(**TINY).start_model(settings(tmp_path / "run"))
    _, logvar = model.encode(torch.randn(2, 3, 64, 64))
    assert (logvar == -5).all()
    assert model.vae.quant_conv.weight[:4].abs().sum() > 0


def test_stage_one_takes_the_betas_that_it_is_given() -> None:
    model = DiADModel(SIZES["tiny"])
    for betas in ((0.5, 0.9), (0.9, 0.99)):
        optimizer = AutoencoderStage(model, None, 1e-3, 0, betas=betas).configure_optimizers()
        assert optimizer.defaults["betas"] == betas
    with pytest.raises(UserError, match="autoencoder_betas"):
        DiAD(**{**TINY, "autoencoder_betas": (0.9, 1.0)})
