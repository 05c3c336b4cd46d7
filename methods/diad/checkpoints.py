"""Read and write weights: the authors' checkpoints, Stable Diffusion's, and those of this project."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from diadbench.common.errors import Skip, UserError
from diadbench.common.files import read_json, share, write_json, write_with
from diadbench.methods.diad.config import ModelConfig, infer
from diadbench.methods.diad.names import from_official, to_official
from diadbench.methods.diad.networks.model import DiADModel
from diadbench.methods.diad.prompt import embedding_or_zero, empty_prompt, fitting
from diadbench.methods.features.hub import hub_access, no_network
from diadbench.methods.features.origin import Origin, kept
from diadbench.methods.features.weight_files import METADATA, read_checkpoint, read_state, read_tensors, unwrapped
from diadbench.methods.features.weights import load_state, mismatches, read_tensor, refuse, write_tensors

#: Initial logarithm of the variance of a random autoencoder's posterior.
NARROW_LOGVAR = -5.0
#: Size of the random zero convolutions in front of SFF with ``sff_init: active``; see docs/diad.md.
ACTIVE_STD = 1e-4
#: Scales that differ by less are equal in float32.
SAME_SCALE = 1e-6
#: File with sizes and origin in an exported folder.
FOLDER_FILE = f"{METADATA}.json"
#: Name of the text embedding in an exported ``.safetensors``, a tensor that the authors' code ignores.
TEXT = f"{METADATA}.text"


def load_official(
    weights: Path | str | Mapping[str, Tensor],
    *,
    config: ModelConfig | None = None,
    text: Tensor | None = None,
    like: ModelConfig | None = None,
    notes: list[str] | None = None,
) -> DiADModel:
    """Create a model from weights in the authors' layout.

    Args:
        weights: A file (``.ckpt``, ``.safetensors``, ``.pth``; old Lightning checkpoints too) or a state dict. The
            model shares memory with a float32 state dict; halves become float32. A ``state_dict`` inside is unwrapped.
        config: Sizes; by default those that :func:`export` wrote into the file, else they are derived from the shapes
            (8 heads and groups of 32, as everywhere; the scale from ``scale_factor`` if present).
        text: Embedding of the prompt ``(1,77,context)``. By default the exported one, or it is computed with the text
            encoder in the weights, and zero if there is none.
        like: Sizes that supply values which shapes don't determine, if the shapes are equal.
        notes: Receives a line for everything that was guessed, added or left out: a zero text embedding, numbers of
            heads and groups, unused weights.

    Returns:
        The model in evaluation mode, on the CPU.

    Raises:
        UserError: Keys are missing, unexpected or misshaped: the first of each kind are listed.
    """
    notes = [] if notes is None else notes
    where = str(weights) if isinstance(weights, (str, Path)) else "DiAD weights"
    metadata: Mapping[str, Any] = {}
    state: Mapping[str, Tensor]
    if isinstance(weights, (str, Path)):
        state, metadata = read_checkpoint(weights)
    else:
        state = unwrapped(weights)
    if config is None:
        config = ModelConfig.from_dict(metadata["config"]) if "config" in metadata else _guessed(state, like, notes)
    with torch.device("meta"):
        model = DiADModel(config)
    found, problems = from_official(state, model.state_dict(), config)
    refuse(problems, where)
    text = metadata.get("text") if text is None else text
    if text is None:
        text = embedding_or_zero(state, model.text.shape, where, notes)
    text = fitting(text, model.text.shape, where)
    _tell_unused(state, where, notes)
    found["text"] = text
    model.load_state_dict({key: value.float() for key, value in found.items()}, strict=True, assign=True)
    return model.eval()


def _guessed(state: Mapping[str, Tensor], like: ModelConfig | None, notes: list[str]) -> ModelConfig:
    """Return the sizes in the shapes of a state dict; missing ones come from ``like``, else from the authors' model.

    Full-size weights are treated as the authors' own, whose heads and groups are known.
    """
    found = infer(state)
    for known in (*([like] if like else []), ModelConfig()):
        if dataclasses.replace(known, heads=found.heads, groups=32, vae_groups=32, scale=found.scale) == found:
            if "scale_factor" not in state and known.scale != found.scale:
                notes.append(f"the latents' scale ({found.scale}) is guessed: the weights don't say")
            return dataclasses.replace(known, scale=found.scale)
    if any(width % found.groups for width in (*found.channels, *found.vae_channels)):
        raise UserError(
            f"DiAD weights: channels {list(found.channels)} and {list(found.vae_channels)} don't go into "
            f"{found.groups} groups as the authors' do, and groups don't show in shapes; name the option size (tiny)"
        )
    notes.append(f"DiAD's heads ({found.heads}) and groups ({found.groups}) are guessed: the weights don't say")
    return found


def _tell_unused(state: Mapping[str, Tensor], where: str, notes: list[str]) -> None:
    """Add a note on averaged weights, which may be better but are not used by this project."""
    if any(key.startswith("model_ema.") and state[key].ndim for key in state):
        notes.append(f"averaged weights (EMA) in {Path(where).name} are not used")


def official_state(model: DiADModel) -> dict[str, Tensor]:
    """Return a model's weights in the authors' layout, exactly equal and without their text encoder.

    ``scale_factor`` is included only if latents aren't scaled by Stable Diffusion's 0.18215.
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
    """Read the files that :func:`save` wrote. Raises UserError."""
    sizes = read_json(directory / "model.json")
    if not isinstance(sizes, dict) or not (directory / "model.safetensors").is_file():
        raise UserError(f"{directory}: expected model.json and model.safetensors of a DiAD; did training end?")
    with torch.device("meta"):
        model = DiADModel(ModelConfig.from_dict(sizes))
    path = directory / "model.safetensors"
    state = read_tensors(path)
    refuse(mismatches(model.state_dict(), state), str(path))
    model.load_state_dict(state, strict=True, assign=True)
    return model.eval()


