"""Weights in and out: every form in which people have them, and sizes that the golden file doesn't have."""

from __future__ import annotations

import pickle
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from diadbench.common.errors import Skip, UserError
from diadbench.methods import diad
from diadbench.methods.diad.checkpoints import export, save
from diadbench.methods.diad.prompt import empty_prompt
from diadbench.methods.diad.stable_diffusion import load_autoencoder
from diadbench.methods.features import hub
from tests.helpers.state_dicts import same

CONTEXT = 32


@pytest.fixture(autouse=True)
def no_gradients() -> Iterator[None]:
    with torch.no_grad():
        yield


@pytest.fixture(scope="module")
def text_encoder() -> Any:
    from transformers import CLIPTextConfig, CLIPTextModel

    torch.manual_seed(0)
    config = CLIPTextConfig(
        vocab_size=49408, hidden_size=CONTEXT, intermediate_size=64, num_hidden_layers=2, num_attention_heads=1
    )
    return CLIPTextModel(config).eval()


@pytest.fixture(scope="module")
def small() -> diad.DiADModel:
    """The authors' layout, as narrow as it gets."""
    torch.manual_seed(0)
    return diad.DiADModel(diad.of_width(32, context=CONTEXT, vae_width=32)).eval()


def encoder_keys(encoder: Any) -> dict[str, Tensor]:
    prefix = "cond_stage_model.transformer.text_model."
    return {prefix + key.removeprefix("text_model."): value for key, value in encoder.state_dict().items()}


def close(a: Tensor, b: Tensor) -> None:
    assert float((a - b).abs().max()) <= 2e-5 * float(b.abs().max())


@pytest.mark.parametrize("width", [32, pytest.param(64, marks=pytest.mark.slow)])
def test_another_context_and_a_wide_image_in_any_batch(width: int, layout: Any) -> None:
    state = layout(width, 96)
    text = torch.randn(1, 77, 96, generator=torch.Generator().manual_seed(5))
    model = diad.load_official(state, text=text)
    assert model.config == diad.of_width(width, context=96, vae_width=32)
    assert same(diad.official_state(model), state)
    images = torch.randn(2, 3, 128, 192, generator=torch.Generator().manual_seed(6))
    mean, logvar = model.encode(images)
    assert mean.shape == (2, 4, 16, 24)
    z = model.sample_latent(mean, logvar, torch.zeros_like(mean))
    hint, t = model.encode_hint(images), torch.tensor([700, 3])
    outputs = model.control(z, t, hint, full=True)
    assert [tuple(each.shape[1:]) for each in outputs[-5:]] == [(4 * width, 4, 6), *[(4 * width, 2, 3)] * 4]
    both = model.eps(z, t, hint)
    decoded = model.decode(z)
    assert decoded.shape == images.shape
    for i in (0, 1):
        one = slice(i, i + 1)
        close(model.eps(z[one], t[one], model.encode_hint(images[one])), both[one])
        close(model.decode(z[one]), decoded[one])
    walked = diad.denoise(z, lambda x, t: model.eps(x, t, hint), steps=1)
    assert bool(torch.isfinite(walked).all())


def test_schedule_buffers_wrapping_and_text_encoder(official: dict[str, Tensor], tmp_path: Path) -> None:
    extra = {"betas": torch.ones(1000), "alphas_cumprod_prev": torch.ones(1000), "model_ema.decay": torch.ones(())}
    extra |= {"sqrt_recipm1_alphas_cumprod": torch.ones(1000), "first_stage_model.loss.logvar": torch.ones(())}
    wrapped: Any = {"state_dict": {**official, **extra}, "epoch": 3}
    model = diad.load_official(wrapped)
    assert same(diad.official_state(model), official)
    torch.save(wrapped, tmp_path / "diad.ckpt")
    assert same(diad.official_state(diad.load_official(tmp_path / "diad.ckpt")), official)


def test_half_precision_keeps_its_values(official: dict[str, Tensor]) -> None:
    halves = {key: value.half() for key, value in official.items()}
    back = diad.official_state(diad.load_official(halves))
    assert same({key: value.half() for key, value in back.items()}, halves)
    assert {value.dtype for value in back.values()} == {torch.float32}


def test_text_encoder_in_the_checkpoint_embeds_the_empty_prompt(small: diad.DiADModel, text_encoder: Any) -> None:
    state = {**diad.official_state(small), **encoder_keys(text_encoder)}
    model = diad.load_official(state)
    torch.testing.assert_close(model.text, empty_prompt(text_encoder))
    assert float(model.text.abs().max()) > 0
    del state["cond_stage_model.transformer.text_model.final_layer_norm.weight"]
    with pytest.raises(UserError, match=r"text encoder: 1 key .*final_layer_norm"):
        diad.load_official(state)


def test_old_lightning_checkpoint_runs_nothing(official: dict[str, Tensor], tmp_path: Path) -> None:
    module: Any = types.ModuleType("a_callback_of_old")

    class Callback:
        def __init__(self) -> None:
            self.best = 1.0

        def __setstate__(self, state: Any) -> None:
            raise AssertionError("the file's code ran")

    Callback.__module__, Callback.__qualname__ = "a_callback_of_old", "Callback"
    module.Callback = Callback
    sys.modules["a_callback_of_old"] = module
    try:
        content = {"state_dict": official, "callbacks": {"best": Callback()}, "pytorch-lightning_version": "1.5.0"}
        torch.save(content, tmp_path / "old.ckpt")
    finally:
        del sys.modules["a_callback_of_old"]
    assert same(diad.official_state(diad.load_official(tmp_path / "old.ckpt")), official)
    (tmp_path / "evil.ckpt").write_bytes(pickle.dumps({"x": print}))
    with pytest.raises(UserError, match=r"evil\.ckpt"):
        diad.load_official(tmp_path / "evil.ckpt")


