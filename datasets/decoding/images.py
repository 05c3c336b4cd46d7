"""Read images and masks as arrays, or refuse files that can't be read correctly."""

from __future__ import annotations

import io
import os
import stat
import warnings
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFile, ImageOps, UnidentifiedImageError

from diadbench.common.errors import UserError
from diadbench.datasets.decoding.deep_pixels import (
    WIDE_MODES,
    has_wide_values,
    is_white_zero,
    scaled_values,
    signed_pixels,
    unread_pixels,
    what_tiff_is,
    wide_values,
)
from diadbench.datasets.decoding.lookalikes import differs, other_content

#: Suffixes of the image files that adapters look for, in lower case.
SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp", ".ppm", ".pgm")
#: Resize filters by name; all but ``nearest`` antialias.
FILTERS = {
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "nearest": Image.Resampling.NEAREST,
}
#: Files and folders that Windows, macOS, Linux and network drives (Synology, QNAP) put beside data, in lower case.
_OF_SYSTEMS = frozenset(
    (
        *("thumbs.db", "ehthumbs.db", "desktop.ini", "system volume information", "$recycle.bin"),
        *("__macosx", "icon\r", "lost+found", "@eadir", "@recycle", "#recycle", "__pycache__"),
    )
)
#: Pillow warns of large images and refuses huge ones; here they are read, or refused by name.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)
_PNG = b"\x89PNG\r\n\x1a\n"
#: Marks a union of several files in a mask's path: it is followed by ``<folder>/`` and then by each file's name.
SEVERAL = "\x1f"


class NoFile(UserError):
    """A path leads to no file: nothing is there, or a folder, or a pipe."""


def inside(root: Path | str, relative: str) -> Path:
    """Return ``root/relative``, refusing paths that leave the root: absolute paths, ``..``, symlinks that point out.

    Every read of a path from a sample table uses this function.

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
        link = next((place for place in (path, *path.parents) if place.is_symlink()), path)
        what = f"a symlink that leaves the data root {root} (to {os.path.realpath(link)})"
        raise UserError(f"{link}: {what}; refused: copy what it leads to")
    return path


def read_bytes(path: Path | str) -> bytes:
    """Return the content of a file. Raises UserError when it is missing, empty, unreadable, or no regular file."""
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):  # Reading a pipe would wait for ever.
            kind = "a folder" if os.path.isdir(path) else "a pipe, a socket or a device"
            raise NoFile(f"{path}: can't be read (it is {kind}); expected a file: remove it, or name the file meant")
        content = Path(path).read_bytes()
    except FileNotFoundError as error:
        like = f"a link to {os.readlink(path)!r}, which isn't there" if os.path.islink(path) else differs(path)
        raise NoFile(f"{path}: file not found" + (f"; {like}" if like else "")) from error
    except OSError as error:
        raise UserError(f"{path}: can't be read ({error.strerror})") from error
    if not content:
        raise UserError(f"{path}: the file is empty (0 bytes); get it again")
    return content


@contextmanager
def placed(place_of: Callable[[str], str], relative: str) -> Iterator[None]:
    """Add to the error of a missing file where it is listed, by ``place_of`` of its path in the sample table."""
    try:
        yield
    except NoFile as error:
        place = place_of(relative)
        raise UserError(f"{error}; listed in {place}" if place else str(error)) from error


def read_image(path: Path | str, depth: int = 16) -> npt.NDArray[np.uint8]:
    """Return an image as RGB, ``uint8 (H,W,3)``.

    Grey and palette images become RGB; 16-bit values are scaled to 8 bits (``2**depth - 1`` to ``255``); CMYK is
    converted; an alpha channel is dropped, as torchvision and the reference frameworks do; an EXIF orientation is
    applied.

    Args:
        path: The file.
        depth: Bits that 16-bit files use, 8 to 16.

    Raises:
        UserError: Missing, empty, truncated, an unknown format, several pages, floating-point or signed pixels, values
            beyond the depth.
    """
    return decode_image(read_bytes(path), path, depth)


def decode_image(content: bytes, path: Path | str, depth: int = 16) -> npt.NDArray[np.uint8]:
    """Decode the content of an image file, see :func:`read_image`. ``path`` is used in error texts."""
    image = open_image(content, path)
    if image.mode == "F":
        raise UserError(f"{path}: floating-point pixels; expected an 8- or 16-bit image: convert it")
    if image.info["signed"]:
        raise UserError(f"{path}: {image.info['signed']}")
    if image.mode in WIDE_MODES or (depth < 16 and has_wide_values(content)):
        scaled = scaled_values(wide_values(content, image, path), depth, path)
        scaled = 255 - scaled if is_white_zero(content) else scaled
        return scaled if scaled.ndim == 3 else np.repeat(scaled[:, :, None], 3, axis=2)
    return np.array(image.convert("RGB"))


def is_union(path: Path | str) -> bool:
    """Whether a mask's path means several masks: a directory, or names that follow :data:`SEVERAL`."""
    return SEVERAL in str(path) or os.path.isdir(path)


