"""Resize a mask to the evaluation size. The way of resizing affects small defects, so each way has a name.

Each published protocol is reproduced by its rule; :data:`RULES` lists them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt
from PIL import Image

from diadbench.common.errors import UserError, unknown_name
from diadbench.datasets.decoding.mask_files import MaskFile, read_mask_file
from diadbench.datasets.decoding.mask_signs import Signs
from diadbench.datasets.decoding.reading import Reading

MaskRule = Literal["nearest", "ader", "diad", "uniad"]
#: Names of the rules.
RULES: tuple[MaskRule, ...] = get_args(MaskRule)
Values = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class MaskFacts:
    """Facts about a mask.

    Attributes:
        positive: Whether it has a positive pixel at its native size.
        signs: Properties of its file.
        vanishes: Rules under which none of its pixels remain.
    """

    positive: bool
    signs: Signs
    vanishes: tuple[MaskRule, ...] = ()


def resize_mask(native: npt.NDArray[np.uint8] | Mask, size: tuple[int, int], rule: MaskRule = "nearest") -> Mask:
    """Resize a mask to the evaluation size.

    Args:
        native: ``(H,W)``: 8-bit values as in the file, or a boolean mask (the same as 0/255).
        size: ``(H,W)`` wanted.
        rule: ``nearest``: ``>0`` at native size, then nearest neighbour (the default of this project).
            ``ader``: ``>0`` at native size, 0/255 resized bilinearly with antialiasing, then ``>0.5``.
            ``diad``: the 8-bit values resized bilinearly with antialiasing, then ``>0``, so edges grow.
            ``uniad``: the 8-bit values by nearest neighbour, then ``>0``.

    Returns:
        ``bool (H,W)`` of the wanted size.

    Raises:
        UserError: Unknown rule.
    """
    if rule not in RULES:
        raise unknown_name("mask rule", rule, RULES)
    values = native.astype(np.uint8) * 255 if native.dtype == np.bool_ else np.asarray(native, dtype=np.uint8)
    return _RESIZE[rule](values, (size[1], size[0]))


def _nearest(values: Values, size: tuple[int, int]) -> Mask:
    return _pil(_binary(values), size, Image.Resampling.NEAREST) > 0


def _ader(values: Values, size: tuple[int, int]) -> Mask:
    return _pil(_binary(values), size, Image.Resampling.BILINEAR).astype(np.float32) / 255 > 0.5


def _diad(values: Values, size: tuple[int, int]) -> Mask:
    return _pil(values, size, Image.Resampling.BILINEAR) > 0


def _uniad(values: Values, size: tuple[int, int]) -> Mask:
    return _pil(values, size, Image.Resampling.NEAREST) > 0


def _binary(values: Values) -> Values:
    return np.where(values > 0, np.uint8(255), np.uint8(0))


def _pil(values: Values, size: tuple[int, int], filter_: Image.Resampling) -> Values:
    return np.asarray(Image.fromarray(values).resize(size, filter_))


_RESIZE: dict[MaskRule, Callable[[Values, tuple[int, int]], Mask]] = {
    "nearest": _nearest,
    "ader": _ader,
    "diad": _diad,
    "uniad": _uniad,
}


def read_resized(
    path: Path | str,
    image_size: tuple[int, int] | None,
    size: tuple[int, int],
    rule: MaskRule,
    reading: Reading | None = None,
) -> tuple[Mask, MaskFacts]:
    """Read a mask, compare its size with that of its image, and resize it.

    Args:
        path: File, or a directory of masks.
        image_size: Native ``(H,W)`` of its image; ``None`` if unknown.
        size: ``(H,W)`` wanted.
        rule: See :func:`resize_mask`.
        reading: Options of the dataset; ``None`` is the default.

    Returns:
        The resized mask, and facts about it.

    Raises:
        UserError: The mask can't be read or has another size than its image.
    """
    found = read_mask_file(path, reading)
    values = found.values
    if image_size is not None and values.shape != tuple(image_size):
        about = other_size((values.shape[0], values.shape[1]), image_size)
        raise UserError(f"{path}: {about}; they must have the same size")
    mask = resize_mask(values, size, rule)
    return mask, mask_facts(found, {rule: mask})


def other_size(mask: tuple[int, int], image: tuple[int, int]) -> str:
    """Describe a mask whose size, ``(H,W)``, is not that of its image."""
    turned = mask == tuple(image[::-1])
    hint = " (width and height are exchanged: one of the two is turned, perhaps by its EXIF orientation)"
    return f"mask of {mask[1]}x{mask[0]} for an image of {image[1]}x{image[0]}{hint if turned else ''}"


def mask_facts(found: MaskFile, resized: Mapping[MaskRule, Mask]) -> MaskFacts:
    """Return facts about a mask and its resized forms, by rule."""
    positive = bool(found.values.any())
    return MaskFacts(
        positive, found.signs, tuple(rule for rule, mask in resized.items() if positive and not mask.any())
    )
