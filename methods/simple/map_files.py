"""Files of anomaly maps as other code writes them: ``.npy``, ``.tiff`` and ``.png``, one map a file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tifffile
from PIL import Image

from diadbench.common.errors import UserError

#: Endings, the most exact first: of several files of one image the first is read.
SUFFIXES = (".npy", ".tiff", ".tif", ".png")
_GREY = {"L": np.uint8, "I;16": np.uint16, "I;16B": np.uint16, "I": np.int32, "F": np.float32}


@dataclass(frozen=True)
class MapHead:
    """What a file says of its map before its values are read.

    Attributes:
        size: ``(H, W)`` in pixels.
        dtype: Name of numpy's type (``float32``).
    """

    size: tuple[int, int]
    dtype: str


def read_head(path: Path) -> MapHead:
    """Return size and type of a map. Raises UserError where it is no map."""
    shape, dtype = _opened(path, values=False)
    return MapHead(_size(path, shape), dtype.name)


def read_map(path: Path) -> npt.NDArray[np.float32]:
    """Return a map ``float32 (H,W)``.

    Raises:
        UserError: The file can't be read, holds something else than one number a pixel, or NaN or infinity.
    """
    values = _opened(path, values=True)
    size = _size(path, values.shape)
    broken = int(values.size - np.count_nonzero(np.isfinite(values)))
    if broken:
        raise UserError(f"{path}: {broken} of {values.size} values are NaN or infinite; expected finite anomaly scores")
    with np.errstate(over="ignore"):
        found: npt.NDArray[np.float32] = values.reshape(size).astype(np.float32)
    if not np.isfinite(found).all():
        raise UserError(f"{path}: holds values beyond the range of float32; scale the maps of all images alike")
    return found


def _opened(path: Path, *, values: bool) -> Any:
    """Return the array of a file, or its shape and type. Raises UserError."""
    try:
        array = _READERS[path.suffix.lower()](path, values)
    except UserError:
        raise
    except Exception as error:  # each library has errors of its own for broken files
        raise UserError(f"{path}: can't be read as an anomaly map ({type(error).__name__}: {error})") from error
    shape, dtype = (array.shape, array.dtype) if values else array
    if dtype.kind not in "fiu":
        raise UserError(f"{path}: holds {dtype}; expected real numbers, one a pixel")
    return array if values else (shape, dtype)


def _npy(path: Path, values: bool) -> Any:
    array = np.load(path, allow_pickle=False, mmap_mode=None if values else "r")
    return array if values else (array.shape, array.dtype)


def _tiff(path: Path, values: bool) -> Any:
    with tifffile.TiffFile(path) as file:
        series = file.series[0]
        return series.asarray() if values else (series.shape, series.dtype)


def _png(path: Path, values: bool) -> Any:
    with Image.open(path) as image:
        if image.mode not in _GREY:
            raise UserError(f"{path}: a picture of mode {image.mode}; expected a grey one, one value a pixel")
        dtype = np.dtype(_GREY[image.mode])
        return np.asarray(image).astype(dtype) if values else ((image.height, image.width), dtype)


_READERS = {".npy": _npy, ".tiff": _tiff, ".tif": _tiff, ".png": _png}


def _size(path: Path, shape: tuple[int, ...]) -> tuple[int, int]:
    """Return ``(H, W)`` of a shape that may have axes of length 1 before or behind: ``(1,H,W)``, ``(H,W,1)``."""
    for start in range(len(shape) - 1):
        rest = (*shape[:start], *shape[start + 2 :])
        if all(length == 1 for length in rest) and 0 not in shape:
            return int(shape[start]), int(shape[start + 1])
    raise UserError(f"{path}: has the shape {tuple(shape)}; expected one map, (H, W)")
