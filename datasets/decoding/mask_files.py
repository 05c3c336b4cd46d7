"""Read a mask's file by the dataset's :class:`Reading`, and examine its raw values."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from diadbench.common.errors import UserError
from diadbench.datasets.decoding.deep_pixels import has_wide_values, wide_values
from diadbench.datasets.decoding.images import NoFile, is_union, mask_files, open_image, read_bytes
from diadbench.datasets.decoding.mask_signs import Signs, is_soft, signs_of
from diadbench.datasets.decoding.reading import HALF, Reading

Values = npt.NDArray[np.uint8]
_LOSSY = ("JPEG", "MPO")


@dataclass(frozen=True)
class MaskFile:
    """A mask that was read.

    Attributes:
        values: ``uint8 (H,W)``; values other than 0 are anomalous. The file's own values if nothing was thresholded.
        signs: Properties of its raw values.
    """

    values: Values
    signs: Signs


def read_mask(path: Path | str, reading: Reading | None = None) -> npt.NDArray[np.bool_]:
    """Return a mask, ``bool (H,W)``: values other than 0 are anomalous (VisA's masks hold 1..n, others 0/255).

    JPEG files and masks with soft edges are thresholded at half. A directory means the union of the masks in it (MVTec
    LOCO). An alpha channel is not part of the mask.

    Args:
        path: File, directory, or names after :data:`~diadbench.datasets.decoding.images.SEVERAL`.
        reading: Options of the dataset; ``None`` is the default.

    Raises:
        UserError: As :func:`~diadbench.datasets.decoding.images.read_image`; a directory without masks, or with masks
            of different sizes.
    """
    return read_mask_file(path, reading).values > 0


def read_mask_file(path: Path | str, reading: Reading | None = None) -> MaskFile:
    """Return a mask's values and signs; for a directory, those of the maximum over its masks.

    Raises:
        UserError: As :func:`read_mask`.
    """
    files = mask_files(path) if is_union(path) else [Path(path)]
    if not files:
        raise NoFile(f"{path}: a mask directory without images")
    reading = reading or Reading()
    parts = [_Part.read(file, reading) for file in files]
    for file, part in zip(files, parts):
        if part.raw.shape != parts[0].raw.shape:
            raise UserError(f"{file}: mask of {_size(part.raw)} beside masks of {_size(parts[0].raw)}")
    values, raw, hidden = parts[0].values, parts[0].raw, parts[0].hidden
    for part in parts[1:]:
        values, raw = np.maximum(values, part.values), np.maximum(raw, part.raw)
    cut = next((part.cut for part in parts if part.cut), "")
    hidden = hidden if all(part.hidden == hidden for part in parts) else ""
    return MaskFile(values, signs_of(raw, values, cut=cut, hidden=hidden, asked=bool(reading.mask_key)))


@dataclass(frozen=True)
class _Part:
    """One file of a mask: raw and read values, the reason for a threshold, and where else its shape is (``alpha``)."""

    raw: Values
    values: Values
    cut: str
    hidden: str

    @classmethod
    def read(cls, path: Path, reading: Reading) -> _Part:
        raw, lossy, hidden = _decoded(read_bytes(path), path)
        threshold, cut = _threshold(raw, lossy, reading)
        values = raw if threshold is None else _two_values(raw > threshold)
        return cls(raw, _two_values(values == 0) if reading.invert else values, cut, hidden)


def _threshold(raw: Values, lossy: str, reading: Reading) -> tuple[int | None, str]:
    """Return the threshold (``None``: none) and its reason: ``resized``, ``lossy``, or ``""`` if it was requested."""
    if reading.threshold is not None:
        return (reading.threshold or None), ""
    if lossy:
        return HALF, lossy
    return (HALF, "resized") if not reading.valued and is_soft(raw) else (None, "")


def _decoded(content: bytes, path: Path) -> tuple[Values, str, str]:
    """Return raw 8-bit values, the lossy format (``jpeg``, ``webp``) or ``""``, and what else varies.

    ``alpha``: the alpha channel alone varies. ``colours``: the colours vary, and the brightest channel does not, as in
    a drawing in red on white.
    """
    image = open_image(content, path)
    lossy = "jpeg" if image.info.get("format") in _LOSSY else "webp" if _is_lossy_webp(content) else ""
    if image.mode == "1":
        image = image.convert("L")
    elif image.mode in ("P", "PA"):
        image = image.convert("RGB")  # Decoded by colour, because index 0 of an adaptive palette may be white.
    elif image.mode == "CMYK":
        image = image.convert("RGB")
    wide = image.mode == "RGB" and has_wide_values(content)  # Pillow cuts colours of 16 bits down to 8.
    values: npt.NDArray[Any] = wide_values(content, image, path) if wide else np.asarray(image)
    hidden = ""
    if values.ndim == 3:
        colours = values.shape[2] - (image.getbands()[-1] == "A")
        all_colours, brightest = values[:, :, :colours], values[:, :, :colours].max(axis=2)
        if colours < values.shape[2] and _varies(values[:, :, -1]) and not _varies(all_colours):
            hidden = "alpha"
        elif brightest.size and not _varies(brightest) and (all_colours != all_colours[:1, :1]).any():
            hidden = "colours"
        values = brightest
    return _eight_bit(values), lossy, hidden


def _is_lossy_webp(content: bytes) -> bool:
    """Whether a WebP file holds a lossy frame: a chunk ``VP8 `` and not ``VP8L``."""
    return content[:4] == b"RIFF" and content[8:12] == b"WEBP" and b"VP8 " in content[12:] and b"VP8L" not in content


def _eight_bit(raw: npt.NDArray[Any]) -> Values:
    """Return a mask's values in 8 bits; values other than 0 stay other than 0."""
    values: Any = raw  # mypy doesn't accept numpy's generic numbers as numbers.
    if values.dtype == np.uint8:
        return np.array(values, dtype=np.uint8)
    if values.dtype == np.bool_:
        return _two_values(np.asarray(values, dtype=np.bool_))
    most = float(values.max(initial=0))
    if 255 < most < 32_768:  # numbers of instances
        return _two_values(np.asarray(values > 0))
    full = most if most > 255 else 1.0 if values.dtype.kind == "f" and most <= 1 else 255.0
    scaled = np.clip(np.round(values.astype(np.float64) / full * 255), 1, 255)
    return np.where(values > 0, scaled, 0).astype(np.uint8)


def _two_values(mask: npt.NDArray[np.bool_]) -> Values:
    return np.where(mask, np.uint8(255), np.uint8(0))


def _varies(values: npt.NDArray[np.generic]) -> bool:
    return bool(values.size) and bool((values != values.reshape(-1)[0]).any())


def _size(values: Values) -> str:
    return f"{values.shape[1]}x{values.shape[0]}"
