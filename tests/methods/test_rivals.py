"""Presets of anomalib's models: the authors' settings, resolved offline; and what is said where anomalib departs."""

from __future__ import annotations

import inspect
from importlib.resources import files
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import timm
import torch

from diadbench.benchmark.planning.grid import load_grid
from diadbench.benchmark.planning.plan import make_plan
from diadbench.benchmark.records.store import RunDirectory
from diadbench.common.errors import UserError
from diadbench.methods.anomalib_models.bridge import bridge
from diadbench.methods.anomalib_models.departures import DEPARTURES, READ_IN, departure_notes, departures_table
from diadbench.methods.anomalib_models.input_size import choose_input
from diadbench.methods.anomalib_models.place import find_place
from diadbench.methods.anomalib_models.training_run import _schedule_by_step
from diadbench.methods.authoring.small_data import small_train
from diadbench.methods.base import RunContext

#: preset -> model, size of the images, size of the model's input, options that are the authors' settings
PRESETS: dict[str, tuple[str, int, int, dict[str, Any]]] = {
    "dinomaly": (
        "Dinomaly",
        448,
        392,
        {
            "encoder_name": "vit_base_patch14_reg4_dinov2.lvd142m",
            "max_steps": 10_000,
            "max_epochs": -1,
            "batch_size": 16,
            "bottleneck_dropout": 0.2,
        },
    ),
    "inp-former": (
        "InpFormer",
        448,
        392,
        {
            "encoder_name": "vit_base_patch14_reg4_dinov2.lvd142m",
            "max_epochs": 200,
            "max_steps": -1,
            "batch_size": 16,
            "inp_num": 6,
        },
    ),
    "rd4ad": (
        "ReverseDistillation",
        256,
        256,
        {"backbone": "wide_resnet50_2", "tag": "tv_in1k", "max_epochs": 200, "batch_size": 16},
    ),
    "supersimplenet": (
        "Supersimplenet",
        256,
        256,
        {"backbone": "wide_resnet50_2.tv_in1k", "max_epochs": 300, "batch_size": 32, "perlin_threshold": 0.2},
    ),
    "anomalydino": ("AnomalyDINO", 448, 448, {"encoder_name": "vit_small_patch14_dinov2.lvd142m", "num_neighbours": 1}),
    "rad": (
        "Rad",
        512,
        448,
        {"backbone": "vit_base_patch16_dinov3.lvd1689m", "layers": [3, 6, 9, 11], "k_image": 150, "pos_radius": 1},
    ),
}
CONFIGS = Path(str(files("diadbench.configs") / "methods"))
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


# -- departures ---------------------------------------------------------------------------------------------------


def test_the_docs_have_the_departures() -> None:
    text = (Path(__file__).parents[2] / "docs" / "methods.md").read_text(encoding="utf-8")
    assert departures_table() in text, "python -m diadbench.methods.anomalib_models.departures prints the table"
    assert READ_IN in text


def test_departures_are_those_of_the_installed_anomalib() -> None:
    """Where anomalib mends one of them, this fails: then the table must change."""
    from anomalib.models.components import GaussianBlur2d
    from anomalib.models.image.anomaly_dino.lightning_model import AnomalyDINO
    from anomalib.models.image.dinomaly import lightning_model as dinomaly
    from anomalib.models.image.dinomaly.torch_model import DecoderViTBlock, DinomalyModel
    from anomalib.models.image.inp_former import lightning_model as inp_former
    from anomalib.models.image.inp_former.torch_model import InpFormerModel
    from anomalib.models.image.rad.torch_model import RadModel
    from anomalib.models.image.supersimplenet.torch_model import SupersimplenetModel

    assert set(DEPARTURES) == {model for model, *_ in PRESETS.values()}
    assert dinomaly.TRAINING_CONFIG["optimizer"]["eps"] == 1e-8
    assert inp_former.TRAINING_CONFIG["optimizer"]["eps"] == 1e-10
    for module in (dinomaly, inp_former):
        assert "return [optimizer], [lr_scheduler]" in inspect.getsource(module), "moved once an epoch by Lightning"
    assert "bias=False" in inspect.getsource(DecoderViTBlock)
    assert "anomaly_map=anomaly_map_resized" in inspect.getsource(DinomalyModel.forward), "kept before the blur"
    assert "size=DEFAULT_RESIZE_SIZE" not in inspect.getsource(InpFormerModel.forward)
    assert "size=output_size" in inspect.getsource(RadModel._score)
    assert "anomaly_map.sigmoid()" in inspect.getsource(SupersimplenetModel.forward)
    assert inspect.signature(AnomalyDINO).parameters["masking"].default is False
    blur = GaussianBlur2d(sigma=4, channels=1, kernel_size=5)
    assert float(blur(torch.ones(1, 1, 8, 8)).min()) == pytest.approx(1.0), "zeros around would darken the border"


def test_a_note_leaves_out_what_the_options_mend() -> None:
    plain, mended = (departure_notes("Dinomaly", {"lr_interval": value})[0] for value in ("model", "step"))
    assert "once an epoch" in plain
    assert "once an epoch" not in mended
    assert "neither resized to 256 nor blurred" in mended
    assert departure_notes("Padim", {}) == []
