"""Read and write trained weights: the authors' checkpoints, and those of this project."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from diadbench.common.errors import UserError
from diadbench.common.files import read_json, share, write_json, write_with
from diadbench.methods.diad.config import ModelConfig, infer
from diadbench.methods.diad.names import ROOTS, from_official, to_official
from diadbench.methods.diad.networks.initial_weights import ACTIVE_STD as ACTIVE_STD
from diadbench.methods.diad.networks.initial_weights import NARROW_LOGVAR as NARROW_LOGVAR
from diadbench.methods.diad.networks.initial_weights import start_posterior as start_posterior
from diadbench.methods.diad.networks.initial_weights import start_sg as start_sg
from diadbench.methods.diad.networks.model import DiADModel
from diadbench.methods.diad.prompt import embedding_or_zero, fitting
from diadbench.methods.diad.stable_diffusion import SAME_SCALE as SAME_SCALE
from diadbench.methods.diad.stable_diffusion import load_autoencoder as load_autoencoder
from diadbench.methods.diad.stable_diffusion import load_stable_diffusion as load_stable_diffusion
from diadbench.methods.diad.stable_diffusion import set_text, tell_unused
from diadbench.methods.features.origin import Origin, kept
from diadbench.methods.features.weight_files import METADATA, read_checkpoint, read_tensors, unwrapped, without_wrapper
from diadbench.methods.features.weights import load_state, mismatches, read_tensor, refuse, write_tensors

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
        state, metadata = read_checkpoint(weights, notes=notes)
    else:
        state = unwrapped(weights)
    state = without_wrapper(state, ROOTS)
    if config is None:
        config = (
            ModelConfig.from_dict(metadata["config"], where)
            if "config" in metadata
            else _guessed(state, like, notes, where)
        )
    model = _without_values(config, where)
    found, problems = from_official(state, model.state_dict(), config)
    refuse(problems, where)
    text = metadata.get("text") if text is None else text
    if text is None:
        text = embedding_or_zero(state, model.text.shape, where, notes)
    text = fitting(text, model.text.shape, where)
    tell_unused(state, where, notes)
    found["text"] = text
    model.load_state_dict({key: value.float() for key, value in found.items()}, strict=True, assign=True)
    return model.eval()


def _guessed(state: Mapping[str, Tensor], like: ModelConfig | None, notes: list[str], where: str) -> ModelConfig:
    """Return the sizes in the shapes of a state dict; missing ones come from ``like``, else from the authors' model.

    Full-size weights are treated as the authors' own, whose heads and groups are known.
    """
    found = infer(state, where)
    for known in (*([like] if like else []), ModelConfig()):
        if dataclasses.replace(known, heads=found.heads, groups=32, vae_groups=32, scale=found.scale) == found:
            if "scale_factor" not in state and known.scale != found.scale:
                notes.append(f"the latents' scale ({found.scale}) is guessed: the weights don't say")
            return dataclasses.replace(known, scale=found.scale)
    if any(width % found.groups for width in (*found.channels, *found.vae_channels)):
        raise UserError(
            f"{where}: channels {list(found.channels)} and {list(found.vae_channels)} don't go into "
            f"{found.groups} groups as the authors' do, and groups don't show in shapes; name the option size (tiny)"
        )
    notes.append(f"DiAD's heads ({found.heads}) and groups ({found.groups}) are guessed: the weights don't say")
    return found


def _without_values(config: ModelConfig, where: str) -> DiADModel:
    """Return a model on the device meta. Raises UserError if there is no DiAD of such sizes."""
    try:
        with torch.device("meta"):
            return DiADModel(config)
    except (ValueError, TypeError, IndexError, ZeroDivisionError, RuntimeError) as error:  # of diffusers and torch
        reason = str(error).splitlines()[0]
        raise UserError(f"{where}: its sizes {config.to_dict()} make no DiAD ({reason})") from error


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
    file = str(directory / "model.json")
    model = _without_values(ModelConfig.from_dict(sizes, file), file)
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
        said = _said(path)
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
        return Origin.from_json(_said(path).get("origin"))
    return Origin.from_json(read_checkpoint(path)[1].get("origin")) if path.is_file() else None


def _said(folder: Path) -> dict[str, Any]:
    said = read_json(folder / FOLDER_FILE)
    return said if isinstance(said, dict) else {}


def _load_diffusers(folder: Path, said: Mapping[str, Any]) -> DiADModel:
    if not isinstance(said.get("config"), dict):
        raise UserError(f"{folder / FOLDER_FILE}: expected the entry config with DiAD's sizes")
    file = str(folder / FOLDER_FILE)
    config = ModelConfig.from_dict(said["config"], file)
    _without_values(config, file)
    model = DiADModel(config)
    for name, part in _parts(model).items():
        path = folder / name / "diffusion_pytorch_model.safetensors"
        load_state(part, read_tensors(path), str(path))
    load_state(model.sg.sff, read_tensors(folder / "sff.safetensors"), str(folder / "sff.safetensors"))
    set_text(model, read_tensor(folder / "text.safetensors", "text"), str(folder))
    return model.eval()
