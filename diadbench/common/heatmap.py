"""Anomaly maps as pictures, with one palette for all heat maps."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
#: matplotlib's name of the palette: perceptually uniform, dark where a map is low
PALETTE = "inferno"
#: opacity of the map in an overlay
OPACITY = 0.45


def level(values: Array, low: float, high: float) -> Array:
    """Return values on a scale from ``low`` (0) to ``high`` (1), clipped; NaN is 0. Same shape, float."""
    return np.clip((np.nan_to_num(values) - low) / max(high - low, 1e-12), 0, 1)


def paint(values: Array, low: float, high: float) -> Array:
    """Return a map ``(H,W)`` as a picture, ``uint8 (H,W,3)``: ``low`` is dark, ``high`` bright."""
    from matplotlib import colormaps  # imported here, because most commands draw nothing

    return np.asarray(colormaps[PALETTE](level(values, low, high), bytes=True))[..., :3]


def overlay(image: Array, painted: Array, opacity: float | Array = OPACITY) -> Array:
    """Return an image with a painted map laid over it, ``uint8 (H,W,3)``.

    Args:
        image: ``uint8 (H,W,3)``.
        painted: Result of :func:`paint`, of the same size.
        opacity: Opacity of the map, in [0, 1]: one number, or one for each pixel ``(H,W)``.
    """
    share = np.asarray(opacity, dtype=np.float32)
    share = share[..., None] if share.ndim else share
    return (image * (1 - share) + painted * share).round().astype(np.uint8)
