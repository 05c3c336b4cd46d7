"""Whatever reads weights: a part that is missing is an error or a note, never nothing."""

from __future__ import annotations

import ast
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from diadbench.common.errors import UserError
from diadbench.methods import diad
from diadbench.methods.authoring.small_data import small_train
from diadbench.methods.base import Method, RunContext
from diadbench.methods.diad import checkpoints as diad_weights
from diadbench.methods.diad.method import DiAD
from diadbench.methods.features import backbones
from diadbench.methods.features.weights import load_weights
from diadbench.methods.patchcore.method import PatchCore
from diadbench.methods.simple.trivial import MeanImage, PixelKnn
from diadbench.methods.uniad import UniADHead
from diadbench.methods.uniad.head import HeadConfig
from diadbench.methods.uniad.official import load_head

ROOT = Path(__file__).resolve().parents[2]
State = dict[str, Tensor]
#: What a loader gets: a place to write the state to, the state. It returns the notes.
Load = Callable[[Path, State], list[str]]
LITE: dict[str, Any] = {"backbone": "tf_efficientnet_lite0", "backbone_weights": "package", "size": "tiny"}


def run_in(place: Path) -> RunContext:
    return RunContext(0, torch.device("cpu"), (64, 64), ("a", "b"), place, place / "cache")


def text_encoder() -> State:
    from transformers import CLIPTextConfig, CLIPTextModel

    config = CLIPTextConfig(vocab_size=49408, hidden_size=32, intermediate_size=64, num_hidden_layers=1)
    prefix = "cond_stage_model.transformer.text_model."
    return {
        prefix + key.removeprefix("text_model."): value for key, value in CLIPTextModel(config).state_dict().items()
    }


def whole() -> State:
    torch.manual_seed(0)
    return {**diad.official_state(diad.DiADModel(diad.SIZES["tiny"])), **text_encoder()}


def plain() -> State:
    return {key: value for key, value in whole().items() if not key.startswith("control_model.")}


def written(place: Path, state: State) -> Path:
    path = place / "weights.safetensors"
    save_file({key: value.detach().clone().contiguous() for key, value in state.items()}, path)
    return path


def as_checkpoint(place: Path, state: State) -> list[str]:
    run = run_in(place)
    DiAD(**LITE, checkpoint=str(written(place, state))).start_model(run)
    return run.notes


def as_stable_diffusion(place: Path, state: State) -> list[str]:
    run = run_in(place)
    DiAD(**LITE, weights=str(written(place, state))).start_model(run)
    return run.notes


def as_autoencoder(place: Path, state: State) -> list[str]:
    run = run_in(place)
    DiAD(**LITE, weights="random", autoencoder=str(written(place, state))).start_model(run)
    return run.notes


def as_kept(place: Path, state: State) -> list[str]:
    (place / "model.json").write_text(json.dumps(diad.SIZES["tiny"].to_dict()))
    save_file(state, place / "model.safetensors")
    run = run_in(place)
    DiAD(**LITE).load(place, run)
    return run.notes


def as_head(place: Path, state: State) -> list[str]:
    load_head(UniADHead(HEAD), state)
    return []


def as_module(place: Path, state: State) -> list[str]:
    save_file(state, place / "weights.safetensors")
    load_weights(small_module(), place)
    return []


def as_backbone(place: Path, state: State) -> list[str]:
    path = written(place, state)
    return backbones.load_backbone("resnet18", weights=str(path), out_indices=(1, 2)).notes


def bank_of(method: Method, file: str) -> Load:
    def load(place: Path, state: State) -> list[str]:
        save_file(state, place / file)
        run = run_in(place)
        method.load(place, run)
        return run.notes

    return load


def small_module() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))


def autoencoder() -> State:
    return {key: value for key, value in whole().items() if key.startswith("first_stage_model.")}


HEAD = HeadConfig(inplanes=8, feature_size=(8, 8), hidden_dim=32, num_encoder_layers=1, num_decoder_layers=1)