def export(directory: Path, format: str, out: Path, origin: Origin | None = None) -> None:
    """Write a trained model for other programs, with sizes, text embedding and origin.

    Args:
        directory: Directory written by :func:`save` (a cell's checkpoint).
        format: ``official``: one ``.ckpt`` (or ``.safetensors``, by the suffix of ``out``) that the authors' code
            reads with ``model.load_state_dict(torch.load(out)["state_dict"], strict=False)``; not strict because its
            text encoder and the buffers of its schedule are no part of the weights. A ``.ckpt`` has sizes, text
            embedding and origin in the entry ``diadbench`` beside the ``state_dict``; a ``.safetensors`` has sizes
            and origin in its metadata and the embedding as tensor ``diadbench.text``. ``diffusers``: a folder with
            ``unet``, ``controlnet``, ``vae``, ``scheduler``, ``sff.safetensors``, ``text.safetensors`` and
            ``diadbench.json``. :func:`load_trained` reads all three.
        out: File or folder to write.
        origin: Where the weights come from; by default what was kept beside the model.

    Raises:
        UserError: Unknown format, or no model there.
    """
    if format not in ("official", "diffusers"):
        raise UserError(f"export format {format!r}; known: official, diffusers")
    model = load(directory)
    said = {"config": model.config.to_dict(), "origin": (origin or kept(directory)).to_json()}
    if format == "diffusers":
        _export_diffusers(model, out, said)
        return
    state = {key: value.contiguous() for key, value in official_state(model).items()}
    if out.suffix == ".safetensors":
        tensors, metadata = {**state, TEXT: model.text.contiguous()}, {METADATA: json.dumps(said), "format": "pt"}
        write_tensors(out, tensors, metadata)
    else:
        write_with(out, lambda name: torch.save({"state_dict": state, METADATA: {**said, "text": model.text}}, name))


def _export_diffusers(model: DiADModel, out: Path, said: Mapping[str, Any]) -> None:
    for name, part in {**_parts(model), "scheduler": model.scheduler}.items():
        part.save_pretrained(out / name)
        share(out / name)
    write_tensors(out / "sff.safetensors", model.sg.sff.state_dict())
    write_tensors(out / "text.safetensors", {"text": model.text})
    write_json(out / FOLDER_FILE, said)


def _parts(model: DiADModel) -> dict[str, Any]:
    return {"unet": model.unet, "controlnet": model.sg.control, "vae": model.vae}


# -- trained models -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Trained:
    """A trained model that was read from a file or folder.

    Attributes:
        model: The networks.
        origin: The origin that the file states; ``None`` if it states none.
        notes: Lines on what was guessed, added or left out on reading.
    """

    model: DiADModel
    origin: Origin | None
    notes: tuple[str, ...] = ()


def load_trained(source: Path | str, like: ModelConfig | None = None) -> Trained:
    """Read a trained DiAD from a file in the authors' layout, or from a folder that :func:`save` or export wrote.

    Args:
        source: File or folder.
        like: See :func:`load_official`.

    Raises:
        UserError: No such file or folder; keys that don't fit.
    """
    path = Path(source).expanduser()
    if (path / FOLDER_FILE).is_file():
        said = read_json(path / FOLDER_FILE) or {}
        return Trained(_load_diffusers(path, said), Origin.from_json(said.get("origin")))
    if path.is_dir():
        return Trained(load(path), kept(path))
    notes: list[str] = []
    model = load_official(path, like=like, notes=notes)
    return Trained(model, origin_in(path), tuple(notes))


def origin_in(source: Path | str) -> Origin | None:
    """Return the origin that a file or folder of weights states; ``None`` if it states none."""
    path = Path(source).expanduser()
    if path.is_dir():
        return Origin.from_json((read_json(path / FOLDER_FILE) or {}).get("origin"))
    return Origin.from_json(read_checkpoint(path)[1].get("origin")) if path.is_file() else None


