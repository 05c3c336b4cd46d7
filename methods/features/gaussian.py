"""scipy's Gaussian filter as matrix products, for maps on a GPU, without copies to the CPU."""

from __future__ import annotations

import functools

import numpy as np
import torch
from scipy.ndimage import gaussian_filter1d
from torch import Tensor


def blur(maps: Tensor, sigma: float) -> Tensor:
    """Return ``(B,H,W)`` maps smoothed as by ``scipy.ndimage.gaussian_filter``: edges reflected, cut at 4 sigma.

    Args:
        maps: Any floating dtype; computed in float64.
        sigma: Standard deviation in pixels, above 0.

    Returns:
        ``float64 (B,H,W)`` on the maps' device, equal to scipy's up to rounding.
    """
    rows, columns = (_matrix(side, sigma, maps.device) for side in maps.shape[-2:])
    return rows @ maps.double() @ columns.T


@functools.lru_cache(maxsize=16)
def _matrix(side: int, sigma: float, device: torch.device) -> Tensor:
    """Return the filter of one line of ``side`` pixels as a matrix ``float64 (side,side)``."""
    with torch.inference_mode(False):
        filtered = gaussian_filter1d(np.eye(side), sigma, axis=0)
        return torch.from_numpy(np.ascontiguousarray(filtered)).to(device)
