"""Read images and masks as arrays: rightly, or refuse them by name."""

from __future__ import annotations

import io
import os
from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFile, ImageOps, UnidentifiedImageError

from diadbench.common.errors import UserError
from diadbench.datasets.decoding.lookalikes import differs

#: Suffixes of image files that adapters list, in lower case.
SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp", ".ppm", ".pgm")
#: Resize filters by name; all antialias, but ``nearest``.
FILTERS = {
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "nearest": Image.Resampling.NEAREST,
}
#: In a mask's path: what follows is a union of several files, ``<folder>/`` and their names below it, each after one.
SEVERAL = "\x1f"
_SIXTEEN_BIT = ("I;16", "I;16L", "I;16B", "I;16N")


def inside(root: Path | str, relative: str) -> Path:
    """Return ``root/relative``, refusing what leaves the root: absolute paths, ``..``, symlinks that point out.

    Every read of a path from a sample table goes through here.

    Raises:
        UserError: The path leaves the root, or is a loop of symlinks. A file that is merely missing is not refused.
    """
    if os.path.isabs(relative) or ".." in relative.replace("\\", "/").split("/") or "\0" in relative:
        raise UserError(f"{relative!r}: path leaves the data root {root}; refused")
    path = Path(root, relative)
    try:
        folder = _real_folder(os.path.dirname(path))
        real = os.path.realpath(path) if os.path.islink(path) else os.path.join(folder, path.name)
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}") from error
    if not _is_below(real, _real_folder(str(root))):
        raise UserError(f"{path}: a symlink that leaves the data root {root} (to {real}); refused: copy the file")
    return path


def read_bytes(path: Path | str) -> bytes:
    """Return the content of a file. Raises UserError when it is missing, empty or unreadable."""
    try:
        content = Path(path).read_bytes()
    except FileNotFoundError as error:
        like = differs(path)
        raise UserError(f"{path}: file not found" + (f"; {like}" if like else "")) from error
    except OSError as error:
        raise UserError(f"{path}: can't be read ({error.strerror})") from error
    if not content:
        raise UserError(f"{path}: the file is empty (0 bytes); get it again")
    return content


def read_image(path: Path | str) -> npt.NDArray[np.uint8]:
    """Return an image as RGB, ``uint8 (H,W,3)``.

    Grey and palette images become RGB; 16-bit values are scaled to 8 bits (``65535`` to ``255``); CMYK is converted; an
    alpha channel is dropped, as torchvision and the reference frameworks do; an EXIF orientation is applied.

    Raises:
        UserError: Missing, empty, truncated, an unknown format, or floating-point pixels.
    """
    return decode_image(read_bytes(path), path)


def decode_image(content: bytes, path: Path | str) -> npt.NDArray[np.uint8]:
    """Decode the content of an image file, see :func:`read_image`. ``path`` is for the error text."""
    image = _open(content, path)
    if image.mode in _SIXTEEN_BIT or image.mode == "I":
        grey = _eight_bit(np.asarray(image), path)
        return np.repeat(grey[:, :, None], 3, axis=2)
    if image.mode == "F":
        raise UserError(f"{path}: floating-point pixels; expected an 8- or 16-bit image: convert it")
    return np.array(image.convert("RGB"))


def read_mask(path: Path | str) -> npt.NDArray[np.bool_]:
    """Return a mask, ``bool (H,W)``: whatever is not 0 is anomalous (VisA's masks hold 1..n, others 0/255).

    A directory stands for the union of the masks in it (MVTec LOCO). An alpha channel is no part of the mask.

    Raises:
        UserError: As :func:`read_image`; a directory without masks, or with masks of different sizes.
    """
    return read_mask_values(path) > 0


def read_mask_values(path: Path | str) -> npt.NDArray[np.uint8]:
    """Return a mask's 8-bit values, ``uint8 (H,W)``; for a directory the maximum over its masks.

    Raises:
        UserError: As :func:`read_mask`.
    """
    if not is_union(path):
        return _decode_mask(read_bytes(path), path)
    files = mask_files(path)
    if not files:
        raise UserError(f"{path}: a mask directory without images")
    union = _decode_mask(read_bytes(files[0]), files[0])
    for file in files[1:]:
        values = _decode_mask(read_bytes(file), file)
        if values.shape != union.shape:
            raise UserError(f"{file}: mask of {_size(values)} beside masks of {_size(union)}")
        union = np.maximum(union, values)
    return union