LOADERS: dict[str, tuple[Load, Callable[[], State]]] = {
    "diad checkpoint": (as_checkpoint, whole),
    "diad weights": (as_stable_diffusion, plain),
    "diad autoencoder": (as_autoencoder, autoencoder),
    "diad kept": (as_kept, lambda: dict(diad.DiADModel(diad.SIZES["tiny"]).state_dict())),
    "uniad head": (as_head, lambda: dict(UniADHead(HEAD).state_dict())),
    "a method's module": (as_module, lambda: dict(small_module().state_dict())),
    "backbone": (as_backbone, lambda: dict(backbones.timm.create_model("resnet18").state_dict())),
    "pixel-knn": (bank_of(PixelKnn(), "bank.safetensors"), lambda: {"bank": torch.ones(2, 3)}),
    "mean-image": (bank_of(MeanImage(), "mean.safetensors"), lambda: {"mean": torch.ones(3, 8, 8)}),
    "patchcore": (
        bank_of(PatchCore("tf_efficientnet_lite0", "package", (1, 2)), "bank.safetensors"),
        lambda: {"bank": torch.ones(2, 3)},
    ),
}
#: Parts that make no difference.
UNUSED = {
    # what no level in use needs, and a counter that evaluation doesn't read
    "backbone": ("layer3", "layer4", "fc", "bn1.num_batches_tracked"),
    # the size that was asked for has the same
    "diad weights": ("scale_factor",),
}


def groups(state: State) -> list[str]:
    return sorted({".".join(key.split(".")[:2]) for key in state})


def what_is_said(load: Load, place: Path, state: State, before: list[str]) -> str:
    """Return the error of a loader, or the notes that it has besides those that it had before."""
    try:
        return ", ".join(set(load(place, state)) - set(before))
    except UserError as error:
        return str(error)


@pytest.mark.parametrize("name", LOADERS)
def test_a_missing_part_is_an_error_or_a_note(name: str, tmp_path: Path) -> None:
    load, make = LOADERS[name]
    state = make()
    (tmp_path / "whole").mkdir()
    before = load(tmp_path / "whole", state)
    for number, group in enumerate(groups(state)):
        if group.startswith(UNUSED.get(name, ())):
            continue
        place = tmp_path / str(number)
        place.mkdir()
        less = {key: value for key, value in state.items() if ".".join(key.split(".")[:2]) != group}
        told = what_is_said(load, place, less, before)
        assert told, f"{name}: without {group} nothing is said"
        assert "\n" not in told
        assert len(told) < 1500


@pytest.mark.parametrize("name", [name for name in LOADERS if "knn" not in name and "image" not in name])
def test_a_part_that_nobody_knows_is_an_error(name: str, tmp_path: Path) -> None:
    load, make = LOADERS[name]
    prefix = "first_stage_model." if name == "diad autoencoder" else ""
    with pytest.raises(UserError):
        load(tmp_path, {**make(), f"{prefix}strange.part": torch.ones(2)})


def test_no_loader_lets_keys_pass() -> None:
    """``strict=False`` drops keys in silence."""
    calls = [
        (path.name, node.lineno)
        for path in (ROOT / "methods").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "load_state_dict"
        for keyword in node.keywords
        if keyword.arg == "strict" and getattr(keyword.value, "value", None) is not True
    ]
    assert not calls


# -- what Stable Diffusion files look like --------------------------------------------------------------------------


def test_every_form_of_the_text_encoder(tmp_path: Path) -> None:
    state = plain()
    short = {key.replace("text_model.", ""): value for key, value in state.items()}
    positions = {"cond_stage_model.transformer.text_model.embeddings.position_ids": torch.arange(77)[None]}
    config = diad.SIZES["tiny"]
    found = []
    for number, form in enumerate((state, short, {**state, **positions}, {f"module.{k}": v for k, v in state.items()})):
        (tmp_path / str(number)).mkdir()
        notes: list[str] = []
        model = diad.load_stable_diffusion(str(written(tmp_path / str(number), form)), config, notes)
        assert not any("zero" in note for note in notes)
        found.append(model.text)
    assert found[0].abs().max() > 0
    assert all(torch.equal(each, found[0]) for each in found[1:])


