"""Pretrained networks are named with their tag: presets, defaults and grids; what is refused; what a result keeps."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from torch import Tensor, nn

from diadbench.benchmark.planning.grid import grid_names, load_grid, parse_grid, preset_names
from diadbench.benchmark.planning.resolving.resolve import resolve_method
from diadbench.common.errors import UserError
from diadbench.methods.anomalib_models.authors_weights import weights_found, weights_notes
from diadbench.methods.anomalib_models.bridge import bridge
from diadbench.methods.authoring.small_data import normal_images, small_train
from diadbench.methods.base import Method, RunContext
from diadbench.methods.catalog import CATALOG
from diadbench.methods.features import backbone_weights
from diadbench.methods.features.backbone_tags import AUTHORS, check_backbone, resolved_tag
from diadbench.methods.features.backbones import load_backbone
from diadbench.methods.features.feature_cache import cache_key
from diadbench.methods.patchcore.method import PatchCore
from diadbench.methods.simple.padim import Padim
from diadbench.methods.simple.trivial import GlobalKnn
from diadbench.methods.uniad.method import UniAD

#: Network and tag of each preset and of each method's defaults; package: from a PyPI package, without a tag.
PRESETS = {
    "anomalydino": "vit_small_patch14_dinov2.lvd142m",
    "dinomaly": "vit_base_patch14_reg4_dinov2.lvd142m",
    "inp-former": "vit_base_patch14_reg4_dinov2.lvd142m",
    "rad": "vit_base_patch16_dinov3.lvd1689m",
    "rd4ad": "wide_resnet50_2.tv_in1k",
    "supersimplenet": "wide_resnet50_2.tv_in1k",
    "diad": "resnet50.a1_in1k",
    "diad-fast": "resnet50.a1_in1k",
    "diad-fast-tiny": "package",
    "diad-official": "resnet50.a1_in1k",
    "diad-tiny": "package",
    "draem-tiny": None,
    "padim-lite": "package",
    "patchcore-anomalib": "wide_resnet50_2.racm_in1k",
    "patchcore-lite": "package",
    "patchcore-official": "wide_resnet50_2.tv_in1k",
    "uniad-ader": "tf_efficientnet_b4.aa_in1k",
    "uniad-official": "tf_efficientnet_b4.aa_in1k",
    "uniad-tiny": "package",
}
DEFAULTS = {
    "diad": "resnet50.a1_in1k",
    "draem": None,
    "global-knn": "wide_resnet50_2.tv_in1k",
    "mean-image": None,
    "padim": "resnet18.tv_in1k",
    "patchcore": "wide_resnet50_2.tv_in1k",
    "pixel-knn": None,
    "uniad": "tf_efficientnet_b4.aa_in1k",
}


def written(options: Mapping[str, Any]) -> str | None:
    """Network and tag as a method's complete options write them; RD4AD's tag is an option of its own."""
    name = options.get("backbone") or options.get("encoder_name")
    return f"{name}.{options['tag']}" if name and options.get("tag") else name


def named(options: Mapping[str, Any]) -> str | None:
    """Network and resolved tag that a method's complete options mean."""
    name = written(options)
    if name is None:
        return None
    source = options.get("backbone_weights") or options.get("weights", "hub")
    return f"{name.partition('.')[0]}.{resolved_tag(name)}" if source == "hub" else str(source)


@pytest.fixture
def run(tmp_path: Path) -> RunContext:
    return RunContext(0, torch.device("cpu"), (64, 64), ("stripes0", "stripes1"), tmp_path, tmp_path / "cache")


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> None:
    """A hub that has all weights: other ones for each resolved tag."""

    def state(name: str) -> dict[str, Tensor]:
        torch.manual_seed(sum(resolved_tag(name).encode()))
        return dict(timm.create_model(name, pretrained=False).state_dict())

    monkeypatch.setattr(backbone_weights, "_hub_state", state)


@pytest.fixture
def anomalib_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    """timm's downloads bring nothing, so that its own choice of weights can be seen offline."""
    monkeypatch.setattr("timm.models._builder.load_pretrained", lambda *_, **__: None)


def test_every_preset_is_listed() -> None:
    assert set(PRESETS) == set(preset_names("methods"))
    assert set(DEFAULTS) == set(CATALOG) - {"maps"}, "maps needs a folder and has no network"


