"""Presets of anomalib's models: the authors' settings, resolved offline; and what is said where anomalib departs."""

from __future__ import annotations

import re
from importlib.resources import files
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import timm
import torch

from diadbench.benchmark.planning.grid import load_grid, method_presets
from diadbench.benchmark.planning.plan import make_plan
from diadbench.benchmark.planning.resolving.resolve import resolve_method
from diadbench.benchmark.records.identity import deciding_options
from diadbench.benchmark.records.store import RunDirectory
from diadbench.cli import main
from diadbench.common.errors import UserError
from diadbench.methods.anomalib_models.bridge import bridge
from diadbench.methods.anomalib_models.input_size import choose_input
from diadbench.methods.anomalib_models.names import model_names
from diadbench.methods.anomalib_models.place import find_place
from diadbench.methods.anomalib_models.training_run import (
    NormalImages,
    _optimizers,
    _schedule_by_step,
    _set_adam,
)
from diadbench.methods.authoring.small_data import small_train
from diadbench.methods.base import RunContext
from diadbench.methods.registry import INSTEAD
from tests.helpers.rival_presets import PRESETS

CONFIGS = Path(str(files("diadbench.configs") / "methods"))
#: What is laid over a preset to train it here, and the authors' optimizer: its name, what its groups have, the clip.
_STABLE = {"betas": (0.9, 0.999), "weight_decay": 1e-4, "amsgrad": True, "eps": 1e-10}
_VIT = {"encoder_name": "vit_small_patch14_reg4_dinov2", "max_steps": 300}
_RESNET = {"backbone": "resnet18"}
TRAINED: dict[str, tuple[dict[str, Any], str, list[dict[str, Any]], float]] = {
    "dinomaly": (_VIT, "StableAdamW", [_STABLE], 0.1),
    "inp-former": ({**_VIT, "max_epochs": -1}, "StableAdamW", [_STABLE], 0.1),
    "rd4ad": (
        {**_RESNET, "tag": ""},
        "Adam",
        [{"lr": 5e-3, "betas": (0.5, 0.999), "eps": 1e-8, "weight_decay": 0, "amsgrad": False}],
        0,
    ),
    "supersimplenet": (
        _RESNET,
        "AdamW",
        [{"lr": 1e-4, "weight_decay": 1e-2}, {"lr": 2e-4, "weight_decay": 1e-5}],
        0,
    ),
}
#: learning rates of the authors' code: those of the optimizer, and what the schedule ends with
RATES = {"Dinomaly": (2e-3, 2e-4), "InpFormer": (1e-3, 1e-4)}


@pytest.fixture
def run(tmp_path: Path) -> RunContext:
    return RunContext(0, torch.device("cpu"), (64, 64), ("a", "b"), tmp_path, tmp_path / "cache")


def test_presets_resolve_to_the_authors_settings(tmp_path: Path) -> None:
    """As ``--dry-run`` does: the plan of a grid, without a network."""
    import anomalib.models

    path = tmp_path / "rivals.yaml"
    names = "".join(f"  {name}:\n" for name in PRESETS)
    path.write_text(f"methods:\n{names}datasets:\n  toy: {{options: {{train: 1, size: 32}}}}\n", encoding="utf-8")
    plan = make_plan(load_grid(path), RunDirectory(tmp_path / "run", must_exist=False))
    found = {planned.cell.method.label: planned.config for planned in plan.cells}
    for name, (model, size, seen, options) in PRESETS.items():
        config = found[name]
        assert config["method"] == f"anomalib:{model}"
        assert config["setting"] == "multi-class"
        assert config["image_size"] == [size, size]
        assert config["method_options"].items() >= options.items()
        chosen = choose_input(getattr(anomalib.models, model), (size, size))
        assert not chosen.refusal
        transform = getattr(chosen.pre_processor, "transform", None)
        assert find_place(transform, (size, size)).size == (seen, seen)


