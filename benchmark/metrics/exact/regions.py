"""Connected regions of masks: the region of each anomalous pixel."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

_NEIGHBOURS = {8: np.ones((3, 3), dtype=bool), 4: ndimage.generate_binary_structure(2, 1)}


def label_regions(mask: NDArray[Any], connectivity: int = 8) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Label the connected regions of one mask.

    Args:
        mask: ``(H,W)`` bool.
        connectivity: 8 (every published code) or 4.

    Returns:
        ``int32 (P,)``: region (from 0) of each anomalous pixel, row by row; ``int64 (R,)``: pixels of each region.
    """
    rows = np.flatnonzero(mask.any(axis=1))
    if not len(rows):
        return np.empty(0, np.int32), np.empty(0, np.int64)
    columns = np.flatnonzero(mask.any(axis=0))
    box = mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    labels, _ = ndimage.label(box, structure=_NEIGHBOURS[connectivity])
    of_pixel = labels[box].astype(np.int32) - 1
    return of_pixel, np.bincount(of_pixel).astype(np.int64)
