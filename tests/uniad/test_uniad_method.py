"""UniAD as a method: presets, cache, resume, save and load, the authors' checkpoints."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from diadbench.common.errors import UserError
from diadbench.methods.authoring.small_data import SmallData
from diadbench.methods.base import RunContext
from diadbench.methods.uniad import UniAD
from diadbench.methods.uniad.settings import PRESETS, resolve

GOLDEN = Path(__file__).parents[1] / "golden" / "uniad"
TINY: dict[str, Any] = {
    "backbone": "tf_efficientnet_lite0",
    "weights": "random",
    "steps": 6,
    "neighbor_size": 3,
    "hidden": 16,
    "heads": 2,
    "encoder_layers": 1,
    "decoder_layers": 1,
    "feedforward": 16,
    "batch_size": 4,
}


class Killed(Exception):
    pass


def small_data(classes: int = 2) -> SmallData:
    images = torch.rand(10, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    return SmallData(images, torch.arange(10) % classes, [f"c{i}" for i in range(classes)])


def fit(
    tmp_path: Path, kill_at: int | None = None, name: str = "run", seed: int = 0, classes: int = 2, **options: Any
) -> tuple[UniAD, RunContext]:
    def progress(done: int, total: int, what: str) -> None:
        if what == "train" and done == kill_at:
            raise Killed

    directory = tmp_path / name
    directory.mkdir(exist_ok=True)
    data = small_data(classes)
    run = RunContext(
        seed, torch.device("cpu"), (64, 64), data.class_names, directory, tmp_path / "cache", progress=progress
    )
    method = UniAD(**{**TINY, **options})
    method.fit(data, run)
    return method, run


def maps(method: UniAD, count: int = 3) -> Tensor:
    return method.predict(torch.rand(count, 3, 64, 64, generator=torch.Generator().manual_seed(1))).anomaly_map


def test_presets_are_the_two_published_ones() -> None:
    official, ader = PRESETS["official"], PRESETS["ader"]
    assert (official.neighbor_size, official.clip, official.epochs, official.padding) == (7, 0.1, 1000, "official")
    assert (ader.neighbor_size, ader.clip, ader.epochs, ader.padding) == (9, 5.0, 100, "timm")
    assert official.budget(3629).steps == 454_000
    assert official.budget(3629).whole_epochs
    assert ader.budget(3629).steps == 45_300
    assert round(official.lr_drop * 1000) == 801, "the authors' scheduler lags one epoch"
    assert resolve("ader", {"epochs": 300}).budget(3629).steps == 135_900
    assert UniAD(steps=5).settings.budget(100).steps == 5
    assert UniAD("ader", clip=1.0).settings.clip == 1.0


@pytest.mark.parametrize(
    "wrong",
    [{"preset": "oficial"}, {"steps": 3, "epochs": 3}, {"steps": 0}, {"lr": -1.0}, {"lr_drop": 1.5}, {"hidden": 30}],
)
def test_wrong_options_are_said(wrong: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=r"uniad|UniAD"):
        UniAD(**wrong)


@pytest.mark.parametrize(
    ("size", "options", "message"),
    [
        ((56, 64), {}, "multiples of 16"),
        ((64, 64), {"neighbor_size": 7}, "hides all"),
        ((64, 64), {"padding": "official"}, "tf_efficientnet_b0 to b7"),
    ],
)
def test_what_does_not_fit_the_images_is_said(
    tmp_path: Path, size: tuple[int, int], options: dict[str, Any], message: str
) -> None:
    run = RunContext(0, torch.device("cpu"), size, ("a",), tmp_path, tmp_path)
    images = SmallData(torch.rand(4, 3, *size), torch.zeros(4, dtype=torch.int64), ["a"])
    with pytest.raises(UserError, match=message):
        UniAD(**{**TINY, **options}).fit(images, run)


def test_fit_predict_save_load(tmp_path: Path) -> None:
    method, run = fit(tmp_path)
    assert run.notes == [
        "random backbone weights",
        "padding as timm has it: the authors' is for tf_efficientnet_b0 to b7",
    ]
    assert run.extras["steps"] == 6
    assert run.extras["loss"] > 0
    assert run.extras["half_precision_error"] < 5e-4
    assert run.extras["settings"]["neighbor_size"] == 3
    images = torch.rand(5, 3, 64, 64)
    whole = method.predict(images)
    assert whole.anomaly_map.shape == (5, 64, 64)
    assert whole.score.shape == (5,)
    assert whole.anomaly_map.isfinite().all()
    single = torch.cat([method.predict(image[None]).anomaly_map for image in images])
    torch.testing.assert_close(single, whole.anomaly_map, rtol=1e-4, atol=1e-4)
    (tmp_path / "saved").mkdir()
    method.save(tmp_path / "saved")
    loaded = UniAD(**TINY)
    loaded.load(tmp_path / "saved", run)
    assert torch.equal(loaded.predict(images).anomaly_map, whole.anomaly_map)
    assert loaded.parameters_count() == method.parameters_count()


def test_weights_of_another_backbone_are_refused(tmp_path: Path) -> None:
    method, run = fit(tmp_path, steps=1)
    (tmp_path / "saved").mkdir()
    method.save(tmp_path / "saved")
    said = json.loads((tmp_path / "saved/uniad.json").read_text())
    (tmp_path / "saved/uniad.json").write_text(json.dumps({**said, "digest": "0" * 64}))
    with pytest.raises(UserError, match="same backbone and weights"):
        UniAD(**TINY).load(tmp_path / "saved", run)
    with pytest.raises(UserError, match="other options"):
        UniAD(**{**TINY, "hidden": 32}).load(tmp_path / "saved", run)


def test_a_killed_training_ends_with_the_same_bits(tmp_path: Path) -> None:
    whole = maps(fit(tmp_path, name="whole")[0])
    with pytest.raises(Killed):
        fit(tmp_path, kill_at=4, name="killed", checkpoint_minutes=0.0)
    resumed, run = fit(tmp_path, name="killed")
    assert torch.equal(maps(resumed), whole)
    assert run.extras["steps"] == 6


def test_seed_decides(tmp_path: Path) -> None:
    first, again, other = (maps(fit(tmp_path, name=str(i), seed=seed)[0]) for i, seed in enumerate((3, 3, 4)))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_cache_is_shared_and_close_to_training_without_it(tmp_path: Path) -> None:
    cached = maps(fit(tmp_path, name="a")[0])
    (file,) = (tmp_path / "cache/features").glob("*/data.bin")
    assert file.stat().st_size == 10 * 192 * 4 * 4 * 2
    stamp = file.stat().st_mtime_ns
    fit(tmp_path, name="b", seed=1)
    assert file.stat().st_mtime_ns == stamp
    uncached = maps(fit(tmp_path, name="c", cache=False)[0])
    assert not torch.equal(cached, uncached)
    assert ((cached - uncached).abs().mean() / uncached.mean()).item() < 0.01


def test_one_class_and_steps_by_epochs(tmp_path: Path) -> None:
    _, run = fit(tmp_path, classes=1, steps=None, epochs=2)
    assert run.extras["steps"] == 6  # ten images in batches of four: 4, 4, 2


@pytest.fixture(scope="module")
def official_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file as the authors' trainer writes it, with the full list of keys."""
    keys = json.loads((GOLDEN / "official_mvtec_full_keys.json").read_text())
    assert len(keys) == 838
    generator = torch.Generator().manual_seed(0)
    state = {}
    for key, shape in keys.items():
        value = torch.zeros(shape, dtype=torch.int64) if "num_batches" in key else None
        state["module." + key] = torch.randn(shape, generator=generator) * 0.02 if value is None else value
        if key.endswith("running_var"):
            state["module." + key] = state["module." + key].abs() + 0.5
    path = tmp_path_factory.mktemp("official") / "ckpt_best.pth.tar"
    content = {"epoch": 990, "arch": "uniad", "state_dict": state, "best_metric": 0.97, "optimizer": {"state": {}}}
    torch.save(content, path)
    return path