@pytest.mark.parametrize("preset", PRESETS)
def test_presets_resolve_to_the_authors_weights(preset: str) -> None:
    grid = parse_grid({"name": "g", "methods": {"m": {"method": preset}}, "datasets": ["toy"]})
    spec = grid.methods["m"]
    options = resolve_method(spec.method, spec.options, "methods.m").options
    assert named(options) == PRESETS[preset]
    if PRESETS[preset] not in (None, "package"):
        assert written(options) == PRESETS[preset]


@pytest.mark.parametrize("name", DEFAULTS)
def test_defaults_name_their_tag(name: str) -> None:
    options = resolve_method(name, {}, name).options
    assert named(options) == DEFAULTS[name]
    if DEFAULTS[name] is not None:
        assert options["backbone"] == DEFAULTS[name]


def test_authors_weights_are_weights_that_timm_has() -> None:
    for architecture, (tag, _) in AUTHORS.items():
        assert timm.is_model_pretrained(f"{architecture}.{tag}")
        check_backbone(f"{architecture}.{tag}", "hub")
    assert resolved_tag("tf_efficientnet_b4") == "ns_jft_in1k", "the reason for all this"


@pytest.mark.parametrize("name", sorted(grid_names()))
def test_packaged_grids_name_their_weights(name: str) -> None:
    grid = load_grid(name)
    for label, spec in grid.methods.items():
        for dataset in grid.datasets:
            options = resolve_method(spec.method, spec.for_dataset(dataset).options, label).options
            source = options.get("backbone_weights") or options.get("weights")
            assert source != "hub" or "." in (written(options) or ".")


@pytest.mark.parametrize(
    ("method", "options", "text"),
    [
        ("uniad", {"backbone": "tf_efficientnet_b4"}, "did you mean tf_efficientnet_b4.aa_in1k (the weights of UniAD"),
        ("uniad", {"backbone": "tf_efficientnet_b4"}, "timm would take ns_jft_in1k unasked"),
        (
            "patchcore",
            {"backbone": "wide_resnet50_2"},
            "did you mean wide_resnet50_2.tv_in1k (the weights of PatchCore",
        ),
        ("global-knn", {"backbone": "resnet34"}, "timm has the tags a1_in1k, a2_in1k, a3_in1k, bt_in1k"),
        ("padim", {"backbone": "resnet18"}, "did you mean resnet18.tv_in1k"),
        ("diad", {"backbone": "resnet50"}, "did you mean resnet50.a1_in1k (the weights of DiAD)?"),
        ("patchcore", {"backbone": "tf_efficientnet_lite0"}, "did you mean tf_efficientnet_lite0.in1k?"),
        ("patchcore", {"backbone": "resnet18.tv_ink"}, "unknown weights of resnet18 'tv_ink'; did you mean tv_in1k"),
        ("patchcore", {"backbone": "resnet19"}, "unknown backbone 'resnet19'"),
    ],
)
def test_names_without_a_tag_are_refused_before_anything_runs(method: str, options: dict[str, Any], text: str) -> None:
    with pytest.raises(UserError) as caught:
        resolve_method(method, options, f"methods.{method}")
    assert str(caught.value).startswith(f"methods.{method}: ")
    assert text in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("weights", ["random", "package", "some/file.pth"])
def test_what_is_not_from_the_hub_needs_no_tag(weights: str) -> None:
    resolve_method("patchcore", {"backbone": "tf_efficientnet_lite0", "weights": weights}, "m")
    resolve_method("diad", {"backbone": "tf_efficientnet_lite0", "backbone_weights": weights}, "m")


def test_a_checkpoint_that_brings_the_backbone_needs_no_tag() -> None:
    resolve_method("uniad", {"backbone": "tf_efficientnet_b4", "checkpoint": "ckpt.pth.tar"}, "m")


@pytest.mark.usefixtures("hub", "anomalib_hub")
@pytest.mark.parametrize(
    "method",
    [
        GlobalKnn("resnet18"),
        PatchCore("resnet18", levels=(2,)),
        UniAD(backbone="resnet18", layers=(1, 2), steps=1, hidden=16, heads=2),
        Padim("resnet18"),
    ],
    ids=lambda method: type(method).__name__,
)
def test_fitting_refuses_it_too(method: Method, run: RunContext) -> None:
    with pytest.raises(UserError, match=r"expected model\.tag, found 'resnet18'"):
        method.fit(small_train(1, images=2), run)


