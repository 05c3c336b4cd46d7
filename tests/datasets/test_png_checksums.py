"""A PNG whose pixels were damaged on the way is refused, although Pillow would decode it."""

from __future__ import annotations

import contextlib
import io
import struct

import numpy as np
import pytest
from PIL import Image

from diadbench.common.errors import UserError
from diadbench.datasets.decoding.images import decode_image


def test_no_flipped_byte_of_a_png_gives_other_pixels() -> None:
    pixels = np.random.default_rng(0).integers(80, 90, (16, 20, 3), dtype=np.uint8)  # few values: they are compressed
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    content = stream.getvalue()
    assert np.array_equal(decode_image(content, "a.png"), pixels)
    unseen = 0
    for place in range(len(content)):
        for bit in (1, 128):
            damaged = bytearray(content)
            damaged[place] ^= bit
            unseen += _decodes_otherwise(bytes(damaged), pixels)
            with contextlib.suppress(UserError):
                assert np.array_equal(decode_image(bytes(damaged), "a.png"), pixels), f"byte {place}"
    assert unseen, "Pillow tells of all damage: the check of checksums can go"


def _decodes_otherwise(content: bytes, pixels: np.ndarray) -> bool:
    """Whether Pillow alone gives other pixels without an error."""
    try:
        with Image.open(io.BytesIO(content)) as image:
            return not np.array_equal(np.array(image.convert("RGB")), pixels)
    except (OSError, SyntaxError, ValueError, MemoryError, struct.error):
        return False


def test_the_reason_is_said() -> None:
    stream = io.BytesIO()
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(stream, "PNG")
    content = bytearray(stream.getvalue())
    content[content.index(b"IEND") - 5] ^= 1  # the last byte of the pixels' checksum
    with pytest.raises(UserError, match="checksum of its pixels is wrong"):
        decode_image(bytes(content), "a.png")
