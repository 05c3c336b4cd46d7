"""Read Stable Diffusion 1.5, and autoencoders in its layout, into DiAD's networks."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from diadbench.common.errors import Skip, UserError
from diadbench.common.files import read_json
from diadbench.common.wording import some
from diadbench.methods.diad.config import ModelConfig
from diadbench.methods.diad.names import ROOTS, from_official
from diadbench.methods.diad.networks.model import DiADModel
from diadbench.methods.diad.prompt import embedding_or_zero, embedding_with, empty_prompt, fitting
from diadbench.methods.features.hub import hub_access, no_network
from diadbench.methods.features.weight_files import METADATA, SUFFIXES, read_checkpoint, read_state, without_wrapper
from diadbench.methods.features.weights import load_state, read_tensor, refuse

#: Scales that differ by less are equal in float32.
SAME_SCALE = 1e-6
#: Beginnings of keys of an autoencoder in diffusers' layout.
DIFFUSERS = ("encoder.down_blocks.", "decoder.up_blocks.")
#: Names of attention layers in files of earlier versions of diffusers (``stabilityai/sd-vae-ft-mse``), and today's.
EARLIER_ATTENTION = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}


def tell_unused(state: Mapping[str, Tensor], where: str, notes: list[str]) -> None:
    """Add a note on averaged weights, which may be better but are not used by this project."""
    if any(key.startswith("model_ema.") and state[key].ndim for key in state):
        notes.append(f"averaged weights (EMA) in {Path(where).name} are not used")


def set_text(model: DiADModel, text: Tensor, where: str) -> None:
    """Set a model's text embedding. Raises UserError if it has another shape."""
    model.text.copy_(fitting(text, tuple(model.text.shape), where))


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
    if not path.exists() and _is_path(source):  # before a large model is made
        raise UserError(
            f"Stable Diffusion {source}: expected a file, a folder of diffusers, or a repository of the hub "
            "(owner/name); found nothing there"
        )
    model = DiADModel(config)
    if path.is_dir():
        _load_folder(model, path, notes)
    elif path.is_file():
        _load_single_file(model, path, notes)
    else:
        _load_hub(model, source)
    return model


def _is_path(source: str) -> bool:
    """Whether a text can be no repository of the hub (``owner/name``)."""
    return source.count("/") != 1 or source[0] in "./~" or Path(source).suffix in SUFFIXES


def load_autoencoder(model: DiADModel, source: str, notes: list[str] | None = None) -> None:
    """Load the autoencoder.

    Args:
        model: The model that gets the weights.
        source: A file of the authors' finetuned autoencoder, of kl-f8 or of a whole checkpoint; or an autoencoder of
            diffusers, as a file or as its folder.
        notes: Receives a line for what is not used.

    Raises:
        UserError: No such file, or keys are missing, unexpected or misshaped.
    """
    path = Path(source).expanduser()
    source = str(_file_in(path)) if path.is_dir() else source
    notes = [] if notes is None else notes
    roots = (*ROOTS, *DIFFUSERS, "encoder.", "decoder.")
    state = without_wrapper(read_state(source, what="autoencoder", notes=notes), roots)
    if any(key.startswith(DIFFUSERS) for key in state):
        load_state(model.vae, {_today(key): value for key, value in state.items()}, source)
        return
    tell_unused(state, source, notes)
    prefix = "first_stage_model."
    if not any(key.startswith(prefix) for key in state):
        state = {prefix + key: value for key, value in state.items() if not key.startswith(("loss.", "model_ema."))}
    state = {key: value for key, value in state.items() if key.startswith(prefix)}
    _load_subset(model, state, ("vae.",), source)


def _file_in(folder: Path) -> Path:
    """Return the file of weights of an autoencoder that diffusers saved in a folder, or in ``vae`` below it."""
    for place in (folder, folder / "vae"):
        if found := saved_in(place):
            return found
    raise UserError(
        f"autoencoder {folder}: expected diffusion_pytorch_model.safetensors or .bin in the folder or in its vae/; "
        "give such a folder, or a file of weights"
    )


def saved_in(folder: Path, names: Sequence[str] = ("diffusion_pytorch_model",)) -> Path | None:
    """Return the file of weights that diffusers or transformers saved in a folder, full precision before float16."""
    for variant in ("", ".fp16"):
        for name, suffix in itertools.product(names, ("safetensors", "bin")):
            path = folder / f"{name}{variant}.{suffix}"
            if path.is_file():
                return path
    return None


def _today(key: str) -> str:
    """Return a key of diffusers with the names that its attention layers have had since 2023."""
    before, middle, after = key.partition(".attentions.")
    for old, new in EARLIER_ATTENTION.items():
        after = after.replace(f".{old}.", f".{new}.")
    return before + middle + after


def _load_single_file(model: DiADModel, path: Path, notes: list[str]) -> None:
    state, metadata = read_checkpoint(path, notes=notes)
    state = without_wrapper(state, ROOTS)
    own = {key: value for key, value in state.items() if not key.startswith("control_model.")}
    _load_subset(model, own, ("vae.", "unet."), str(path))
    _set_scale(model, state.get("scale_factor"), path.name, notes)
    if len(own) < len(state):
        notes.append(f"the semantic-guided network in {path.name} is not used: it starts anew")
    tell_unused(state, str(path), notes)
    text = metadata.get("text")
    set_text(model, embedding_or_zero(state, model.text.shape, str(path), notes) if text is None else text, str(path))


