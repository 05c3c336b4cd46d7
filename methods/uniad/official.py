"""Compatibility with the authors' code: their padding, their names, their checkpoints."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import timm
from timm.layers.conv2d_same import Conv2dSame
from timm.models.efficientnet import EfficientNetFeatures
from torch import Tensor, nn
from torch.nn import functional

from diadbench.common.errors import UserError
from diadbench.common.wording import counted, some
from diadbench.methods.features.backbone_weights import timm_names
from diadbench.methods.features.backbones import Backbone
from diadbench.methods.features.weight_files import State, read_state, without_wrapper
from diadbench.methods.features.weights import load_state
from diadbench.methods.uniad.head import UniADHead

Padding = Literal["official", "timm"]

#: Image size in pixels for which the authors' EfficientNets fix their padding, for every actual size.
NOMINAL = {"b0": 224, "b1": 240, "b2": 260, "b3": 300, "b4": 380, "b5": 456, "b6": 528, "b7": 600}

#: Prefixes of a whole checkpoint's parts.
_BACKBONE, _HEAD = "backbone.", "reconstruction."
_HINT = "check image size, neighbourhood and layers"
_BACKBONE_HINT = "is the option backbone that of the checkpoint?"


class StaticSame(nn.Module):
    """A strided convolution with the "same" padding of one nominal input size, at every input size.

    It uses ``conv``'s parameters under the same names.
    """

    def __init__(self, conv: Conv2dSame, nominal: int) -> None:
        super().__init__()
        self.weight, self.bias = conv.weight, conv.bias
        self.stride, self.dilation, self.groups = conv.stride, conv.dilation, conv.groups
        self.pads: list[int] = []
        for axis in (1, 0):  # functional.pad counts from the last axis.
            kernel, stride, dilation = int(conv.kernel_size[axis]), int(conv.stride[axis]), int(conv.dilation[axis])
            total = max((-(-nominal // stride) - 1) * stride + (kernel - 1) * dilation + 1 - nominal, 0)
            self.pads += [total // 2, total - total // 2]

    def forward(self, x: Tensor) -> Tensor:
        """Pad and convolve ``(B,C,H,W)``."""
        padded = functional.pad(x, self.pads)
        return functional.conv2d(padded, self.weight, self.bias, self.stride, 0, self.dilation, self.groups)


def use_official_padding(network: nn.Module, name: str) -> None:
    """Give a timm ``tf_efficientnet_b*`` the padding of the authors' implementation, in place.

    Their padding is fixed for the nominal size (380 for b4), while timm's follows the input. At 224 and 256 pixels the
    5x5 convolution with stride 2 differs by one pixel, and so do all later maps.

    Raises:
        UserError: The network is of another kind.
    """
    size = NOMINAL.get(name.partition(".")[0].removeprefix("tf_efficientnet_"))
    if size is None:
        raise UserError(
            f"uniad: padding 'official' is that of tf_efficientnet_b0 to b7, not of {name}; take padding: timm"
        )
    # Strided convolutions are registered in the order in which they run.
    for path, module in list(network.named_modules()):
        if isinstance(module, Conv2dSame):
            parent, _, leaf = path.rpartition(".")
            setattr(network.get_submodule(parent), leaf, StaticSame(module, size))
            size = -(-size // int(module.stride[0]))


def drop_unused_stages(network: nn.Module) -> None:
    """Remove the stages of a timm EfficientNet after the last level in use, because their results would be unused."""
    stages = getattr(network, "blocks", None)
    used = getattr(network, "_stage_out_idx", None)
    if isinstance(network, EfficientNetFeatures) and isinstance(stages, nn.Sequential) and isinstance(used, dict):
        network.blocks = stages[: max(used)]


@dataclass(frozen=True)
class LoadReport:
    """How the keys of a checkpoint were used.

    Attributes:
        head: Number of keys that the head took (all of its own).
        backbone: Number of keys that the backbone took (all of its own).
        unused: Keys of parts that UniAD does not run: late stages, head and classifier of the EfficientNet.
        notes: Lines on what else was left out, or rounded.
    """

    head: int
    backbone: int
    unused: tuple[str, ...]
    notes: tuple[str, ...] = ()

    def __str__(self) -> str:
        groups: dict[str, int] = {}
        for key in self.unused:
            block = re.match(r"(backbone\._blocks)\.\d+", key)
            name = f"{block[1]}.*" if block else key.rpartition(".")[0]
            groups[name] = groups.get(name, 0) + 1
        listed = ", ".join(f"{name} ({count})" for name, count in groups.items())
        unused = f"{len(self.unused)} not used: {listed}" if self.unused else "every key used"
        return f"{self.head} keys for the head, {self.backbone} for the backbone, {unused}"


def read_checkpoint(path: Path | str, notes: list[str] | None = None) -> State:
    """Read the authors' checkpoint file and return tensors by name, without ``module.``.

    It holds their dictionary (``epoch``, ``arch``, ``state_dict``, ``best_metric``, ``optimizer``) or tensors alone.
    ``notes`` gets a line on entries that hold weights too and are left out, and one on rounded weights.

    Raises:
        UserError: No such file, or it holds no tensors by name.
    """
    return without_module(read_state(path, what="uniad checkpoint", notes=notes))


def without_module(state: Mapping[str, Tensor]) -> State:
    """Remove the prefix ``module.`` that distributed training adds to every key."""
    return {key.removeprefix("module."): value for key, value in state.items()}


def load_head(head: UniADHead, state: Mapping[str, Tensor], where: str = "state") -> None:
    """Load the head from weights with the authors' names, with or without prefixes ``reconstruction.`` and ``module.``.

    Raises:
        UserError: A missing or unexpected key or another shape.
    """
    own = {key.removeprefix(_HEAD): value for key, value in without_module(state).items()}
    load_state(head, own, where, _HINT)


def load_backbone_state(backbone: Backbone, state: Mapping[str, Tensor], where: str = "state") -> tuple[str, ...]:
    """Load a timm EfficientNet from weights with the authors' names, with or without ``backbone.`` and ``module.``.

    Returns:
        Keys that no used level needs, by the authors' names.

    Raises:
        UserError: A missing or unexpected key or another shape.
    """
    state = {key.removeprefix(_BACKBONE): value for key, value in without_module(state).items()}
    whole = timm.create_model(backbone.name, pretrained=False)
    try:
        renamed = {new: old for old in state for new in timm_names({old: state[old]}, whole)}
    except (IndexError, ValueError) as error:
        raise UserError(f"{where}: it has more blocks than {backbone.name}, or others") from error
    unexpected = sorted(renamed[key] for key in set(renamed) - set(whole.state_dict()))
    if unexpected:
        raise UserError(
            f"{where}: {counted(len(unexpected), 'key is', 'keys are')} none of {backbone.name}'s "
            f"({some(unexpected, most=1)})"
        )
    own = backbone.network.state_dict()
    used = set(own)
    # Files from before PyTorch 0.4.1 have no counters; evaluation doesn't read them.
    counters = {key: value for key, value in own.items() if key.endswith("num_batches_tracked")}
    load_state(
        backbone.network,
        counters | {new: state[old] for new, old in renamed.items() if new in used},
        where,
        _BACKBONE_HINT,
    )
    return tuple(old for new, old in renamed.items() if new not in used)


def load_checkpoint(path: Path | str, head: UniADHead, backbone: Backbone) -> tuple[Backbone, LoadReport]:
    """Load head and backbone from one of the authors' checkpoints (838 keys for MVTec-AD).

    Returns:
        The backbone with the digest of its new weights, and how the keys were used.

    Raises:
        UserError: The file can't be read; a missing or unexpected key; another shape.
    """
    where = f"uniad checkpoint {path}"
    notes: list[str] = []
    state = without_wrapper(read_checkpoint(path, notes), (_BACKBONE, _HEAD))
    _check_parts(state, where)
    head_state = {key: value for key, value in state.items() if key.startswith(_HEAD)}
    load_head(head, head_state, where)
    unused = load_backbone_state(backbone, {k: v for k, v in state.items() if k.startswith(_BACKBONE)}, where)
    backbone = Backbone(backbone.network, name=backbone.name, mean=backbone.mean, std=backbone.std)
    used = len(state) - len(head_state) - len(unused)
    return backbone, LoadReport(len(head_state), used, tuple(_BACKBONE + key for key in unused), tuple(notes))


def _check_parts(state: Mapping[str, Tensor], where: str) -> None:
    """Refuse weights that aren't a backbone and a head and nothing else. Raises UserError."""
    expected = f"{where}: expected keys under {_BACKBONE} and {_HEAD}"
    if strange := [key for key in state if not key.startswith((_BACKBONE, _HEAD))]:
        raise UserError(f"{expected}, found {strange[0]!r}; are these weights of another method?")
    if missing := [part for part in (_BACKBONE, _HEAD) if not any(key.startswith(part) for key in state)]:
        raise UserError(f"{expected}, found none under {missing[0]}; give the whole checkpoint")