def mask_files(path: Path | str) -> list[Path]:
    """Return the image files of a union of masks, sorted; links that leave its directory are refused."""
    if SEVERAL in str(path):
        folder, *listed = str(path).split(SEVERAL)
        return [inside(folder.rstrip("/"), name) for name in listed]
    names = sorted(name for name in os.listdir(path) if not is_hidden(name))
    for name in names:
        if not has_image_suffix(name):
            raise UserError(f"{path}/{name}: not an image of a known format, in a folder of the masks of one image")
    return [inside(path, name) for name in names]


def has_image_suffix(name: str) -> bool:
    """Whether a file name has the suffix of an image, in any case (``.JPG``)."""
    return os.path.splitext(name)[1].lower() in SUFFIXES


def is_hidden(name: str) -> bool:
    """Whether a file or folder belongs to a system (``.DS_Store``, ``._000.png``, ``Thumbs.db``), not to the data."""
    return name.startswith(".") or name.lower() in _OF_SYSTEMS


def open_image(content: bytes, path: Path | str) -> Image.Image:
    """Open the content of an image file with Pillow, rotated by its EXIF orientation.

    ``info["format"]`` is the format; ``info["signed"]`` describes signed values, or is ``""``.

    Raises:
        UserError: An unknown format, a damaged file, several pages, or unsupported channels.
    """
    if ImageFile.LOAD_TRUNCATED_IMAGES:
        raise UserError(
            "PIL.ImageFile.LOAD_TRUNCATED_IMAGES is on: half an image would pass as a whole one; turn it off"
        )
    try:
        image = Image.open(io.BytesIO(content))
        image.load()
        _check_png(content)
        strange = unread_pixels(image)
        if not strange:
            image.info.update(format=image.format, signed=signed_pixels(image))
            return _upright(image, path)
    except UserError:
        raise
    except UnidentifiedImageError as error:
        known = what_tiff_is(content) or other_content(content)
        raise UserError(f"{path}: {known or 'not an image of a known format; convert it, or get it again'}") from error
    except Image.DecompressionBombError as error:
        raise UserError(
            f"{path}: too large ({error}); make it smaller, or raise PIL.Image.MAX_IMAGE_PIXELS for trusted files"
        ) from error
    except MemoryError:
        raise
    except Exception as error:  # Pillow's decoders raise many kinds of exceptions on a broken file.
        raise UserError(f"{path}: damaged image ({error}); get it again") from error
    raise UserError(f"{path}: {strange}")


def _upright(image: Image.Image, path: Path | str) -> Image.Image:
    """Return an image turned as its EXIF orientation says. Raises UserError where that can't be known."""
    try:
        return ImageOps.exif_transpose(image)
    except Exception as error:  # Pillow raises many kinds of exceptions on broken EXIF data.
        raise UserError(
            f"{path}: its EXIF data can't be read ({error}), so it isn't known whether it is turned; remove them "
            "(`exiftool -EXIF= FILE`), or save it again"
        ) from error


def _check_png(content: bytes) -> None:
    """Compare the checksums of a PNG's pixels; Pillow decodes damaged ones to other pixels without a word.

    Raises:
        ValueError: A checksum is wrong. Other formats, and files that end early, are left to Pillow.
    """
    if not content.startswith(_PNG):
        return
    view, at = memoryview(content), len(_PNG)
    while at + 12 <= len(content):
        end = at + 8 + int.from_bytes(view[at : at + 4], "big")
        if (
            bytes(view[at + 4 : at + 8]) == b"IDAT"
            and zlib.crc32(view[at + 4 : end]).to_bytes(4, "big") != view[end : end + 4]
        ):
            raise ValueError("the checksum of its pixels is wrong")
        at = end + 4


@lru_cache(maxsize=4096)
def _real_folder(path: str) -> str:
    return os.path.realpath(path)


def _is_below(path: str, folder: str) -> bool:
    return path.startswith(folder if folder.endswith(os.sep) else folder + os.sep)


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
