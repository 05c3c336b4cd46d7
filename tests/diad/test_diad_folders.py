"""Stable Diffusion as diffusers and transformers save it: a folder that is not whole is an error, not a random net."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from diadbench.common.errors import UserError
from diadbench.methods import diad
from diadbench.methods.diad.checkpoints import export, load_trained, save
from diadbench.methods.diad.stable_diffusion import _load_hub
from tests.helpers.state_dicts import same

State = dict[str, Tensor]
UNET = "unet/diffusion_pytorch_model.safetensors"
VAE = "vae/diffusion_pytorch_model.safetensors"
TEXT = "text_encoder/model.safetensors"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    from transformers import CLIPTextConfig, CLIPTextModel

    torch.manual_seed(0)
    model = diad.DiADModel(diad.SIZES["tiny"])
    sizes = {"vocab_size": 49408, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1}
    model.unet.save_pretrained(tmp_path / "sd" / "unet")
    model.vae.save_pretrained(tmp_path / "sd" / "vae")
    CLIPTextModel(CLIPTextConfig(**sizes)).save_pretrained(tmp_path / "sd" / "text_encoder")
    return tmp_path / "sd"


def loaded(folder: Path) -> tuple[diad.DiADModel, list[str]]:
    notes: list[str] = []
    with torch.no_grad():
        return diad.load_stable_diffusion(str(folder), diad.SIZES["tiny"], notes), notes


def changed(file: Path, change: Callable[[State], State]) -> None:
    content = load_file(file)
    save_file(change(content), file, {"format": "pt"})


def without_last(state: State) -> State:
    return dict(list(state.items())[:-1])


def plus(key: str, change: Callable[[Tensor], Tensor]) -> Callable[[State], State]:
    return lambda state: {**state, key: change(state.get(key, torch.ones(1)))}


@pytest.mark.parametrize("file", [UNET, VAE, TEXT])
def test_a_part_that_is_not_whole_is_an_error(file: str, folder: Path) -> None:
    key = next(iter(load_file(folder / file)))
    content = (folder / file).read_bytes()
    changes: dict[str, Callable[[State], State]] = {
        "missing": without_last,
        "unexpected other.key": plus("other.key", lambda value: value),
        "has shape (7,)": plus(key, lambda value: torch.ones(7)),
        "(NaN)": plus(key, lambda value: value * torch.nan),
        "not finite": plus(key, lambda value: value + torch.inf),
        "holds int8": plus(key, lambda value: value.to(torch.int8)),
    }
    for told, change in changes.items():
        (folder / file).write_bytes(content)
        changed(folder / file, change)
        with pytest.raises(UserError) as caught:
            loaded(folder)
        assert told in str(caught.value)
        assert str((folder / file).parent) in str(caught.value)
    (folder / file).write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 5\n")
    with pytest.raises(UserError, match="git lfs pull"):
        loaded(folder)
    (folder / file).unlink()
    with pytest.raises(UserError, match=rf"expected {Path(file).parent}/ with .*found config.json"):
        loaded(folder)


@pytest.mark.parametrize(("file", "told"), [(UNET, "missing"), (VAE, "missing"), (TEXT, "missing")])
def test_what_a_library_fills_in_is_an_error_too(file: str, told: str, folder: Path) -> None:
    """A repository of the hub is read by diffusers, which starts missing weights at random."""
    model = diad.DiADModel(diad.SIZES["tiny"])
    with torch.no_grad():
        _load_hub(model, str(folder))
        assert same(model.unet.state_dict(), load_file(folder / UNET))
        changed(folder / file, without_last)
        with pytest.raises(UserError, match=told):
            _load_hub(model, str(folder))


def test_files_of_half_precision_are_taken_where_there_are_no_others(folder: Path) -> None:
    for file in (UNET, VAE, TEXT):
        changed(folder / file, lambda state: {key: value.half() for key, value in state.items()})
        (folder / file).rename((folder / file).with_suffix(".fp16.safetensors"))
    model, notes = loaded(folder)
    assert {value.dtype for value in model.state_dict().values()} == {torch.float32}
    assert notes == [f"weights sd/{name}: stored as float16, so rounded" for name in ("unet", "vae", "text_encoder")]


def test_the_scale_of_an_autoencoder_counts(folder: Path) -> None:
    sizes = json.loads((folder / "vae/config.json").read_text())
    (folder / "vae/config.json").write_text(json.dumps({**sizes, "scaling_factor": 0.5}))
    model, notes = loaded(folder)
    assert model.config.scale == 0.5
    assert notes == ["latents scaled by 0.5, as sd says"]


@pytest.mark.parametrize("source", ["/nowhere/sd.ckpt", "sd.safetensors", "./models/sd", "a/b/c"])
def test_a_path_where_nothing_lies_is_no_matter_of_the_network(source: str) -> None:
    with pytest.raises(UserError, match="found nothing there"):
        diad.load_stable_diffusion(source)


def test_sizes_and_text_of_an_export_are_checked(tmp_path: Path) -> None:
    torch.manual_seed(0)
    save(diad.DiADModel(diad.SIZES["tiny"]), tmp_path)
    export(tmp_path, "official", tmp_path / "whole.ckpt")
    whole = torch.load(tmp_path / "whole.ckpt", weights_only=True)
    said = whole["diadbench"]
    sizes, text = said["config"], said["text"]
    odd = {
        "found a NoneType": {"config": None},
        "size channels is 'x'": {"config": {**sizes, "channels": "x"}},
        "size scale is nan": {"config": {**sizes, "scale": float("nan")}},
        "make no DiAD": {"config": {**sizes, "groups": 7}},
        "embedding is a str": {"text": "x"},
        "embedding holds values that are not finite": {"text": text * torch.nan},
        "embedding holds int32": {"text": text.int()},
    }
    for told, change in odd.items():
        torch.save({**whole, "diadbench": {**said, **change}}, tmp_path / "x.ckpt")
        with pytest.raises(UserError, match=rf"x\.ckpt: .*{told}"):
            load_trained(tmp_path / "x.ckpt")
    assert load_trained(tmp_path / "whole.ckpt").model.config == diad.SIZES["tiny"]
