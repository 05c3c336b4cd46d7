"""Steps around the head: alignment of the backbone's maps (the neck), the loss, the score map, the image score."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

ScoreKind = Literal["max", "std", "mean"]

#: Side of the averaging window before the maximum, in pixels of the score map.
POOL = 16


def align(maps: Sequence[Tensor], strides: Sequence[int], stride: int = 16) -> Tensor:
    """Resample feature maps to one stride and concatenate their channels, fine maps first (MFCN, "neck").

    Bilinear with aligned corners and no anti-aliasing: fine maps are sampled, not averaged.

    Args:
        maps: ``float32 (B,C_i,H/s_i,W/s_i)`` each.
        strides: ``s_i``, input pixels per map pixel.
        stride: Input pixels per pixel of the result.

    Returns:
        ``float32 (B, sum C_i, h, w)``.
    """
    return torch.cat(
        [
            functional.interpolate(
                one, (one.shape[2] * s // stride, one.shape[3] * s // stride), mode="bilinear", align_corners=True
            )
            for one, s in zip(maps, strides, strict=True)
        ],
        1,
    )


def feature_loss(rec: Tensor, target: Tensor) -> Tensor:
    """Return the mean squared error over all elements of ``(B,C,h,w)``, a scalar."""
    return functional.mse_loss(rec, target)


def score_map(rec: Tensor, target: Tensor, stride: int = 16) -> Tensor:
    """Return the L2 distance of each token ``(B,C,h,w)``, enlarged ``stride`` times: ``float32 (B,1,H,W)``."""
    distance = (rec - target).square().sum(1, keepdim=True).sqrt()
    size = (distance.shape[2] * stride, distance.shape[3] * stride)
    return functional.interpolate(distance, size, mode="bilinear", align_corners=True)


def image_score(maps: Tensor, kind: ScoreKind = "max") -> Tensor:
    """Return one value for each map ``(B,1,H,W)``: ``float32 (B,)``.

    ``max``: the largest mean of any 16x16 window inside the map. ``std``: the population standard deviation.
    ``mean``: the mean.
    """
    flat = maps.flatten(1)
    if kind == "mean":
        return flat.mean(1)
    if kind == "std":
        return flat.std(1, correction=0)
    return functional.avg_pool2d(maps, POOL, stride=1).flatten(1).amax(1)