def is_union(path: Path | str) -> bool:
    """Whether a mask's path stands for several masks: a directory, or names that follow :data:`SEVERAL`."""
    return SEVERAL in str(path) or os.path.isdir(path)


def mask_files(path: Path | str) -> list[Path]:
    """Return the image files of a union of masks, sorted; links that leave its directory are refused."""
    if SEVERAL in str(path):
        folder, *listed = str(path).split(SEVERAL)
        return [inside(folder.rstrip("/"), name) for name in listed]
    names = sorted(name for name in os.listdir(path) if not is_hidden(name) and has_image_suffix(name))
    return [inside(path, name) for name in names]


def has_image_suffix(name: str) -> bool:
    """Whether a file name ends like an image, in any case (``.JPG``)."""
    return os.path.splitext(name)[1].lower() in SUFFIXES


def is_hidden(name: str) -> bool:
    """Whether a file belongs to the operating system (``.DS_Store``, ``._000.png``, ``Thumbs.db``), not to the data."""
    return name.startswith(".") or name.lower() in ("thumbs.db", "desktop.ini", "__macosx")


def _open(content: bytes, path: Path | str) -> Image.Image:
    if ImageFile.LOAD_TRUNCATED_IMAGES:
        raise UserError(
            "PIL.ImageFile.LOAD_TRUNCATED_IMAGES is on: half an image would pass as a whole one; turn it off"
        )
    try:
        image = Image.open(io.BytesIO(content))
        image.load()
        return ImageOps.exif_transpose(image)
    except UnidentifiedImageError as error:
        raise UserError(f"{path}: not an image of a known format") from error
    except Image.DecompressionBombError as error:
        raise UserError(
            f"{path}: too large ({error}); make it smaller, or raise PIL.Image.MAX_IMAGE_PIXELS for trusted files"
        ) from error
    except MemoryError:
        raise
    except Exception as error:  # Pillow's decoders raise nearly anything on a broken file
        raise UserError(f"{path}: damaged image ({error}); get it again") from error


def _decode_mask(content: bytes, path: Path | str) -> npt.NDArray[np.uint8]:
    image = _open(content, path)
    if image.mode == "1":
        image = image.convert("L")
    elif image.mode in ("P", "PA"):
        image = image.convert("RGB")  # by colour: in an adaptive palette index 0 may well be white
    values = np.asarray(image)
    if values.ndim == 3:
        colours = len(image.getbands()) - (image.getbands()[-1] == "A")
        values = values[:, :, :colours].max(axis=2)
    if values.dtype == np.uint8:
        return np.array(values)
    return np.where(values > 0, np.uint8(255), np.uint8(0))


def _eight_bit(values: npt.NDArray[np.generic], path: Path | str) -> npt.NDArray[np.uint8]:
    wide = values.astype(np.int64)
    if wide.min() < 0 or wide.max() > 65535:
        raise UserError(f"{path}: 32-bit pixels; expected an 8- or 16-bit image: convert it")
    return ((wide + 128) // 257).astype(np.uint8)


@lru_cache(maxsize=4096)
def _real_folder(path: str) -> str:
    return os.path.realpath(path)


def _is_below(path: str, folder: str) -> bool:
    return path.startswith(folder if folder.endswith(os.sep) else folder + os.sep)


def _size(values: npt.NDArray[np.uint8]) -> str:
    return f"{values.shape[1]}x{values.shape[0]}"


def resize_image(
    image: npt.NDArray[np.uint8], size: tuple[int, int], resize: str = "bilinear"
) -> npt.NDArray[np.uint8]:
    """Resize ``uint8 (H,W,3)`` to ``size`` = ``(H, W)``, antialiased, without keeping the aspect ratio.

    Args:
        image: The native image.
        size: ``(H, W)``.
        resize: A key of :data:`FILTERS`.
    """
    return np.asarray(Image.fromarray(image).resize((size[1], size[0]), FILTERS[resize]))
