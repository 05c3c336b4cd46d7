"""Weights in and out: the authors' checkpoints, Stable Diffusion, ours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from diadbench.common.errors import Skip, UserError
from diadbench.common.files import read_json, share, write_json, write_with
from diadbench.methods.diad.config import ModelConfig, infer
from diadbench.methods.diad.model import DiADModel
from diadbench.methods.diad.names import from_official, to_official
from diadbench.methods.diad.prompt import embedding_of, empty_prompt
from diadbench.methods.diad.weight_files import BESIDE, read_checkpoint, read_state
from diadbench.methods.features.hub import hub_access, no_network
from diadbench.methods.features.weights import write_tensors

#: Logarithm of the variance at which the posterior of a random autoencoder starts.
NARROW_LOGVAR = -5.0
#: Size of the random zero convolutions in front of SFF with ``sff_init: active``; see docs/diad.md.
ACTIVE_STD = 1e-4


def load_official(
    weights: Path | str | Mapping[str, Tensor],
    *,
    config: ModelConfig | None = None,
    text: Tensor | None = None,
) -> DiADModel:
    """Make a model from weights in the authors' layout.

    Args:
        weights: A file (``.ckpt``, ``.safetensors``, ``.pth``; old Lightning checkpoints too) or a state dict. The
            model shares memory with a float32 state dict; halves become float32. A ``state_dict`` inside is unwrapped.
        config: Sizes; by default those that :func:`export` wrote into the file, or they are read off the shapes
            (8 heads and groups of 32, as everywhere; the scale from ``scale_factor`` if there is one).
        text: Embedding of the prompt ``(1,77,context)``. By default the exported one, or it is computed with the text
            encoder in the weights, and zero if there is none.

    Returns:
        The model in evaluation mode, on the CPU.

    Raises:
        UserError: Keys are missing, unexpected or misshaped: all are listed.
    """
    where = str(weights) if isinstance(weights, (str, Path)) else "DiAD weights"
    beside: Mapping[str, Any] = {}
    state: Mapping[str, Tensor]
    if isinstance(weights, (str, Path)):
        state, beside = read_checkpoint(weights)
    else:
        state = _unwrapped(weights)
    if config is None:
        config = ModelConfig.from_dict(beside["config"]) if "config" in beside else infer(state)
    with torch.device("meta"):
        model = DiADModel(config)
    found, problems = from_official(state, model.state_dict(), config)
    _refuse(problems, where)
    if text is None:
        text = beside.get("text")
    if text is None:
        text = embedding_of(state)
    if text is None:
        text = torch.zeros(model.text.shape)
    if text.shape != model.text.shape:
        raise UserError(f"{where}: text embedding is {tuple(text.shape)}, expected {tuple(model.text.shape)}")
    found["text"] = text
    model.load_state_dict({key: value.float() for key, value in found.items()}, strict=True, assign=True)
    return model.eval()


def official_state(model: DiADModel) -> dict[str, Tensor]:
    """Return a model's weights in the authors' layout, bit for bit (their text encoder is no part of them).

    ``scale_factor`` is among them only where latents aren't scaled by Stable Diffusion's 0.18215.
    """
    state = to_official(model.state_dict(), model.config)
    if model.config.scale != ModelConfig.scale:
        state["scale_factor"] = torch.tensor(model.config.scale)
    return state


def save(model: DiADModel, directory: Path) -> None:
    """Write ``model.safetensors`` (text embedding included) and ``model.json`` (sizes)."""
    write_tensors(directory / "model.safetensors", model.state_dict())
    write_json(directory / "model.json", model.config.to_dict())


def load(directory: Path) -> DiADModel:
    """Read what :func:`save` wrote. Raises UserError."""
    sizes = read_json(directory / "model.json")
    if not isinstance(sizes, dict) or not (directory / "model.safetensors").is_file():
        raise UserError(f"{directory}: expected model.json and model.safetensors of a DiAD; did training end?")
    with torch.device("meta"):
        model = DiADModel(ModelConfig.from_dict(sizes))
    state = load_file(directory / "model.safetensors")
    wanted = model.state_dict()
    problems = [f"missing {key}" for key in wanted if key not in state]
    problems += [f"unexpected {key}" for key in state if key not in wanted]
    _refuse(problems, str(directory / "model.safetensors"))
    model.load_state_dict(state, strict=True, assign=True)
    return model.eval()


def export(directory: Path, format: str, out: Path) -> None:
    """Write a trained model for other code.

    Args:
        directory: What :func:`save` wrote (a cell's checkpoint).
        format: ``official``: one ``.ckpt`` (or ``.safetensors``, by the suffix of ``out``) that the authors' code
            reads with ``model.load_state_dict(torch.load(out)["state_dict"], strict=False)``; not strict because its
            text encoder and the buffers of its schedule are no part of the weights. A ``.ckpt`` has sizes and text
            embedding beside the ``state_dict``, a ``.safetensors`` has not. ``diffusers``: a folder with
            ``unet``, ``controlnet``, ``vae``, ``scheduler``, ``sff.safetensors`` and ``text.safetensors``.
        out: File or folder to write.

    Raises:
        UserError: Unknown format, or no model there.
    """
    if format not in ("official", "diffusers"):
        raise UserError(f"export format {format!r}; known: official, diffusers")
    model = load(directory)
    if format == "diffusers":
        _export_diffusers(model, out)
        return
    state = {key: value.contiguous() for key, value in official_state(model).items()}
    if out.suffix == ".safetensors":
        write_tensors(out, state)
    else:
        beside = {"config": model.config.to_dict(), "text": model.text}
        write_with(out, lambda name: torch.save({"state_dict": state, BESIDE: beside}, name))


def _export_diffusers(model: DiADModel, out: Path) -> None:
    parts = {"unet": model.unet, "controlnet": model.sg.control, "vae": model.vae, "scheduler": model.scheduler}
    for name, part in parts.items():
        part.save_pretrained(out / name)
        share(out / name)
    write_tensors(out / "sff.safetensors", model.sg.sff.state_dict())
    write_tensors(out / "text.safetensors", {"text": model.text})


# -- Stable Diffusion -------------------------------------------------------------------------------------------


def load_stable_diffusion(source: str, config: ModelConfig | None = None) -> DiADModel:
    """Make a model whose UNet, autoencoder and text embedding are Stable Diffusion's; the SG network is untrained.

    Args:
        source: A diffusers folder, a single ``.safetensors``/``.ckpt`` file, or a repository on the hub.
        config: Sizes of the SG network's hint encoder; the rest must fit the weights.

    Raises:
        UserError: Keys are missing, unexpected or misshaped.
        Skip: The hub is out of reach.
    """
    config = config or ModelConfig()
    path = Path(source).expanduser()
    model = DiADModel(config)
    if path.is_file():
        _load_single_file(model, path)
    else:
        _load_parts(model, str(path) if path.is_dir() else source)
    return model


def load_autoencoder(model: DiADModel, source: str) -> None:
    """Load the autoencoder from a file: the authors' finetuned one, kl-f8, a whole checkpoint. Raises UserError."""
    state = read_state(source)
    prefix = "first_stage_model."
    if not any(key.startswith(prefix) for key in state):
        state = {prefix + key: value for key, value in state.items() if not key.startswith("loss.")}
    state = {key: value for key, value in state.items() if key.startswith(prefix)}
    _load_subset(model, state, ("vae.",), source)


def _load_single_file(model: DiADModel, path: Path) -> None:
    state = read_state(path)
    kept = {key: value for key, value in state.items() if not key.startswith("control_model.")}
    _load_subset(model, kept, ("vae.", "unet."), str(path))
    embedding = embedding_of(state)
    if embedding is not None:
        model.text.copy_(embedding)


def _load_subset(model: DiADModel, state: Mapping[str, Tensor], prefixes: tuple[str, ...], where: str) -> None:
    own = {key: value for key, value in model.state_dict().items() if key.startswith(prefixes)}
    found, problems = from_official(state, own, model.config)
    _refuse(problems, where)
    for key, value in found.items():
        own[key].copy_(value)


def _load_parts(model: DiADModel, source: str) -> None:
    from transformers import CLIPTextModel

    encoder: Any = CLIPTextModel
    try:
        with hub_access():
            for part in (model.unet, model.vae):
                folder = "unet" if part is model.unet else "vae"
                # said outright, as diffusers else warns that accelerate isn't there
                loaded = type(part).from_pretrained(source, subfolder=folder, low_cpu_mem_usage=False)
                _copy(loaded, part, f"{source}/{type(part).__name__}")
            text = encoder.from_pretrained(source, subfolder="text_encoder")
    except Exception as error:
        if no_network(error):
            raise Skip(
                f"Stable Diffusion {source!r}: not in the local cache and the hub can't be reached; "
                "give a folder or a file with `weights`"
            ) from error
        if isinstance(error, OSError):
            raise UserError(f"Stable Diffusion {source!r}: {str(error).splitlines()[0]}") from error
        raise
    model.text.copy_(empty_prompt(text.eval()))


def _copy(source: Any, target: Any, where: str) -> None:
    theirs, ours = source.state_dict(), target.state_dict()
    problems = [f"missing {key}" for key in ours if key not in theirs]
    problems += [f"unexpected {key}" for key in theirs if key not in ours]
    problems += [
        f"misshaped {key}: {tuple(theirs[key].shape)}, expected {tuple(ours[key].shape)}"
        for key in ours
        if key in theirs and theirs[key].shape != ours[key].shape
    ]
    _refuse(problems, where)
    target.load_state_dict(theirs, strict=True)


# -- initialisation ---------------------------------------------------------------------------------------------


@torch.no_grad()
def start_posterior(model: DiADModel) -> None:
    """Start a random autoencoder's posterior narrow: a standard deviation of 0.08, whatever the image.

    With the one that random weights give, about 1, a short stage 1 spends its steps on making it smaller, and stage 2
    then has noisy latents to learn from.
    """
    convolution = model.vae.quant_conv
    convolution.weight[model.config.latent :] = 0
    convolution.bias[model.config.latent :] = NARROW_LOGVAR


@torch.no_grad()
def start_sg(model: DiADModel, sff_init: str) -> None:
    """Start the SG network from the UNet, as the authors' ``build_model`` does; hint encoder and SFF are new.

    Args:
        model: The model; its UNet is what the SG network starts from.
        sff_init: ``official``: zero convolutions and SFF both zero, so that SFF never learns. ``active``: SFF's
            convolutions by torch's default, the three zero convolutions in front of it tiny and random, so that
            the first forward pass stays close and gradients flow.
    """
    control = model.sg.control
    for name in ("conv_in", "time_embedding", "down_blocks", "mid_block"):
        getattr(control, name).load_state_dict(getattr(model.unet, name).state_dict(), strict=True)
    for convolution in [*control.controlnet_down_blocks, control.controlnet_mid_block]:
        for parameter in convolution.parameters():
            nn.init.zeros_(parameter)
    for module in control.controlnet_cond_embedding.modules():
        if isinstance(module, nn.Conv2d):
            module.reset_parameters()
    for parameter in control.controlnet_cond_embedding.conv_out.parameters():
        nn.init.zeros_(parameter)
    model.sg.sff.reset(zero=sff_init == "official")
    if sff_init == "active":
        for index in range(model.sg.count - 7, model.sg.count - 4):
            convolution = control.controlnet_down_blocks[index]
            assert isinstance(convolution, nn.Conv2d)
            nn.init.normal_(convolution.weight, std=ACTIVE_STD / convolution.in_channels**0.5)


def _unwrapped(weights: Mapping[str, Any]) -> Mapping[str, Tensor]:
    inside = weights.get("state_dict")
    return inside if isinstance(inside, Mapping) else weights


def _refuse(problems: Sequence[str], where: str) -> None:
    if problems:
        raise UserError(f"{where}: {len(problems)} keys don't fit the model: {'; '.join(problems)}")