@pytest.mark.usefixtures("hub")
def test_models_that_were_trained_without_a_tag_are_read(run: RunContext, tmp_path: Path) -> None:
    method = GlobalKnn("resnet10t.c3_in1k")
    method.fit(small_train(1, images=2), run)
    kept = tmp_path / "kept"
    kept.mkdir()
    method.save(kept)
    old = GlobalKnn("resnet10t")
    old.load(kept, run)
    images = normal_images(2, 0)
    assert torch.equal(old.predict(images).score, method.predict(images).score)


@pytest.mark.usefixtures("hub")
def test_the_tag_stands_beside_the_result(run: RunContext) -> None:
    for method, source in (
        (GlobalKnn("resnet10t.c3_in1k"), "c3_in1k"),
        (GlobalKnn("resnet10t", "random"), "random"),
    ):
        run.extras.clear()
        method.fit(small_train(1, images=2), run)
        assert run.extras["weights"] == {"resnet10t": source}
        assert len(run.extras["backbone_digest"]) == 64


@pytest.mark.usefixtures("hub")
def test_caches_tell_tags_apart() -> None:
    first, second = (load_backbone(f"resnet18.{tag}", out_indices=(1,)) for tag in ("tv_in1k", "a1_in1k"))
    assert first.digest != second.digest
    train = small_train(1, images=2)
    cpu = torch.device("cpu")
    assert cache_key(train, cpu, digest=first.digest) != cache_key(train, cpu, digest=second.digest)


# -- anomalib, which names its networks itself --------------------------------------------------------------------


@pytest.mark.usefixtures("anomalib_hub")
@pytest.mark.parametrize(
    ("name", "found", "noted"),
    [
        ("Patchcore", {"wide_resnet50_2": "racm_in1k"}, True),
        ("Stfpm", {"resnet18": "a1_in1k"}, True),
        ("Supersimplenet", {"wide_resnet50_2": "tv_in1k"}, False),
        ("Dinomaly", {"vit_base_patch14_reg4_dinov2": "lvd142m"}, False),
        ("Dfkde", {"resnet18": "a1_in1k"}, False),
    ],
)
def test_anomalibs_weights_are_said(name: str, found: dict[str, str], noted: bool, run: RunContext) -> None:
    bridge(name)()._build(run)
    assert run.extras["weights"] == found
    said = [note for note in run.notes if "the authors' are" in note]
    assert len(said) == noted
    assert all(f"{architecture}.{tag};" in note for note in said for architecture, tag in found.items())


@pytest.mark.usefixtures("anomalib_hub")
def test_the_authors_weights_can_be_asked_of_anomalib(run: RunContext) -> None:
    bridge("Patchcore")(backbone="wide_resnet50_2.tv_in1k")._build(run)
    assert run.extras["weights"] == {"wide_resnet50_2": "tv_in1k"}
    assert run.notes == []


@pytest.mark.usefixtures("anomalib_hub")
def test_padim_takes_its_tag_through_the_bridge(run: RunContext) -> None:
    method = Padim()
    method.fit(small_train(1, images=4), run)
    assert run.extras["weights"] == {"resnet18": "tv_in1k"}
    assert run.notes == []


def test_torchvisions_weights_have_torchvisions_names() -> None:
    found = weights_found("Cfa", nn.Identity(), {"backbone": "wide_resnet50_2"})
    assert found == {"wide_resnet50_2": "IMAGENET1K_V2"}
    assert weights_notes("Cfa", found) == [
        "Cfa with anomalib's weights wide_resnet50_2.IMAGENET1K_V2; the authors' are wide_resnet50_2.tv_in1k"
    ]
    assert weights_notes("UniNet", found) == []


def test_weights_of_our_own_are_said_as_such(run: RunContext) -> None:
    bridge("Patchcore")(backbone="tf_efficientnet_lite0", weights="package", layers=["blocks.2"])._build(run)
    assert run.extras["weights"] == {"tf_efficientnet_lite0": "package"}
