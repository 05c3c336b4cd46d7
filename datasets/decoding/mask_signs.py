"""Signs of implausible masks: inverted, framed, drawn over the photo, of three values ...

No mask is changed here. The likely cause of a sign is stated in ``datasets check`` and under every table.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Values = npt.NDArray[np.uint8]
#: If the maximum is lower than this, values are numbers of defect kinds.
_NUMBERS = 64
#: More values than this are not numbers of kinds, but come from interpolation or compression.
_MANY = 24
#: Values below this are dark; values above 255 minus this are bright.
_DARK = 32
#: At least this share of a photo's values is neither dark nor bright.
_MIDDLE = 0.25


@dataclass(frozen=True)
class Signs:
    """The properties of a mask.

    Attributes:
        grey: Whether some positive raw values are below the maximum.
        cut: Why it was thresholded at half: ``jpeg``, ``webp``, ``resized``; ``""`` if it was not.
        cause: The kind of fault, a key of ``MASK_CAUSES`` (:mod:`diadbench.datasets.checking.mask_findings`);
            ``""`` for none.
        share: Share of anomalous pixels, in [0,1].
        digest: Digest of the binary mask and its size.
    """

    grey: bool
    cut: str = ""
    cause: str = ""
    share: float = 0.0
    digest: str = ""


def signs_of(raw: Values, values: Values, *, cut: str = "", hidden: str = "", asked: bool = False) -> Signs:
    """Return the signs of a mask.

    Args:
        raw: ``uint8 (H,W)``: values of the file.
        values: ``uint8 (H,W)`` as read; values other than 0 are anomalous.
        cut: See :class:`Signs`.
        hidden: Where the mask's shape lies instead: ``alpha``, ``colours``; ``""`` if nowhere else.
        asked: Whether options define the meaning of values; grey values are then no sign.
    """
    mask = values > 0
    grey = bool(raw.any()) and bool(((raw > 0) & (raw < raw.max())).any()) and not asked
    content = hashlib.blake2b(np.packbits(mask).tobytes(), digest_size=8, key=repr(mask.shape).encode()[:64])
    cause = hidden or _cause(raw, mask, asked)
    return Signs(grey, cut, cause, round(float(mask.mean()), 4) if mask.size else 0.0, content.hexdigest())


def _cause(raw: Values, mask: npt.NDArray[np.bool_], asked: bool) -> str:
    share = float(mask.mean()) if mask.size else 0.0
    if share and _is_photo(raw):
        return "photo"
    if share == 1:
        return "white" if asked or raw.min() == raw.max() else "background"
    edge = np.concatenate([mask[0], mask[-1], mask[1:-1, 0], mask[1:-1, -1]])
    if share > 0.5:
        return "inverted" if float(edge.mean()) >= 0.75 else "wide"
    if min(mask.shape) > 4 and float(edge.mean()) >= 0.95:
        return "frame"
    return "" if asked else _grey_cause(raw)


def _grey_cause(raw: Values) -> str:
    middle = _middle_levels(raw)
    if len(middle) == 1 and 64 <= middle[0] <= 192 and raw.max() >= 200 and not is_soft(raw):
        return "trimap"
    return ""


def _middle_levels(raw: Values) -> list[int]:
    counts = np.bincount(raw.reshape(-1), minlength=256)
    return [int(level) for level in np.flatnonzero(counts) if 0 < level < int(raw.max(initial=0))]


def _is_photo(raw: Values) -> bool:
    """Whether a mask has the values of a photo: many different ones, of which many are neither dark nor bright."""
    if len(_middle_levels(raw)) <= _MANY:
        return False
    between = float(((raw >= _DARK) & (raw <= 255 - _DARK)).mean())
    return between > _MIDDLE or (between > _MIDDLE / 2 and float((raw > 8).mean()) > 0.95)


def is_soft(raw: Values) -> bool:
    """Whether the grey values of a mask are soft edges or noise from resizing or compression, not numbers of kinds.

    Areas of one grey value have a meaning of their own; edges and noise have no such areas.
    """
    middle = _middle_levels(raw)
    if not middle or int(raw.max()) < _NUMBERS * 2 or _is_photo(raw):
        return False
    between_ends = any(_DARK <= level <= 255 - _DARK for level in middle)
    if len(middle) <= _MANY and not between_ends and not (middle[0] < _DARK and middle[-1] > 255 - _DARK):
        return False  # A few low values besides the maximum are numbers too.
    padded = np.pad(raw, 1, mode="edge")
    same = np.ones(raw.shape, dtype=np.bool_)
    for rows, columns in ((0, 1), (2, 1), (1, 0), (1, 2)):
        same &= padded[rows : rows + raw.shape[0], columns : columns + raw.shape[1]] == raw
    between = (raw > 0) & (raw < raw.max())
    return float(same[between].mean()) < (0.6 if len(middle) > _MANY else 0.2)
