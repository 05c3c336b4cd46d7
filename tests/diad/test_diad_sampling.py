"""What the options of DiAD's sampling do: calls of the denoiser, levels, the posterior, means over noises, notes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from diadbench.benchmark.planning.contents import with_contents
from diadbench.benchmark.planning.grid import load_grid, parse_grid
from diadbench.benchmark.planning.resolving.resolve import resolve_method
from diadbench.benchmark.records.identity import deciding_options, digest
from diadbench.methods.authoring.small_data import anomalous_images, small_train
from diadbench.methods.catalog import CATALOG
from diadbench.methods.diad.diffusion import make_scheduler, timesteps, walk
from diadbench.methods.diad.method import DiAD
from diadbench.methods.diad.networks.model import DiADModel
from diadbench.methods.diad.reconstruct import denormalise, sampling_notes
from tests.diad.test_diad_method import TINY, settings


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("sampling")
    method = DiAD(**TINY)
    method.fit(small_train(2, images=4), settings(place / "run"))
    (place / "kept").mkdir()
    method.save(place / "kept")
    return place / "kept"


def loaded(trained: Path, seed: int = 0, **options: Any) -> tuple[DiAD, list[str]]:
    run = settings(trained.parent / "other")
    run.seed = seed
    method = DiAD(**{**TINY, **options})
    method.load(trained, run)
    return method, run.notes


@pytest.mark.parametrize(("steps", "samples"), [(1, 1), (4, 1), (2, 3)])
@pytest.mark.parametrize("spacing", ["leading", "trailing"])
def test_the_denoiser_is_called_steps_times_samples_and_the_rest_once(
    trained: Path, monkeypatch: pytest.MonkeyPatch, steps: int, samples: int, spacing: str
) -> None:
    method, _ = loaded(trained, steps=steps, n_samples=samples, spacing=spacing, start=349)
    calls = dict.fromkeys(("eps", "encode", "decode"), 0)
    for name in calls:
        real = getattr(DiADModel, name)

        def counted(self: DiADModel, *given: Any, name: str = name, real: Any = real) -> Any:
            calls[name] += 1
            return real(self, *given)

        monkeypatch.setattr(DiADModel, name, counted)
    method.predict(anomalous_images(2, 0)[0])
    assert calls == {"eps": steps * samples, "encode": 1, "decode": samples}


def test_an_autoencoder_alone_calls_no_denoiser_and_decodes_once(
    trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    method, notes = loaded(trained, ablation="autoencoder", n_samples=4)
    monkeypatch.setattr(DiADModel, "eps", None)
    assert torch.isfinite(method.predict(anomalous_images(2, 0)[0]).anomaly_map).all()
    assert not any("step" in note or "reconstructions" in note for note in notes)


def test_trailing_steps_begin_at_the_start_and_leading_ones_below_it() -> None:
    assert timesteps(10, 999, "trailing")[1] == [999, 899, 799, 699, 599, 499, 399, 299, 199, 99]
    assert timesteps(1, 349, "trailing")[1:] == ([349], 349)
    assert timesteps(2, 349, "trailing")[1:] == ([349, 174], 349)
    assert timesteps(2, 349)[1:] == ([201, 1], 201)
    assert timesteps(1, 349)[1:] == ([1], 1)
    for steps in range(1, 350):
        times = timesteps(steps, 349, "trailing")[1]
        assert times == sorted(set(times), reverse=True)
        assert times[0] == 349
        assert times[-1] >= 0


def test_trailing_steps_lead_back_to_the_clean_latents_if_the_noise_is_known() -> None:
    scheduler = make_scheduler()
    clean, noise = torch.randn(2, 1, 4, 8, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    noisy = scheduler.add_noise(clean, noise, torch.tensor([349]))
    for steps in (1, 2, 7):
        found = list(walk(noisy, lambda x, t: noise, steps=steps, start=349, spacing="trailing"))
        torch.testing.assert_close(found[0].x0, clean, rtol=0, atol=1e-6)
        expected = scheduler.add_noise(clean, noise, torch.tensor([0]))
        torch.testing.assert_close(found[-1].x, expected, rtol=0, atol=1e-6)


def test_the_posteriors_mean_needs_no_noise_of_its_own(trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images = anomalous_images(2, 0)[0]
    seen: list[tuple[Tensor, Tensor | None]] = []
    real = DiADModel.sample_latent

    def watched(self: DiADModel, mean: Tensor, logvar: Tensor, noise: Tensor | None) -> Tensor:
        seen.append((real(self, mean, logvar, noise), noise))
        return seen[-1][0]

    monkeypatch.setattr(DiADModel, "sample_latent", watched)
    for seed in (0, 1):
        loaded(trained, seed, posterior="mean")[0].predict(images)
    for seed in (0, 1):
        loaded(trained, seed)[0].predict(images)
    assert torch.equal(seen[0][0], seen[1][0])
    assert seen[0][1] is None
    assert not torch.equal(seen[2][0], seen[3][0])
    mean, _ = loaded(trained)[0]._encode(images)
    assert torch.equal(seen[0][0], loaded(trained)[0].model.config.scale * mean)


def test_the_map_of_several_noises_is_the_mean_of_single_ones(trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images = anomalous_images(2, 0)[0]
    together, reconstruction = loaded(trained, n_samples=3)[0].explain(images)
    single = loaded(trained)[0]
    outputs = [single.reconstruct(images, draw=draw) for draw in range(3)]
    assert not torch.equal(outputs[0], outputs[1])
    real, maps = DiAD.reconstruct, []
    for number in range(3):

        def fixed(self: DiAD, images: Tensor, *, draw: int = 0, number: int = number, **more: Any) -> Tensor:
            return real(self, images, draw=number, **more)

        monkeypatch.setattr(DiAD, "reconstruct", fixed)
        maps.append(single.explain(images)[0])
    torch.testing.assert_close(together, torch.stack(maps).mean(dim=0), rtol=0, atol=1e-6)
    expected = torch.stack([denormalise(output) for output in outputs]).mean(dim=0)
    torch.testing.assert_close(reconstruction, expected, rtol=0, atol=1e-5)


def test_what_is_not_the_papers_is_noted(trained: Path) -> None:
    resnet = {"backbone": "resnet50", "backbone_weights": "random"}
    _, notes = loaded(trained, steps=10, **resnet)
    assert not any("paper" in note or "starts" in note for note in notes)
    changes: dict[str, tuple[Any, str]] = {
        "steps": (1, "denoises in 1 step (the paper: 10)"),
        "start": (349, "starts from noise level 349"),
        "spacing": ("trailing", "counted down from the start (the paper: up from level 1)"),
        "n_samples": (2, "means over 2 reconstructions (the paper: 1)"),
        "posterior": ("mean", "from the posterior's mean (the paper: a sample)"),
        "levels": ([2, 3], "compares feature levels 2, 3 (the paper: 1, 2, 3)"),
    }
    for name, (value, said) in changes.items():
        _, found = loaded(trained, **{"steps": 10, **resnet, name: value})
        assert next(note for note in found if note not in notes).endswith(said)
    _, found = loaded(trained, steps=10)
    assert "DiAD compares features of tf_efficientnet_lite0 (the paper: resnet50)" in found


def test_each_option_changes_the_identity_and_defaults_leave_earlier_ones() -> None:
    def identity(**options: Any) -> str:
        found = resolve_method("diad", {**TINY, **options})
        return digest(with_contents(deciding_options(found.options, found.info)))

    changes: list[dict[str, Any]] = [
        {}, {"steps": 4}, {"start": 349}, {"spacing": "trailing"}, {"n_samples": 2}, {"posterior": "mean"},
        {"levels": [2, 3]}, {"backbone": "tf_efficientnet_lite1"}, {"sff_init": "official"},
    ]  # fmt: skip
    assert len({identity(**change) for change in changes}) == len(changes)
    assert identity(spacing="leading", posterior="sample") == identity()
    found = resolve_method("diad", TINY)
    before = {key: value for key, value in found.options.items() if key not in ("spacing", "posterior")}
    assert deciding_options(found.options, found.info) == deciding_options(
        before, {"technical": ["checkpoint_minutes"]}
    )


def test_every_entry_of_the_grid_is_an_option_of_diad() -> None:
    for label, spec in load_grid("diad-further").methods.items():
        resolved = resolve_method(spec.method, spec.options, f"methods.{label}")
        assert resolved.options.items() >= spec.options.items()


@pytest.mark.parametrize(("fast", "slow"), [("diad-fast", "diad"), ("diad-fast-tiny", "diad-tiny")])
def test_the_fast_presets_differ_from_theirs_in_sampling_alone(fast: str, slow: str) -> None:
    options = {}
    for name in (fast, slow):
        spec = parse_grid({"name": "x", "methods": {name: {}}, "datasets": {"toy": {}}}).methods[name]
        options[name] = resolve_method(spec.method, spec.options).options
    differ = {key: value for key, value in options[fast].items() if value != options[slow][key]}
    assert {**differ, "start": options[fast]["start"]} == {
        **({"n_samples": 1} if slow == "diad-tiny" else {}),
        "steps": 2,
        "start": 349,
        "spacing": "trailing",
    }
    notes = sampling_notes(*(options[fast][key] for key in ("steps", "start", "spacing", "n_samples", "posterior")))
    assert len(notes) == 3
    assert set(differ) <= set(CATALOG["diad"].info.predicting)
