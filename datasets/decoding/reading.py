"""Options for how a dataset's pixels are read if the file alone doesn't decide it. They affect results."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from diadbench.common.errors import UserError, unknown_name

#: Half of the range of 8-bit values: the threshold for masks that were resized by interpolation or stored as JPEG.
HALF = 127
#: Bit depths of cameras.
DEPTHS = (8, 10, 12, 14, 16)
#: Datasets whose mask values are numbers of defect kinds; in others a mask is 0/255.
VALUED = ("visa", "mvtec_loco")
#: The option ``masks`` of a dataset: ``threshold`` and ``invert``.
MaskOptions = dict[str, bool | int | None]
_MASK_KEYS = ("threshold", "invert")


@dataclass(frozen=True)
class Reading:
    """Settings for how masks become binary, and how the values of 16-bit images become 8 bits.

    Attributes:
        threshold: A mask's 8-bit values above it are anomalous, 0 to 254. ``None``: whatever is not 0, but half
            (:data:`HALF`) for JPEG files and for masks that were resized by interpolation.
        invert: Whether the masks show the normal pixels.
        bit_depth: Bits that 16-bit images use, 8 to 16. ``None`` finds it over the whole set.
        valued: Whether mask values are numbers of defect kinds (VisA), so that no value means a soft edge.
    """

    threshold: int | None = None
    invert: bool = False
    bit_depth: int | None = None
    valued: bool = False

    @property
    def mask_key(self) -> list[object]:
        """Return the settings that decide how masks are read, for digests; empty for the defaults."""
        asked = self.threshold is not None or self.invert
        return ["masks", self.threshold, self.invert] if asked else []

    @property
    def flags(self) -> tuple[str, ...]:
        """Return the options that were set, for tables."""
        flags = [f"mask values above {self.threshold} are anomalous"] if self.threshold is not None else []
        flags += ["masks inverted"] if self.invert else []
        flags += [f"16-bit images read as {self.bit_depth} bits"] if self.bit_depth is not None else []
        return tuple(flags)


def reading_of(
    masks: bool | Mapping[str, Any] | None, bit_depth: int | None, *, valued: bool = False, where: str = ""
) -> Reading:
    """Return the reading for the options of a dataset.

    Args:
        masks: ``{"threshold": 127, "invert": True}``, either or both; anything else is the default.
        bit_depth: See :class:`Reading`.
        valued: See :class:`Reading`.
        where: Beginning of the error messages.

    Raises:
        UserError: An unknown key, or a value out of range.
    """
    given = dict(masks) if isinstance(masks, Mapping) else {}
    for key in given:
        if key not in _MASK_KEYS:
            raise unknown_name("key of masks", str(key), _MASK_KEYS, where=where)
    threshold, invert = given.get("threshold"), given.get("invert", False)
    if threshold is not None and not (_is_whole(threshold) and 0 <= threshold <= 254):
        raise UserError(f"{where}: masks.threshold {threshold!r}; expected a whole number from 0 to 254, or null")
    if not isinstance(invert, bool):
        raise UserError(f"{where}: masks.invert {invert!r}; expected true or false")
    if bit_depth is not None and not (_is_whole(bit_depth) and 8 <= bit_depth <= 16):
        raise UserError(f"{where}: bit_depth {bit_depth!r}; expected a whole number from 8 to 16, or null")
    return Reading(None if threshold is None else int(threshold), invert, bit_depth, valued)


def depth_for(used: int) -> int:
    """Return the depth of a camera that uses at most this many bits (``9`` gives ``10``); 16 if no file has 16 bits."""
    return next(depth for depth in DEPTHS if depth >= used) if used else 16


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