@pytest.mark.parametrize("name", list(TRAINED))
def test_a_preset_is_trained_with_the_authors_optimizer_and_constants(name: str, run: RunContext) -> None:
    small, optimizer_name, groups, clip = TRAINED[name]
    method = bridge(PRESETS[name][0])(**{**method_presets()[name]["options"], **small, "weights": "random"})
    model = method._build(run)
    model._trainer = SimpleNamespace(max_steps=method.max_steps, max_epochs=method.max_epochs)
    _set_adam(model, method._adam())
    (optimizer,) = _optimizers(model.configure_optimizers())
    assert type(optimizer).__name__ == optimizer_name
    assert len(optimizer.param_groups) == len(groups)
    for group, expected in zip(optimizer.param_groups, groups):
        assert {key: group[key] for key in expected} == expected
    assert model.trainer_arguments.get("gradient_clip_val", 0) == clip
    if name in CONSTANTS:
        CONSTANTS[name](model.model)


def _two_groups_of_four(model: Any) -> None:
    assert model.target_layers == [2, 3, 4, 5, 6, 7, 8, 9]
    assert model.fuse_layer_encoder == model.fuse_layer_decoder == [[0, 1, 2, 3], [4, 5, 6, 7]]
    assert len(model.decoder) == 8
    assert tuple(model.gaussian_blur.kernel.shape[-2:]) == (5, 5)


def _dropouts(model: Any) -> set[float]:
    return {part.p for part in model.bottleneck.modules() if isinstance(part, torch.nn.Dropout)}


def _constants_of_dinomaly(model: Any) -> None:
    _two_groups_of_four(model)
    assert _dropouts(model) == {0.2}
    assert (model.loss_fn.p_final, model.loss_fn.p_schedule_steps, model.loss_fn.factor) == (0.9, 1000, 0.1)


def _constants_of_inp_former(model: Any) -> None:
    _two_groups_of_four(model)
    assert _dropouts(model) == {0.0}
    assert [tuple(token.shape) for token in model.prototype_token] == [(6, 384)]
    assert model.loss.power == 3


#: What anomalib keeps in its code and no option names.
CONSTANTS = {"dinomaly": _constants_of_dinomaly, "inp-former": _constants_of_inp_former}


def test_the_trainer_takes_what_a_preset_says_of_adam_and_the_last_batch(run: RunContext) -> None:
    options = {**method_presets()["rd4ad"]["options"], **TRAINED["rd4ad"][0], "weights": "random"}
    method = bridge("ReverseDistillation")(
        **{**options, "max_epochs": 1, "batch_size": 4, "adam_eps": 1e-7, "drop_last": True}
    )
    method.fit(small_train(2, images=3), run)
    trainer = method._model.trainer
    (optimizer,) = trainer.optimizers
    assert (optimizer.param_groups[0]["betas"], optimizer.param_groups[0]["eps"]) == ((0.5, 0.999), 1e-7)
    assert trainer.global_step == 1, "six images in batches of four"
    assert not any("betas" in note for note in run.notes)


def test_the_last_batch_is_left_out_unless_it_is_the_only_one() -> None:
    def batches(count: int, size: int, *, drop_last: bool) -> list[int]:
        data = NormalImages(small_train(1, images=count), size, 0, drop_last=drop_last)
        return [len(batch.image) for batch in data.train_dataloader()]

    assert batches(5, 2, drop_last=False) == [2, 2], "batch norms fail on one image"
    assert batches(6, 4, drop_last=False) == [4, 2]
    assert batches(6, 4, drop_last=True) == [4]
    assert batches(4, 4, drop_last=True) == [4]
    assert batches(3, 4, drop_last=True) == [3], "one image of each of few classes"


def test_options_that_came_later_change_no_result_that_was_made_before() -> None:
    resolved = resolve_method("anomalib:ReverseDistillation", {})
    deciding = deciding_options(resolved.options, resolved.info)
    assert not {"drop_last", "adam_betas", "adam_eps"} & set(deciding)
    mine = {"drop_last": True, "adam_betas": [0.5, 0.999], "adam_eps": 1e-7}
    resolved = resolve_method("anomalib:ReverseDistillation", dict(mine))
    assert deciding_options(resolved.options, resolved.info).items() >= mine.items()


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"adam_betas": [0.9]}, "two numbers"),
        ({"adam_betas": [0.9, 1.0]}, "below 1"),
        ({"adam_eps": 0.0}, "adam_eps must be above 0"),
    ],
)
def test_numbers_that_no_adam_takes_are_refused(options: dict[str, Any], text: str) -> None:
    with pytest.raises(UserError, match=text):
        resolve_method("anomalib:Dinomaly", options)