def _load_diffusers(folder: Path, said: Mapping[str, Any]) -> DiADModel:
    if not isinstance(said.get("config"), dict):
        raise UserError(f"{folder / FOLDER_FILE}: expected the entry config with DiAD's sizes")
    model = DiADModel(ModelConfig.from_dict(said["config"]))
    for name, part in _parts(model).items():
        path = folder / name / "diffusion_pytorch_model.safetensors"
        load_state(part, read_tensors(path), str(path))
    load_state(model.sg.sff, read_tensors(folder / "sff.safetensors"), str(folder / "sff.safetensors"))
    _set_text(model, read_tensor(folder / "text.safetensors", "text"), str(folder))
    return model.eval()


def _set_text(model: DiADModel, text: Tensor, where: str) -> None:
    model.text.copy_(fitting(text, tuple(model.text.shape), where))


# -- Stable Diffusion -------------------------------------------------------------------------------------------


def load_stable_diffusion(source: str, config: ModelConfig | None = None, notes: list[str] | None = None) -> DiADModel:
    """Create a model whose UNet, autoencoder and text embedding are Stable Diffusion's; the SG network is untrained.

    Args:
        source: A diffusers folder, a single ``.safetensors``/``.ckpt`` file, or a repository on the hub.
        config: Sizes of the SG network's hint encoder; the rest must fit the weights.
        notes: Receives a line for everything that was added or left out: a zero text embedding, a trained SG network.

    Raises:
        UserError: Keys are missing, unexpected or misshaped.
        Skip: The hub can't be reached.
    """
    config = config or ModelConfig()
    notes = [] if notes is None else notes
    path = Path(source).expanduser()
    model = DiADModel(config)
    if path.is_file():
        _load_single_file(model, path, notes)
    else:
        _load_parts(model, str(path) if path.is_dir() else source)
    return model


def load_autoencoder(model: DiADModel, source: str, notes: list[str] | None = None) -> None:
    """Load the autoencoder from a file: the authors' finetuned one, kl-f8, a whole checkpoint. Raises UserError."""
    state = read_state(source)
    _tell_unused(state, source, [] if notes is None else notes)
    prefix = "first_stage_model."
    if not any(key.startswith(prefix) for key in state):
        state = {prefix + key: value for key, value in state.items() if not key.startswith(("loss.", "model_ema."))}
    state = {key: value for key, value in state.items() if key.startswith(prefix)}
    _load_subset(model, state, ("vae.",), source)


def _load_single_file(model: DiADModel, path: Path, notes: list[str]) -> None:
    state, metadata = read_checkpoint(path)
    own = {key: value for key, value in state.items() if not key.startswith("control_model.")}
    _load_subset(model, own, ("vae.", "unet."), str(path))
    said = state.get("scale_factor")
    if said is not None and abs(float(said) - model.config.scale) > SAME_SCALE:
        notes.append(f"latents scaled by {float(said):.5g}, as {path.name} says")
        model.config = dataclasses.replace(model.config, scale=float(said))
    if len(own) < len(state):
        notes.append(f"the semantic-guided network in {path.name} is not used: it starts anew")
    _tell_unused(state, str(path), notes)
    text = metadata.get("text")
    _set_text(model, embedding_or_zero(state, model.text.shape, str(path), notes) if text is None else text, str(path))


def _load_subset(model: DiADModel, state: Mapping[str, Tensor], prefixes: tuple[str, ...], where: str) -> None:
    own = {key: value for key, value in model.state_dict().items() if key.startswith(prefixes)}
    found, problems = from_official(state, own, model.config)
    refuse(problems, where)
    for key, value in found.items():
        own[key].copy_(value)


def _load_parts(model: DiADModel, source: str) -> None:
    from transformers import CLIPTextModel

    encoder: Any = CLIPTextModel
    own_text = Path(source) / "text.safetensors"  # An exported DiAD has only the embedding.
    try:
        with hub_access():
            for part in (model.unet, model.vae):
                folder = "unet" if part is model.unet else "vae"
                # given explicitly, because diffusers would warn that accelerate is missing
                loaded = type(part).from_pretrained(source, subfolder=folder, low_cpu_mem_usage=False)
                _copy(loaded, part, f"{source}/{type(part).__name__}")
            if own_text.is_file():
                _set_text(model, read_tensor(own_text, "text"), source)
                return
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
    _set_text(model, empty_prompt(text.eval()), f"Stable Diffusion {source!r}")


def _copy(source: Any, target: Any, where: str) -> None:
    load_state(target, source.state_dict(), where)


# -- initialisation ---------------------------------------------------------------------------------------------


@torch.no_grad()
def start_posterior(model: DiADModel) -> None:
    """Initialise a random autoencoder's posterior with a standard deviation of 0.08, independent of the image.

    Random weights give about 1. A short stage 1 would then spend its steps on reducing it, and stage 2 would learn
    from noisy latents.
    """
    convolution = model.vae.quant_conv
    convolution.weight[model.config.latent :] = 0
    convolution.bias[model.config.latent :] = NARROW_LOGVAR


@torch.no_grad()
def start_sg(model: DiADModel, sff_init: str) -> None:
    """Initialise the SG network from the UNet, as the authors' ``build_model`` does; hint encoder and SFF are new.

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
