"""Bring a method's predictions to the evaluation size and to the CPU; what a GPU can do for it is done there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from diadbench.benchmark.cells.scoring.evaluation_size import Size, at_evaluation_size
from diadbench.benchmark.metrics.exact.pooling import pooled_scores
from diadbench.methods.authoring.returned import checked

if TYPE_CHECKING:
    from diadbench.benchmark.metrics.protocols import Protocol
    from diadbench.methods.base import Method, Prediction


@dataclass(frozen=True)
class Answer:
    """A method's predictions for a batch, on the CPU.

    Attributes:
        maps: ``float32 (B,H,W)`` at the evaluation size.
        scores: ``float32 (B,)``: the method's own image scores.
        pooled: ``float32 (B,)``: the protocol's image scores, where a GPU has pooled the maps; else ``None``.
        reconstruction: The method's reconstructions where they are, or ``None``.
    """

    maps: Tensor
    scores: Tensor
    pooled: Tensor | None = None
    reconstruction: Tensor | None = None


def answered(
    method: Method, images: Tensor, device: torch.device, size: Size | None = None, protocol: Protocol | None = None
) -> Answer:
    """Return a method's predictions for a batch of images.

    Args:
        method: A fitted method.
        images: ``float32 (B,C,H,W)`` in [0,1], on the CPU. A copy from pinned memory is asynchronous.
        device: Device of the method.
        size: ``(H, W)`` of the evaluation; by default that of the images.
        protocol: Metric conventions of the evaluation.

    Raises:
        UserError: The prediction isn't well-formed, see :func:`~diadbench.methods.authoring.returned.checked`.
    """
    return brought(method.predict(given(images, device)), images, size, protocol)


def given(images: Tensor, device: torch.device) -> Tensor:
    """Return a copy of images on a device, so that a method that changes its input changes no picture that is kept."""
    return images.clone() if device.type == "cpu" else images.to(device, non_blocking=True)


def brought(found: Prediction, images: Tensor, size: Size | None = None, protocol: Protocol | None = None) -> Answer:
    """Bring a prediction to the evaluation size and to the CPU; see :func:`answered`.

    Maps on a GPU are resized there, and pooled there where the protocol's image score asks for it (15 ms an image on
    one core of a CPU). All results are then copied together, so the host waits only once.
    """
    found = checked(found, len(images), _size(images))
    maps, scores = found.anomaly_map, found.score
    if maps.device.type == "cpu" or maps.device != scores.device:
        maps = maps.cpu()
        return Answer(at_evaluation_size(maps, images, size or _size(images)), scores.cpu(), None, found.reconstruction)
    maps = at_evaluation_size(maps, images, size or _size(images))
    parts = [maps.flatten(), scores.flatten()]
    # A protocol that crops, resizes or blurs maps before it pools them does so in the evaluator.
    if protocol is not None and protocol.score == "pooled" and not protocol.changes_maps:
        parts.append(pooled_scores(maps, protocol))
    whole, pixels, images_end = torch.cat(parts).cpu(), maps.numel(), maps.numel() + scores.numel()
    pooled = whole[images_end:] if len(parts) > 2 else None
    flat, single = whole[:pixels].view(maps.shape), whole[pixels:images_end]
    return Answer(flat, single, pooled, found.reconstruction)


def joined(answers: Sequence[Answer]) -> Answer:
    """Return the answers for the parts of a batch as one; what a part lacks the whole lacks."""
    found: dict[str, Any] = {}
    for field in fields(Answer):
        values = [getattr(each, field.name) for each in answers]
        found[field.name] = None if any(value is None for value in values) else torch.cat(values)
    return replace(answers[0], **found)


def _size(images: Tensor) -> Size:
    return images.shape[-2], images.shape[-1]
