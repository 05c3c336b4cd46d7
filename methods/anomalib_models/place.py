"""Find the place of an anomalib model's input in the image, and put its map back there.

anomalib resizes, crops and pads in a model's pre-processor, and the model's map covers only the result. So a map must
not be stretched over the image. The place is measured instead of read from the transforms' classes: two ramps (the
numbers of columns and of rows) are transformed, and the output values show the origin of each pixel.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torchvision.transforms import v2

from diadbench.common.errors import UserError

#: Offset of the ramps, so that filled-in values (zeros) are far below.
_OFFSET = 1000.0
#: Slopes and positions in pixels that differ by less count as equal.
_TOLERANCE = 1e-6


@dataclass(frozen=True)
class Place:
    """The place of a model's input in an image.

    Attributes:
        image: ``(H, W)`` of the image.
        size: ``(h, w)`` of the model's input.
        rows: Top and bottom edge of the input, in pixels of the image; outside ``[0, H]`` where the transform pads.
        columns: Left and right edge, in the same way.
    """

    image: tuple[int, int]
    size: tuple[int, int]
    rows: tuple[float, float]
    columns: tuple[float, float]

    @property
    def whole(self) -> bool:
        """Whether the input is exactly the image."""
        return all(
            abs(begin) < _TOLERANCE and abs(end - length) < _TOLERANCE
            for (begin, end), length in zip((self.rows, self.columns), self.image, strict=True)
        )

    @property
    def pads(self) -> bool:
        """Whether the transform adds pixels around the image."""
        return any(
            begin < -_TOLERANCE or end > length + _TOLERANCE
            for (begin, end), length in zip((self.rows, self.columns), self.image, strict=True)
        )

    @property
    def unseen(self) -> float:
        """Return the share of the image outside the input, in [0,1]."""
        seen = 1.0
        for (begin, end), length in zip((self.rows, self.columns), self.image, strict=True):
            seen *= max(0.0, min(end, length) - max(begin, 0.0)) / length
        return 1.0 - seen if seen < 1.0 - _TOLERANCE else 0.0

    def put(self, maps: Tensor) -> Tensor:
        """Put maps of the model's input into their place in the image, bilinearly.

        Args:
            maps: ``float32 (B,h,w)`` of any resolution; they cover the model's input.

        Returns:
            ``float32 (B,H,W)``. Pixels outside the model's input have the lowest score of their own image's map.
        """
        if self.whole:
            if maps.shape[1:] == self.image:
                return maps
            return functional.interpolate(maps[:, None], self.image, mode="bilinear", align_corners=False)[:, 0]
        placed, outside_rows = _resample(maps, 1, self.image[0], self.rows)
        placed, outside_columns = _resample(placed, 2, self.image[1], self.columns)
        outside = outside_rows[:, None] | outside_columns[None]
        lowest = placed.masked_fill(outside, torch.inf).amin((1, 2))
        return torch.where(outside, lowest[:, None, None], placed)


def find_place(transform: Callable[[Tensor], Tensor] | None, image: tuple[int, int]) -> Place:
    """Measure the place of a torchvision transform's output in images of size ``image``.

    Raises:
        UserError: The transform does more than resize, crop and pad (for example, it rotates or mirrors the image).
    """
    height, width = image
    rows = torch.arange(height, dtype=torch.float64)[:, None].expand(height, width)
    columns = torch.arange(width, dtype=torch.float64).expand(height, width)
    ramps = torch.stack([rows, columns, rows])[None] + _OFFSET
    found = (geometry(transform)(ramps) if transform is not None else ramps)[0] - _OFFSET
    size = (found.shape[1], found.shape[2])
    return Place(image, size, _edges(found[0], transform), _edges(found[1].T, transform))


def geometry(transform: Any) -> Any:
    """Return the transform without its normalisation and filters, which move no pixel.

    Bilinear resizing without antialiasing keeps a ramp straight; other filters bend it a little.
    """
    if isinstance(transform, v2.Compose):
        return v2.Compose([geometry(part) for part in transform.transforms])
    if isinstance(transform, v2.Resize):
        resize = copy.copy(transform)
        resize.interpolation, resize.antialias = v2.InterpolationMode.BILINEAR, False
        return resize
    return v2.Identity() if isinstance(transform, v2.Normalize) else transform


def has_crop(transform: Any) -> bool:
    """Whether the transform contains a centre crop."""
    parts = transform.transforms if isinstance(transform, v2.Compose) else [transform]
    return any(isinstance(part, v2.CenterCrop) for part in parts)


def without_crop(transform: Any) -> Any:
    """Return the transform with the whole image resized to the size that its centre crop has.

    The model then gets an input of its intended size. A resize before the crop keeps its filter.
    """
    parts = list(transform.transforms) if isinstance(transform, v2.Compose) else [transform]
    kept: list[Any] = []
    for part in parts:
        if not isinstance(part, v2.CenterCrop):
            kept.append(part)
        elif kept and isinstance(kept[-1], v2.Resize):
            before = kept.pop()
            kept.append(v2.Resize(part.size, interpolation=before.interpolation, antialias=before.antialias))
        else:
            kept.append(v2.Resize(part.size, antialias=True))
    return v2.Compose(kept)


def _edges(ramp: Tensor, transform: object) -> tuple[float, float]:
    """Return the first and last edge of an output in the image, from a ramp ``(h,w)`` along ``h``.

    Filled-in and repeated pixels, and those that a filter mixed across an edge, don't lie on a straight line with the
    rest and are left out.
    """
    count = len(ramp)
    line = ramp.amax(1)
    steps = line.diff()
    inside = (line[:-1] > -_OFFSET / 2) & (line[1:] > -_OFFSET / 2) & (steps.abs() > _TOLERANCE)
    slope = steps[inside].median() if bool(inside.any()) else torch.tensor(0.0, dtype=line.dtype)
    straight = inside & ((steps - slope).abs() < _TOLERANCE)
    if slope <= 0 or int(straight.sum()) < 2:
        shown = " ".join(str(transform).split())
        raise UserError(f"can't tell where the map of the model lies in the image; its transform is {shown}")
    positions = torch.arange(count - 1, dtype=line.dtype)
    start = float((line[:-1] - slope * positions)[straight].median())
    # Ramps hold positions of pixel centres; edges lie half a pixel before.
    first = start + 0.5 - 0.5 * float(slope)
    return round(first, 6), round(first + float(slope) * count, 6)


def _resample(maps: Tensor, axis: int, length: int, edges: tuple[float, float]) -> tuple[Tensor, Tensor]:
    """Resample maps along one axis to ``length`` pixels of the image; also return which of these lie outside."""
    count = maps.shape[axis]
    centres = torch.arange(length, dtype=torch.float64) + 0.5
    outside = (centres < edges[0]) | (centres > edges[1])
    position = ((centres - edges[0]) / (edges[1] - edges[0]) * count - 0.5).clamp(0, count - 1)
    before = position.floor().long()
    weight = (position - before).to(maps).view(-1, *[1] * (2 - axis))
    low = maps.index_select(axis, before.to(maps.device))
    high = maps.index_select(axis, (before + 1).clamp(max=count - 1).to(maps.device))
    return low + (high - low) * weight, outside.to(maps.device)