def test_official_checkpoint_loads_whole_and_says_what_it_did_not_use(
    tmp_path: Path, official_checkpoint: Path
) -> None:
    run = RunContext(0, torch.device("cpu"), (224, 224), ("a",), tmp_path, tmp_path)
    images = SmallData(torch.rand(1, 3, 224, 224), torch.zeros(1, dtype=torch.int64), ["a"])
    method = UniAD(checkpoint=str(official_checkpoint))
    method.fit(images, run)
    report = method.report
    assert report is not None
    assert report.head == 132
    assert report.head + report.backbone + len(report.unused) == 838
    assert all(
        key.startswith(("backbone._blocks.", "backbone._conv_head", "backbone._bn1", "backbone._fc"))
        for key in report.unused
    )
    assert {key.split(".")[2] for key in report.unused if "_blocks" in key} == {str(i) for i in range(22, 32)}
    assert "not used: backbone._blocks.*" in str(report)
    assert run.extras["checkpoint"] == str(report)
    assert "weights from ckpt_best.pth.tar: trained elsewhere, the file doesn't say how" in run.notes
    state = torch.load(official_checkpoint, weights_only=True)["state_dict"]
    assert torch.equal(method.fitted().head.input_proj.weight, state["module.reconstruction.input_proj.weight"])
    prediction = method.predict(torch.rand(1, 3, 224, 224))
    assert prediction.anomaly_map.shape == (1, 224, 224)
    assert prediction.anomaly_map.isfinite().all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda state: state.pop("module.reconstruction.input_proj.bias"), "1 key .*missing input_proj.bias"),
        (lambda state: state.pop("module.backbone._conv_stem.weight"), "1 key .*missing conv_stem.weight"),
        (lambda state: state.update({"module.reconstruction.extra": torch.zeros(1)}), "1 key .*unexpected extra"),
        (lambda state: state.update({"module.backbone._extra": torch.zeros(1)}), "none of tf_efficientnet_b4"),
        (lambda state: state.update({"module.neck.weight": torch.zeros(1)}), "expected keys under backbone"),
        (
            lambda state: state.update({"module.reconstruction.input_proj.bias": torch.zeros(3)}),
            r"input_proj.bias: has shape \(3,\), expected \(256,\)",
        ),
    ],
)
def test_a_checkpoint_that_does_not_fit_is_refused(
    tmp_path: Path, official_checkpoint: Path, change: Any, message: str
) -> None:
    content = torch.load(official_checkpoint, weights_only=True)
    change(content["state_dict"])
    torch.save(content, tmp_path / "broken.pth")
    run = RunContext(0, torch.device("cpu"), (224, 224), ("a",), tmp_path, tmp_path)
    images = SmallData(torch.rand(1, 3, 224, 224), torch.zeros(1, dtype=torch.int64), ["a"])
    with pytest.raises(UserError, match=message):
        UniAD(checkpoint=str(tmp_path / "broken.pth")).fit(images, run)


@pytest.mark.parametrize("content", [None, b"no tensors", [1, 2]])
def test_a_file_that_is_no_checkpoint_is_said(tmp_path: Path, content: Any) -> None:
    path = tmp_path / "ckpt.pth"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        torch.save(content, path)
    run = RunContext(0, torch.device("cpu"), (224, 224), ("a",), tmp_path, tmp_path)
    with pytest.raises(UserError, match="uniad checkpoint"):
        UniAD(checkpoint=str(path)).fit(small_data(), run)


def test_half_precision_and_clipping_go_together(tmp_path: Path) -> None:
    """Lightning refuses to clip gradients of a fused optimiser under mixed precision; every preset clips."""
    method, _ = fit(tmp_path, precision="bf16-mixed", clip=0.1)
    assert maps(method).isfinite().all()
