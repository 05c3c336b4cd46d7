"""The anomaly map and the image score (the authors' ``cal_anomaly_map`` and pooled maximum), for whole batches."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from scipy.ndimage import gaussian_filter
from torch import Tensor

from diadbench.methods.features.gaussian import blur

SIGMA = 5.0
POOLINGS, POOL = 8, 8
#: The paper's ResNet-50 (in the authors' timm, ``resnet50`` was this) and the levels that it compares.
BACKBONE, FEATURE_LEVELS = "resnet50.a1_in1k", (1, 2, 3)


def feature_notes(backbone: str, levels: Sequence[int]) -> list[str]:
    """Return a note if the compared features are not those of the paper's network and levels. The tag is no part."""
    name, own = backbone.partition(".")[0], BACKBONE.partition(".")[0]
    found = []
    if name != own:
        found.append(f"DiAD compares features of {name} (the paper: {own})")
    if tuple(levels) != FEATURE_LEVELS:
        found.append(f"DiAD compares feature levels {_listed(levels)} (the paper: {_listed(FEATURE_LEVELS)})")
    return found


def _listed(numbers: Sequence[int]) -> str:
    return ", ".join(map(str, numbers))


def level_maps(inputs: Sequence[Tensor], outputs: Sequence[Tensor], size: tuple[int, int]) -> Tensor:
    """Return one minus the cosine similarity over channels, for each level, at the size of the image.

    Args:
        inputs: Features of the images, ``(B,C,h,w)`` for each level.
        outputs: Features of the reconstructions.
        size: ``(H, W)`` of the image.

    Returns:
        ``float32 (B,levels,H,W)``.
    """
    maps = []
    for a, b in zip(inputs, outputs, strict=True):
        distance = 1 - F.cosine_similarity(a.float(), b.float(), dim=1, eps=1e-8)
        maps.append(F.interpolate(distance[:, None], size=size, mode="bilinear", align_corners=True))
    return torch.cat(maps, dim=1)


def smooth(maps: Tensor, sigma: float = SIGMA) -> Tensor:
    """Return ``(B,H,W)`` maps smoothed with a Gaussian in float64 (scipy: edges reflected, cut at 4 sigma)."""
    if sigma <= 0:
        return maps.double()
    if maps.device.type == "cuda":
        return blur(maps, sigma)
    blurred = gaussian_filter(maps.double().cpu().numpy(), sigma=(0, sigma, sigma))
    return torch.from_numpy(np.asarray(blurred)).to(maps.device)


def anomaly_map(levels: Tensor, sigma: float = SIGMA) -> Tensor:
    """Return the smoothed sum of all levels, ``float64 (B,H,W)``."""
    return smooth(levels.double().sum(dim=1), sigma)


def image_score(maps: Tensor, pool: int = POOL) -> Tensor:
    """Return the largest value after eight average poolings with stride 1, as ``(B,)``.

    Args:
        maps: ``(B,H,W)``.
        pool: Side of the pooling; the authors use 8 for 256 pixels. Maps that are too small for eight poolings (below
            64 pixels with 8) get as many as fit.
    """
    pooled = maps[:, None]
    for _ in range(POOLINGS):
        if min(pooled.shape[-2:]) < pool:
            break
        pooled = F.avg_pool2d(pooled, pool, stride=1)
    return pooled.flatten(1).amax(dim=1)