@pytest.mark.parametrize(
    ("other", "told"),
    [({}, "has no text encoder"), ({"cond_stage_model.model.ln_final.weight": torch.ones(8)}, "another kind of text")],
)
def test_a_zero_text_embedding_is_a_note(other: State, told: str, tmp_path: Path) -> None:
    state = {key: value for key, value in plain().items() if not key.startswith("cond_stage_model.")}
    notes = as_stable_diffusion(tmp_path, {**state, **other})
    (note,) = [note for note in notes if "text embedding is zero" in note]
    assert told in note
    complete = {key: value for key, value in whole().items() if not key.startswith("cond_stage_model.")}
    assert any(told in note for note in as_checkpoint(tmp_path, {**complete, **other}))


def test_weights_that_are_left_out_are_noted(tmp_path: Path) -> None:
    averaged = {"model_ema.decay": torch.ones(()), "model_ema.diffusion_modelout": torch.ones(3)}
    assert "averaged weights (EMA) in weights.safetensors are not used" in as_stable_diffusion(
        tmp_path, {**plain(), **averaged}
    )
    notes = as_stable_diffusion(tmp_path, whole())
    assert any(note.startswith("the semantic-guided network in weights.safetensors is not used") for note in notes)
    vae = {key.removeprefix("first_stage_model."): value for key, value in autoencoder().items()}
    counters = {"model_ema.decay": torch.ones(()), "model_ema.num_updates": torch.tensor(3)}
    notes = as_autoencoder(tmp_path, {**vae, **counters})
    assert "DiAD's autoencoder from weights.safetensors: trained elsewhere" in notes
    assert not any("EMA" in note for note in notes)  # the counters alone are no weights


def test_numbers_that_shapes_do_not_show_are_taken_from_the_options_or_noted(tmp_path: Path) -> None:
    path = written(tmp_path, whole())
    notes: list[str] = []
    with pytest.raises(UserError, match="name the option size"):
        diad.load_official(path)
    assert diad.load_official(path, like=diad.SIZES["tiny"], notes=notes).config == diad.SIZES["tiny"]
    assert not any("guessed" in note and "groups" in note for note in notes)
    wide = diad.official_state(diad.DiADModel(diad.of_width(32, context=32, vae_width=32)))
    diad.load_official(wide, notes=notes)
    assert "DiAD's heads (8) and groups (32) are guessed: the weights don't say" in notes


@pytest.mark.parametrize(
    "content", [b"<html>not found</html>", b"version https://git-lfs.github.com/spec/v1\noid sha256:0"]
)
def test_what_is_no_weights_gives_no_advice_to_run_it(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "x.ckpt").write_bytes(content)
    with pytest.raises(UserError, match=r"web page|git-LFS pointer") as told:
        diad.load_official(tmp_path / "x.ckpt")
    assert "weights_only" not in str(told.value)


def test_the_scale_in_a_file_counts(tmp_path: Path) -> None:
    run = run_in(tmp_path)
    path = written(tmp_path, {**plain(), "scale_factor": torch.tensor(0.5)})
    assert DiAD(**LITE, weights=str(path)).start_model(run).config.scale == 0.5
    assert "latents scaled by 0.5, as weights.safetensors says" in run.notes


def test_a_file_of_another_width_of_text_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path, plain())
    with pytest.raises(UserError, match="keys don't fit"):
        diad_weights.load_stable_diffusion(str(path), diad.of_width(32, context=64, vae_width=32))


def test_patchcore_says_when_the_budget_cuts_the_ratio(tmp_path: Path) -> None:
    small: dict[str, Any] = {"backbone": "tf_efficientnet_lite0", "weights": "package", "levels": (1, 2)}
    for budget, cut in ((3, True), (50_000, False)):
        run = run_in(tmp_path / str(budget))
        PatchCore(**small, budget=budget, ratio=0.5, dimension=32).fit(small_train(2, images=2), run)
        assert any(note.startswith("coreset of 3 patches, 0.5 of all would be") for note in run.notes) is cut