def test_export_official_reads_back_as_it_was(tmp_path: Path) -> None:
    torch.manual_seed(1)
    import dataclasses

    model = diad.DiADModel(dataclasses.replace(diad.SIZES["tiny"], scale=0.7)).eval()
    model.text.normal_()
    save(model, tmp_path)
    export(tmp_path, "official", tmp_path / "out.ckpt")
    written = torch.load(tmp_path / "out.ckpt", weights_only=True)["state_dict"]
    assert same(written, diad.official_state(model))
    again = diad.load_official(tmp_path / "out.ckpt")
    assert again.config == model.config
    assert same(again.state_dict(), model.state_dict())
    export(tmp_path, "official", tmp_path / "out.safetensors")
    plain = diad.load_official(tmp_path / "out.safetensors", config=model.config)
    assert same(diad.official_state(plain), written)
    with pytest.raises(UserError, match="export format"):
        export(tmp_path, "onnx", tmp_path / "x")


def test_export_diffusers_loads_in_diffusers(small: diad.DiADModel, tmp_path: Path) -> None:
    from diffusers import AutoencoderKL, ControlNetModel, UNet2DConditionModel

    save(small, tmp_path)
    export(tmp_path, "diffusers", tmp_path / "out")
    parts = {"unet": UNet2DConditionModel, "controlnet": ControlNetModel, "vae": AutoencoderKL}
    ours = {"unet": small.unet, "controlnet": small.sg.control, "vae": small.vae}
    for name, kind in parts.items():
        loader: Any = kind
        assert same(loader.from_pretrained(tmp_path / "out" / name).state_dict(), ours[name].state_dict())
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        *parts,
        "scheduler",
        "sff.safetensors",
        "text.safetensors",
        "diadbench.json",
    }


def test_stable_diffusion_from_a_folder_and_from_one_file(
    small: diad.DiADModel, text_encoder: Any, tmp_path: Path
) -> None:

    folder = tmp_path / "sd"
    small.unet.save_pretrained(folder / "unet")
    small.vae.save_pretrained(folder / "vae")
    text_encoder.save_pretrained(folder / "text_encoder")
    state = {key: value for key, value in diad.official_state(small).items() if not key.startswith("control_model.")}
    state |= encoder_keys(text_encoder)
    state["betas"] = torch.ones(1000)
    save_file({key: value.contiguous().clone() for key, value in state.items()}, tmp_path / "sd.safetensors")
    for source in (folder, tmp_path / "sd.safetensors"):
        model = diad.load_stable_diffusion(str(source), small.config)
        assert same(model.unet.state_dict(), small.unet.state_dict())
        assert same(model.vae.state_dict(), small.vae.state_dict())
        torch.testing.assert_close(model.text, empty_prompt(text_encoder))
    with pytest.raises(UserError, match=r"misshaped conv_in\.weight"):
        diad.load_stable_diffusion(str(folder), diad.of_width(64, context=CONTEXT, vae_width=32))


def test_finetuned_autoencoder(small: diad.DiADModel, tmp_path: Path) -> None:
    prefix = "first_stage_model."
    state = {k.removeprefix(prefix): v for k, v in diad.official_state(small).items() if k.startswith(prefix)}
    state["loss.discriminator.main.0.weight"] = torch.ones(1)
    torch.save({"state_dict": state}, tmp_path / "mvtec_ae.ckpt")
    torch.manual_seed(9)
    model = diad.DiADModel(small.config)
    load_autoencoder(model, str(tmp_path / "mvtec_ae.ckpt"))
    assert same(model.vae.state_dict(), small.vae.state_dict())


@pytest.mark.parametrize("earlier", [False, True], ids=["today's names", "names before 2023"])
def test_autoencoder_of_diffusers(small: diad.DiADModel, tmp_path: Path, earlier: bool) -> None:
    folder = tmp_path / "sd" / "vae"
    small.vae.save_pretrained(folder)
    file = folder / "diffusion_pytorch_model.safetensors"
    if earlier:  # as in stabilityai/sd-vae-ft-mse; that diffusers reads it is the proof of the names
        save_file({_before_2023(key): value for key, value in load_file(file).items()}, file)
        assert same(type(small.vae).from_pretrained(folder).state_dict(), small.vae.state_dict())
    for source in (file, folder, folder.parent):
        torch.manual_seed(9)
        model = diad.DiADModel(small.config)
        load_autoencoder(model, str(source))
        assert same(model.vae.state_dict(), small.vae.state_dict())


def _before_2023(key: str) -> str:
    for old, new in {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}.items():
        key = key.replace(f".{new}.", f".{old}.")
    return key


def test_a_folder_without_an_autoencoder(small: diad.DiADModel, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"expected diffusion_pytorch_model\.safetensors or \.bin in the folder"):
        load_autoencoder(small, str(tmp_path))


def test_hub_out_of_reach_is_a_skip(small: diad.DiADModel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub, "hub_is_reachable", lambda: False)
    with pytest.raises(Skip, match="hub can't be reached"):
        diad.load_stable_diffusion("nobody/no-such-stable-diffusion", small.config)
