"""Read pixels of more than 8 bits, and detect what of a file is not read as it stands: pages, channels, alpha."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from diadbench.common.errors import UserError

#: Pillow's modes of grey images with more than 8 bits.
WIDE_MODES = ("I;16", "I;16L", "I;16B", "I;16N", "I")
#: Pillow's modes with an alpha channel.
_WITH_ALPHA = ("RGBA", "LA", "PA", "La", "RGBa")
_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
#: Formats whose further frames are a preview of the first (phones), not data.
_PREVIEWS = ("MPO",)
_REDUCED, _BITS, _ORIENTATION, _SAMPLES, _SAMPLE_FORMAT = 254, 258, 274, 277, 339
_FLOAT = 3
_SIGNED = "signed pixels; expected unsigned 8 or 16 bits: add an offset to all files of the set, and save them again"
Wide = npt.NDArray[np.uint16]


def has_wide_values(content: bytes) -> bool:
    """Whether a file by its header stores whole numbers of 16 or 32 bits: PNG, TIFF, PGM and PPM can."""
    if content.startswith(b"\x89PNG\r\n\x1a\n"):
        return content[24:25] == b"\x10"
    if content[:2] in (b"P2", b"P3", b"P5", b"P6"):
        words = b" ".join(line.split(b"#")[0] for line in content[:400].splitlines()).split()
        return len(words) > 3 and words[3].isdigit() and int(words[3]) > 255
    if content[:4] in _TIFF:
        page = _tiff_page(content)
        return page is not None and page.bitspersample in (16, 32) and int(page.sampleformat or 1) != _FLOAT
    return False


def bits_used(content: bytes, path: Path | str) -> int:
    """Return the number of bits that the greatest value of a file of wide values needs (1 to 16); 0 for other files.

    A file that can't be decoded gives 0, because decoding reports the reason.
    """
    if not has_wide_values(content):
        return 0
    try:
        with Image.open(io.BytesIO(content)) as image:
            image.load()
            return max(1, int(wide_values(content, image, path).max()).bit_length())
    except Exception:  # The file is broken in some way, which is reported where it is decoded.
        return 0


def traits_of(content: bytes) -> str:
    """Return how a file's pixels differ from plain RGB, as names separated by spaces; ``""`` for a plain file.

    - ``alpha``: the alpha channel, which is dropped, isn't opaque everywhere.
    - ``cmyk``, ``lab``: another colour space, which is converted without a colour profile.
    - ``turned``: the EXIF orientation turns or mirrors the image.
    - ``grey``: one channel of grey values.

    A file that can't be decoded gives ``""``, because decoding reports the reason.
    """
    try:
        with Image.open(io.BytesIO(content)) as image:
            mode = image.mode
            turned = int(image.getexif().get(_ORIENTATION, 1)) != 1
            alpha = (mode in _WITH_ALPHA or "transparency" in image.info) and not _is_opaque(image)
    except Exception:  # The file is broken in some way, which is reported where it is decoded.
        return ""
    found = {
        "alpha": alpha,
        "cmyk": mode == "CMYK",
        "lab": mode == "LAB",
        "turned": turned,
        "grey": mode in ("1", "L", "LA", *WIDE_MODES),
    }
    return " ".join(name for name, is_so in found.items() if is_so)


def _is_opaque(image: Image.Image) -> bool:
    return int(np.asarray(image.convert("RGBA"))[..., 3].min(initial=255)) == 255


def wide_values(content: bytes, image: Image.Image, path: Path | str) -> Wide:
    """Return the values of a file with more than 8 bits: ``uint16 (H,W)``, or ``(H,W,3)`` for colour (RGB).

    Args:
        content: The file's content.
        image: The image that Pillow opened from it, already rotated by its EXIF orientation.
        path: For the error text.

    Raises:
        UserError: Signed, 32-bit or unreadable values.
    """
    if image.mode not in WIDE_MODES:
        return _turned(_colour_values(content, path), content)
    values = np.asarray(image).astype(np.int64)
    if values.min() < 0:
        raise UserError(f"{path}: {_SIGNED}")
    if values.max() > 65535:
        raise UserError(f"{path}: 32-bit pixels; expected an 8- or 16-bit image: convert it")
    return values.astype(np.uint16)


def is_white_zero(content: bytes) -> bool:
    """Whether a TIFF stores white as 0; Pillow inverts such files with 8 bits, but not with 16."""
    page = _tiff_page(content) if content[:4] in _TIFF else None
    return page is not None and int(page.photometric) == 0


def scaled_values(values: Wide, depth: int, path: Path | str) -> npt.NDArray[np.uint8]:
    """Scale 16-bit values that use ``depth`` bits to 8 bits, rounded: ``2**depth - 1`` becomes 255.

    Raises:
        UserError: A value needs more bits.
    """
    most = 2**depth - 1
    if values.size and int(values.max()) > most:
        raise UserError(
            f"{path}: a value of {int(values.max()):,}, beyond {depth} bits ({most:,}); set bit_depth to "
            f"{int(values.max()).bit_length()} or null"
        )
    wide = values.astype(np.int64)
    scaled = (wide + 128) // 257 if depth == 16 else (wide * 255 + most // 2) // most
    return np.asarray(scaled, dtype=np.uint8)


def unread_pixels(image: Image.Image) -> str:
    """Return which pixels of a file would be lost, with advice; ``""`` if all are read."""
    pages = _pages(image)
    if pages > 1:
        return f"{pages} pages (frames) in one file; expected one image a file: split it, or keep one page"
    tags: Any = getattr(image, "tag_v2", {})
    samples = int(tags.get(_SAMPLES, 0) or 0)
    if image.mode in ("RGB", "RGBX") and samples > 3:
        return _channels(samples)
    if image.mode in ("L", "I;16", "I;16B") and samples > 2:
        return _channels(samples)
    return ""


def signed_pixels(image: Image.Image) -> str:
    """Return a note that a TIFF holds signed 16-bit values; ``""`` if it doesn't."""
    tags: Any = getattr(image, "tag_v2", {})
    kinds, bits = (np.atleast_1d(tags.get(tag, 1)).tolist() for tag in (_SAMPLE_FORMAT, _BITS))
    return _SIGNED if 2 in kinds and 16 in bits else ""


