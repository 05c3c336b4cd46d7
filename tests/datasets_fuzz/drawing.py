"""What all mutations share: how they draw, and images as files."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from hypothesis import assume
from hypothesis import strategies as st
from PIL import Image
from world import Array, Truth, World

Draw = Callable[[Any], Any]


def encoded(values: Array | Image.Image, suffix: str = ".png", **options: Any) -> bytes:
    """Return an image as a file of a format."""
    out = io.BytesIO()
    image = values if isinstance(values, Image.Image) else Image.fromarray(values)
    formats = {"JPG": "JPEG", "TIF": "TIFF"}
    kind = suffix[1:].upper()
    image.save(out, formats.get(kind, kind), **options)
    return out.getvalue()


def turned(values: Array, exif: int = 6) -> bytes:
    """Return a PNG that is stored turned and says so."""
    tags = Image.Exif()
    tags[0x0112] = exif
    return encoded(np.ascontiguousarray(np.rot90(values)), exif=tags)


def some_image(world: World, draw: Draw) -> Truth:
    there = [one for one in world.samples if world.path(one.image).is_file()]
    assume(there)
    return draw(st.sampled_from(there))


def some_mask(world: World, draw: Draw) -> tuple[Truth, Path]:
    there = [one for one in world.bad if world.path(one.mask).is_file()]
    assume(there)
    one = draw(st.sampled_from(there))
    return one, world.path(one.mask)


def tiff(values: Array, **options: Any) -> bytes:
    out = io.BytesIO()
    tifffile.imwrite(out, values, **options)
    return out.getvalue()
