"""Store anomaly maps as float16 without losing offset and range: each map is scaled to [0, 1] by its own limits.

Plain float16 rounds 3000.3 to 3000 and overflows beyond 65504. Here the least and the greatest value of a map are
restored exactly, and other values within 2**-12 of the map's range (and float32's own rounding).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


def to_half(maps: Array) -> tuple[NDArray[np.float16], NDArray[np.float32]]:
    """Scale maps to their own limits and round them to float16.

    Args:
        maps: ``float32 (..., H, W)``, any range. NaN and infinities are kept.

    Returns:
        ``float16`` of the shape of the maps, finite values in [0, 1]; and ``float32 (..., 2)``: the least and the
        greatest finite value of each map (0 and 0 where it has none).
    """
    finite = np.isfinite(maps)
    low = np.min(maps, axis=(-2, -1), where=finite, initial=np.inf)
    high = np.max(maps, axis=(-2, -1), where=finite, initial=-np.inf)
    limits = np.stack([low, high], axis=-1).astype(np.float32)
    limits[~finite.any(axis=(-2, -1))] = 0
    least, scale = _least_and_scale(limits)
    return ((maps - least) / scale).astype(np.float16), limits


def from_half(half: Array, limits: Array) -> NDArray[np.float32]:
    """Invert :func:`to_half`.

    Args:
        half: ``float16 (..., H, W)``.
        limits: ``float32 (..., 2)``.

    Returns:
        ``float32 (..., H, W)``.
    """
    least, scale = _least_and_scale(limits)
    return (least + half * scale).astype(np.float32)


def loss_of_half(maps: Array, half: Array, limits: Array) -> float:
    """Return the largest difference between maps and their restored copies, as a share of the map's range."""
    with np.errstate(invalid="ignore"):  # infinity minus infinity
        off = np.abs(from_half(half, limits).astype(np.float64) - maps) / _least_and_scale(limits)[1]
    return float(np.max(off, where=np.isfinite(maps), initial=0.0))


def _least_and_scale(limits: Array) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return least value and range (1 for constant maps), ``(..., 1, 1)``, in float64, in which no range overflows."""
    wide = np.asarray(limits, dtype=np.float64)[..., None, None, :]
    least, greatest = wide[..., 0], wide[..., 1]
    return least, np.where(greatest > least, greatest - least, 1.0)
