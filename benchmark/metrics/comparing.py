"""Apply a protocol's crop, resize and blur to maps and masks before metrics are computed."""

from __future__ import annotations

import functools
import math
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from diadbench.benchmark.metrics.conventions.protocol import Protocol
from diadbench.benchmark.metrics.exact.inputs import as_floats
from diadbench.benchmark.metrics.exact.spill import blocks

if TYPE_CHECKING:
    import torch
    from torch import Tensor


def compared_maps(maps: NDArray[Any], protocol: Protocol) -> NDArray[Any]:
    """Return maps as a protocol compares them.

    The centre is cropped, resized (bilinear, ``align_corners=False``, no antialiasing) and blurred with zero padding,
    as in Dinomaly's evaluation. The maps' own precision is used throughout. No image depends on its batch.

    Args:
        maps: ``(B,H,W)`` of any real type.
        protocol: The protocol; its ``crop``, ``compare_size`` and ``blur`` are used.

    Returns:
        ``(B,h,w)`` float32, or float64 from float64; the maps themselves where the protocol changes nothing.
    """
    if not protocol.changes_maps:
        return maps
    return np.concatenate([_changed(as_floats(block), protocol) for block in blocks(maps)]) if len(maps) else maps


def compared_masks(masks: NDArray[np.bool_], protocol: Protocol) -> NDArray[np.bool_]:
    """Return ``bool (B,H,W)`` masks as a protocol compares them: the centre, resized by nearest neighbour."""
    if not (protocol.crop < 1 or protocol.compare_size is not None):
        return masks
    centre = np.ascontiguousarray(_centre(masks, protocol.crop))
    side = protocol.compare_size
    if side is None or centre.shape[1:] == (side, side):
        return centre
    import torch
    from torch.nn.functional import interpolate

    resized = interpolate(torch.from_numpy(centre)[:, None].float(), (side, side), mode="nearest")
    return np.asarray(resized[:, 0].numpy() > 0)


def _changed(maps: NDArray[Any], protocol: Protocol) -> NDArray[Any]:
    import torch
    from torch.nn.functional import interpolate

    values = torch.from_numpy(np.array(_centre(maps, protocol.crop)))[:, None]
    side = protocol.compare_size
    if side is not None and values.shape[2:] != (side, side):
        values = interpolate(values, (side, side), mode="bilinear", align_corners=False)
    if protocol.blur:
        values = _blurred(values, *protocol.blur)
    return np.asarray(values[:, 0].numpy())


def _centre(values: NDArray[Any], share: float) -> NDArray[Any]:
    """Crop the centre of ``(B,H,W)`` arrays, placed as torchvision's ``CenterCrop`` places it."""
    height, width = values.shape[1:]
    size = [max(1, round(share * side)) for side in (height, width)]
    top, left = (round((side - kept) / 2) for side, kept in zip((height, width), size))
    return values[:, top : top + size[0], left : left + size[1]]


def _blurred(values: Tensor, kernel: int, sigma: float) -> Tensor:
    import torch
    from torch.nn.functional import conv2d

    weight = gaussian_kernel(kernel, sigma, values.dtype)[None, None]
    return torch.cat([conv2d(one[None], weight, padding=kernel // 2) for one in values])


@functools.cache
def gaussian_kernel(size: int, sigma: float, dtype: torch.dtype) -> Tensor:
    """Return a Gaussian kernel ``(size,size)`` that sums to 1."""
    import torch

    place = torch.arange(size, dtype=dtype) - (size - 1) / 2
    squares = place[:, None] ** 2 + place[None] ** 2
    kernel = (1.0 / (2.0 * math.pi * sigma**2)) * torch.exp(-squares / (2 * sigma**2))
    return kernel / kernel.sum()
