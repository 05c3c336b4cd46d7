"""PatchCore's patch features and maps, as computed by its authors' code and by anomalib."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor
from torch.nn import functional
from torchvision.transforms.functional import gaussian_blur

from diadbench.methods.features.gaussian import blur

#: (feature maps ``(B,C,h,w)``, finest first; dimension) -> patch features ``(B, D, h, w)`` on the finest grid.
Embedding = Callable[[Sequence[Tensor], int], Tensor]


def official(maps: Sequence[Tensor], dimension: int) -> Tensor:
    """Embed as ``amazon-science/patchcore-inspection`` does.

    Each patch is a 3x3 neighbourhood (zeros outside), whose ``C*9`` values are averaged in order down to ``dimension``.
    Coarse levels are enlarged to the finest grid. The concatenated values of all levels are averaged down to
    ``dimension``. Averaging works on channels and enlarging on positions, so the cheaper one is done first.
    """
    levels: list[Tensor] = []
    for level in maps:
        height, width = level.shape[2:]
        patches = functional.unfold(level, kernel_size=3, padding=1)
        pooled = functional.adaptive_avg_pool1d(patches.transpose(1, 2), dimension)
        grid = pooled.transpose(1, 2).reshape(len(pooled), dimension, height, width)
        levels.append(_enlarge(grid, maps[0]))
    values = torch.cat(levels, 1).flatten(2).transpose(1, 2)
    reduced = functional.adaptive_avg_pool1d(values, dimension).transpose(1, 2)
    return reduced.reshape(len(reduced), dimension, *maps[0].shape[2:])


def concat(maps: Sequence[Tensor], dimension: int) -> Tensor:
    """Embed as anomalib does: 3x3 averages, coarse levels enlarged, channels joined. ``dimension`` is not used."""
    pooled = [functional.avg_pool2d(level, 3, stride=1, padding=1) for level in maps]
    return torch.cat([_enlarge(level, maps[0]) for level in pooled], 1)


EMBEDDINGS: dict[str, Embedding] = {"official": official, "concat": concat}


def smooth(scores: Tensor, size: tuple[int, int], sigma: float) -> Tensor:
    """Enlarge ``(B,h,w)`` patch scores bilinearly to ``size`` and blur them with scipy's Gaussian (the authors')."""
    maps = functional.interpolate(scores[:, None], size, mode="bilinear", align_corners=False)[:, 0]
    if sigma == 0:
        return maps
    if maps.device.type == "cuda":
        return blur(maps, sigma).float()
    blurred = ndimage.gaussian_filter(maps.cpu().numpy().astype(np.float32), sigma=(0, sigma, sigma))
    return torch.from_numpy(blurred).to(scores.device)


def smooth_nearest(scores: Tensor, size: tuple[int, int], sigma: float) -> Tensor:
    """Enlarge by repetition and blur with reflected borders, as anomalib does."""
    maps = functional.interpolate(scores[:, None], size, mode="nearest")
    if sigma == 0:
        return maps[:, 0]
    taps = 2 * int(4 * sigma + 0.5) + 1
    blurred: Tensor = gaussian_blur(maps, [taps, taps], [sigma, sigma])
    return blurred[:, 0]


SMOOTHERS: dict[str, Callable[[Tensor, tuple[int, int], float], Tensor]] = {
    "bilinear": smooth,
    "nearest": smooth_nearest,
}


def _enlarge(level: Tensor, finest: Tensor) -> Tensor:
    if level.shape[2:] == finest.shape[2:]:
        return level
    return functional.interpolate(level, finest.shape[2:], mode="bilinear", align_corners=False)