def what_tiff_is(content: bytes) -> str:
    """Return a description of a TIFF file that Pillow can't read; ``""`` if it is not a TIFF."""
    if content[:4] not in _TIFF:
        return ""
    page = _tiff_page(content)
    if page is None:
        return "damaged TIFF; get it again"
    samples = int(page.samplesperpixel)
    if samples > 3 or (samples == 2 and not page.extrasamples):
        return _channels(samples)
    kind = f"{page.dtype}, {samples} channel{'s' if samples > 1 else ''}, compression {page.compression.name}"
    return f"a TIFF of a kind that isn't read ({kind}); expected 8 or 16 unsigned bits, grey or RGB: convert it"


def _channels(samples: int) -> str:
    return f"{samples} channels; expected grey or RGB: save three of them, or each as a set of its own"


def _pages(image: Image.Image) -> int:
    """Return the number of full pages; reduced copies and previews don't count."""
    frames = int(getattr(image, "n_frames", 1))
    if frames == 1 or image.format in _PREVIEWS:
        return 1
    if image.format != "TIFF":
        return frames
    count = 0
    for i in range(frames):
        image.seek(i)
        tags: Any = getattr(image, "tag_v2", {})
        count += not int(tags.get(_REDUCED, 0) or 0) & 1
    image.seek(0)
    image.load()
    return count


def _tiff_page(content: bytes) -> Any:
    import tifffile

    try:
        with tifffile.TiffFile(io.BytesIO(content)) as file:
            return file.pages[0]
    except Exception:  # tifffile raises many kinds of exceptions on a broken file.
        return None


def _colour_values(content: bytes, path: Path | str) -> Wide:
    try:
        return _decoded_colours(content)
    except Exception as error:  # Decoders raise many kinds of exceptions on a broken file.
        raise UserError(f"{path}: 16-bit colours that can't be read ({error}); convert the file") from error


def _decoded_colours(content: bytes) -> Wide:
    if content[:4] in _TIFF:
        import tifffile

        values = np.asarray(tifffile.imread(io.BytesIO(content)))
        if values.ndim == 3 and values.shape[0] in (3, 4) and values.shape[2] not in (3, 4):
            values = values.transpose(1, 2, 0)  # one plane per channel
        return np.asarray(values[..., :3], dtype=np.uint16) if values.ndim == 3 else values.astype(np.uint16)
    import cv2

    colours: Any = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
    if colours is None or colours.dtype != np.uint16:
        raise ValueError("no 16-bit values")
    return np.asarray(colours[:, :, 2::-1] if colours.ndim == 3 else colours, dtype=np.uint16)


def _turned(values: Wide, content: bytes) -> Wide:
    """Rotate an array by the file's EXIF orientation; Pillow does this for images that it decodes itself."""
    with Image.open(io.BytesIO(content)) as image:
        turn = int(image.getexif().get(_ORIENTATION, 1))
    turned = {
        2: lambda: values[:, ::-1],
        3: lambda: values[::-1, ::-1],
        4: lambda: values[::-1],
        5: lambda: values.swapaxes(0, 1),
        6: lambda: np.rot90(values, -1),
        7: lambda: np.rot90(values, 2).swapaxes(0, 1),
        8: lambda: np.rot90(values),
    }.get(turn, lambda: values)()
    return np.ascontiguousarray(turned)