def _load_subset(model: DiADModel, state: Mapping[str, Tensor], prefixes: tuple[str, ...], where: str) -> None:
    own = {key: value for key, value in model.state_dict().items() if key.startswith(prefixes)}
    found, problems = from_official(state, own, model.config)
    refuse(problems, where)
    for key, value in found.items():
        own[key].copy_(value)


def _load_folder(model: DiADModel, folder: Path, notes: list[str]) -> None:
    """Read a folder of diffusers with this project's reader: nothing is filled in, left out or run."""
    told: list[str] = []
    for name, part in (("unet", model.unet), ("vae", model.vae)):
        file = _part_of(folder, name)
        state = read_state(file, what="Stable Diffusion", notes=told)
        told = [note.replace(file.name, f"{folder.name}/{name}") for note in told]
        load_state(part, {_today(key): value for key, value in state.items()} if name == "vae" else state, str(file))
    exported = _entries(_entries(read_json(folder / f"{METADATA}.json")).get("config"))
    plain = _entries(read_json(folder / "vae" / "config.json"))
    _set_scale(model, exported.get("scale", plain.get("scaling_factor")), folder.name, notes)
    if (folder / "controlnet").is_dir():
        notes.append(f"the semantic-guided network in {folder.name} is not used: it starts anew")
    own_text = folder / "text.safetensors"  # An exported DiAD has only the embedding.
    if own_text.is_file():
        set_text(model, read_tensor(own_text, "text"), str(folder))
    else:
        file = _part_of(folder, "text_encoder", ("model", "pytorch_model"))
        state = read_state(file, what="Stable Diffusion", notes=told)
        told = [note.replace(file.name, f"{folder.name}/text_encoder") for note in told]
        set_text(model, embedding_with(file.with_name("config.json"), state), str(file))
    notes += told


def _entries(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _part_of(folder: Path, name: str, names: Sequence[str] = ("diffusion_pytorch_model",)) -> Path:
    """Return the file with the weights of one part. Raises UserError."""
    if found := saved_in(folder / name, names):
        return found
    place = folder / name if (folder / name).is_dir() else folder
    there = some(sorted(path.name for path in place.iterdir()), most=6) or "nothing"
    expected = " or ".join(f"{one}.{suffix}" for one in names for suffix in ("safetensors", "bin"))
    raise UserError(
        f"Stable Diffusion {folder}: expected {name}/ with {expected}, found {there} in {place.name}/; give a whole "
        "folder of diffusers, or name a file"
    )


def _set_scale(model: DiADModel, said: Any, where: str, notes: list[str]) -> None:
    """Take the scale of the latents that the weights state, with a note where it isn't the model's."""
    if said is None:
        return
    if not isinstance(said, (int, float, Tensor)) or not 0 < float(said) < float("inf"):
        raise UserError(f"{where}: the scale of its latents is {said!r}, expected a number above 0")
    if abs(float(said) - model.config.scale) > SAME_SCALE:
        notes.append(f"latents scaled by {float(said):.5g}, as {where} says")
        model.config = dataclasses.replace(model.config, scale=float(said))


def _load_hub(model: DiADModel, source: str) -> None:
    """Load a repository of the hub. Raises Skip if the hub can't be reached, else as :func:`load_stable_diffusion`."""
    from transformers import CLIPTextModel

    encoder: Any = CLIPTextModel
    try:
        with hub_access():
            for part, folder in ((model.unet, "unet"), (model.vae, "vae")):
                # given explicitly, because diffusers would warn that accelerate is missing
                options: dict[str, Any] = {"subfolder": folder, "low_cpu_mem_usage": False}
                loaded = _whole(type(part).from_pretrained(source, output_loading_info=True, **options), source, folder)
                load_state(part, loaded.state_dict(), f"{source}/{type(part).__name__}")
            text = encoder.from_pretrained(source, subfolder="text_encoder", output_loading_info=True)
    except UserError:
        raise
    except Exception as error:
        if no_network(error):
            raise Skip(
                f"Stable Diffusion {source!r}: not in the local cache and the hub can't be reached; "
                "give a folder or a file with `weights`"
            ) from error
        if isinstance(error, (OSError, RuntimeError)):
            raise UserError(f"Stable Diffusion {source!r}: {str(error).splitlines()[0]}") from error
        raise
    set_text(model, empty_prompt(_whole(text, source, "text_encoder").eval()), f"Stable Diffusion {source!r}")


def _whole(loaded: tuple[Any, dict[str, Any]], source: str, part: str) -> Any:
    """Return a network that a library loaded, unless it filled in missing weights or left some out."""
    network, info = loaded
    kinds = {"missing": "missing_keys", "unexpected": "unexpected_keys", "misshaped": "mismatched_keys"}
    # a buffer in files of earlier versions, which follows from the length
    problems = [f"{kind} {key}" for kind, name in kinds.items() for key in info.get(name, ()) if not _is_positions(key)]
    refuse(problems, f"{source}/{part}")
    return network


def _is_positions(key: Any) -> bool:
    return str(key).endswith("position_ids")