def test_a_model_without_adam_refuses_its_settings(run: RunContext) -> None:
    model = bridge("Rad")(backbone="vit_tiny_patch16_224", weights="random", layers=[1])._build(run)
    _set_adam(model, {"betas": (0.5, 0.9)})
    with pytest.raises(UserError, match="anomalib:Rad: it isn't trained with Adam; leave out adam_betas"):
        model.configure_optimizers()


# -- names that people ask for ------------------------------------------------------------------------------------

ASKED = {"SimpleNet": "supersimplenet", "dinomaly-2": "dinomaly", "UniNet": "anomalib:UniNet", "RD": "rd4ad"}


@pytest.mark.parametrize("name", ASKED)
def test_a_name_that_is_not_here_says_what_is(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    grid = tmp_path / "grid.yaml"
    grid.write_text(f"methods: [{name}]\ndatasets: {{toy: {{options: {{train: 1, size: 32}}}}}}\n", encoding="utf-8")
    for words in (["methods", "info", name], ["run", str(grid), "--out", str(tmp_path / "run"), "--dry-run"]):
        assert main(words) == 2
        told = capsys.readouterr().err
        assert told.count("\n") == 1
        assert f"unknown method {name!r}: " in told
        assert ASKED[name] in told


def test_what_is_there_instead_is_there() -> None:
    known = set(method_presets()) | {f"anomalib:{model}" for model in model_names()}
    named = {word for told in INSTEAD.values() for word in re.findall(r"anomalib:\w+|[\w-]+(?= \(a preset\))", told)}
    named |= {word for told in INSTEAD.values() for word in re.findall(r"the preset ([\w-]+)", told)}
    assert len(named) >= 5
    assert named <= known
    assert not set(INSTEAD) & known


def test_every_rival_that_is_packaged_is_checked_here() -> None:
    packaged = {path.stem: path.read_text(encoding="utf-8") for path in CONFIGS.glob("*.yaml")}
    bridged = {name for name, text in packaged.items() if "\nmethod: anomalib:" in f"\n{text}"}
    assert bridged == set(PRESETS)


def test_weights_are_named_with_tags_that_timm_has() -> None:
    known = set(timm.list_pretrained())
    for name, (_, _, _, options) in PRESETS.items():
        network = options.get("encoder_name") or ".".join(filter(None, [options["backbone"], options.get("tag", "")]))
        assert network in known, name


@pytest.mark.parametrize("name", ["Dinomaly", "InpFormer"])
def test_the_rate_follows_the_authors_schedule_at_every_step(name: str, run: RunContext) -> None:
    cls = bridge(name)
    method = cls(encoder_name="vit_small_patch14_reg4_dinov2", weights="random", max_steps=300, max_epochs=-1)
    model = method._build(run)
    model._trainer = SimpleNamespace(max_steps=300, max_epochs=-1)
    _schedule_by_step(model)
    (optimizer,), (schedule,) = model.configure_optimizers()
    assert schedule["interval"] == "step"
    rates = []
    for _ in range(300):
        rates.append(optimizer.param_groups[0]["lr"])
        schedule["scheduler"].step()
    highest, last = RATES[name]
    assert rates[0] == 0
    assert rates[99] == pytest.approx(highest)
    assert rates[-1] == pytest.approx(last, rel=0.01)
    assert max(rates) == pytest.approx(highest)


def test_rates_of_the_other_trained_models(run: RunContext) -> None:
    distillation = bridge("ReverseDistillation")(backbone="resnet18", weights="random")._build(run)
    (group,) = distillation.configure_optimizers().param_groups
    assert (group["lr"], group["betas"]) == (0.005, (0.5, 0.99))
    simple = bridge("Supersimplenet")(backbone="resnet18", weights="random", layers=["layer2", "layer3"])._build(run)
    simple._trainer = SimpleNamespace(max_epochs=300)
    (optimizer,), (schedule,) = simple.configure_optimizers()
    assert [group["lr"] for group in optimizer.param_groups] == [1e-4, 2e-4]
    assert (sorted(schedule.milestones), schedule.gamma) == ([240, 270], 0.4)


def test_a_network_is_named_by_its_tag_where_the_model_takes_none(
    run: RunContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    """ReverseDistillation's decoder knows ``wide_resnet50_2`` and no tag, so the bridge fetches the tagged weights."""
    from diadbench.methods.features import backbone_weights

    asked = []

    def state(name: str) -> dict[str, torch.Tensor]:
        asked.append(name)
        return dict(timm.create_model(name, pretrained=False).state_dict())

    monkeypatch.setattr(backbone_weights, "_hub_state", state)
    bridge("ReverseDistillation")(backbone="resnet18", tag="tv_in1k")._build(run)
    assert asked == ["resnet18.tv_in1k"]
    assert run.extras["weights"] == {"resnet18": "tv_in1k"}
    assert not any("can't load the authors'" in note for note in run.notes)
    with pytest.raises(UserError, match="names weights of the hub"):
        bridge("Rad").check_options({"tag": "x", "weights": "random"})


def test_a_training_without_an_end_is_refused() -> None:
    with pytest.raises(UserError, match="never end"):
        bridge("Dinomaly").check_options({"max_epochs": -1, "max_steps": -1})


def test_a_schedule_is_not_moved_where_there_is_none(run: RunContext) -> None:
    model = bridge("ReverseDistillation")(backbone="resnet18", weights="random")._build(run)
    _schedule_by_step(model)
    with pytest.raises(UserError, match="no learning rate schedule"):
        model.configure_optimizers()


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("ReverseDistillation", {"backbone": "resnet18", "max_epochs": 1}),
        ("Supersimplenet", {"backbone": "resnet18", "layers": ["layer2", "layer3"], "max_epochs": 1}),
        ("Rad", {"backbone": "vit_tiny_patch16_224", "layers": [3, 6]}),
        ("AnomalyDINO", {"encoder_name": "vit_small_patch14_dinov2"}),
    ],
)
def test_models_without_a_download_run_and_are_kept(
    name: str, options: dict[str, Any], run: RunContext, tmp_path: Path
) -> None:
    if name == "Supersimplenet":  # its noise needs features of 32x32
        run.image_size = (128, 128)
    method = bridge(name)(weights="random", batch_size=4, **options)
    method.fit(small_train(2, images=3), run)
    assert "random backbone weights" in run.notes
    images = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    found = method.predict(images)
    assert found.anomaly_map.shape == (2, 64, 64)
    assert torch.isfinite(found.anomaly_map).all()
    (tmp_path / "kept").mkdir()
    method.save(tmp_path / "kept")
    again = bridge(name)(weights="random", batch_size=4, **options)
    again.load(tmp_path / "kept", run)
    assert torch.equal(again.predict(images).score, found.score)


def test_what_a_network_crops_off_its_own_input_is_said(run: RunContext) -> None:
    bridge("AnomalyDINO")(encoder_name="vit_small_patch14_dinov2", weights="random")._build(run)
    (note,) = [note for note in run.notes if "network crops" in note]
    assert "from 64x64 to 56x56 and never looks at 23.4 % of it" in note
    other = RunContext(0, run.device, (56, 56), ("a",), run.directory, run.cache_dir)
    bridge("AnomalyDINO")(encoder_name="vit_small_patch14_dinov2", weights="random")._build(other)
    assert not any("network crops" in note for note in other.notes)
    third = RunContext(0, run.device, (64, 64), ("a",), run.directory, run.cache_dir)
    bridge("Patchflow")(backbone="resnet18", weights="random", crop_size=[48, 32])._build(third)
    assert any("from 64x64 to 48x32 and never looks at 62.5 % of it; there its map is -1" in n for n in third.notes)
