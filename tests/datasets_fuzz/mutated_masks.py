"""Mutations of masks: gone, broken, of another format, or such that they can't be meant so."""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
from drawing import Draw, encoded, some_mask, tiff, turned
from hypothesis import assume
from hypothesis import strategies as st
from PIL import Image
from world import Array, Truth, World


def mask_gone(world: World, draw: Draw) -> None:
    some_mask(world, draw)[1].unlink()


def mask_cut_off(world: World, draw: Draw) -> None:
    path = some_mask(world, draw)[1]
    content = path.read_bytes()
    assume(content)
    world.write(path, content[: draw(st.integers(0, len(content) - 1))])


def other_mask(world: World, draw: Draw) -> None:
    """The same mask as people store it; what it means stays the truth."""
    one, path = some_mask(world, draw)
    kind = draw(st.sampled_from(sorted(MASKS)))
    assume(kind != "black" or not world.name.startswith("kolektor"))  # there the mask is the label
    world.done.append(kind)
    assert one.anomalous is not None
    world.write(path, MASKS[kind](one.anomalous, one))


def _soft(mask: Array) -> Array:
    """A mask that was made larger and smaller again by interpolation."""
    image = Image.fromarray(mask.astype(np.uint8) * 255)
    width, height = image.size
    small = image.resize((max(1, width // 2), max(1, height // 2)), Image.Resampling.BILINEAR)
    return np.asarray(small.resize((width, height), Image.Resampling.BILINEAR))


def _framed(mask: Array) -> Array:
    framed = mask.copy()
    framed[[0, -1]] = framed[:, [0, -1]] = True
    return framed.astype(np.uint8) * 255


def _with_alpha(mask: Array) -> Array:
    return np.dstack([np.zeros((*mask.shape, 3), np.uint8), mask.astype(np.uint8) * 255])


def _trimap(mask: Array) -> Array:
    values = mask.astype(np.uint8) * 255
    values[: mask.shape[0] // 3][~mask[: mask.shape[0] // 3]] = 128
    return values


def _palette(mask: Array) -> Image.Image:
    image = Image.fromarray(mask.astype(np.uint8), "P")
    image.putpalette([0, 0, 0, 200, 30, 30])
    return image


def _array_file(mask: Array) -> bytes:
    out = io.BytesIO()
    np.save(out, mask)
    return out.getvalue()


MASKS: dict[str, Callable[[Array, Truth], bytes]] = {
    "one bit": lambda mask, one: encoded(Image.fromarray(mask)),
    "palette": lambda mask, one: encoded(_palette(mask)),
    "adaptive palette": lambda mask, one: encoded(
        Image.fromarray(mask.astype(np.uint8) * 255).convert("RGB").convert("P", palette=Image.Palette.ADAPTIVE)
    ),
    "numbers": lambda mask, one: encoded(mask.astype(np.uint8) * 3),
    "16 bits": lambda mask, one: encoded(mask.astype(np.uint16) * 65535),
    "rgba": lambda mask, one: encoded(Image.fromarray(mask.astype(np.uint8) * 255).convert("RGBA")),
    "alpha alone": lambda mask, one: encoded(_with_alpha(mask)),
    "turned": lambda mask, one: turned(mask.astype(np.uint8) * 255),
    "jpeg": lambda mask, one: encoded(mask.astype(np.uint8) * 255, ".jpg", quality=75),
    "resized": lambda mask, one: encoded(_soft(mask)),
    "inverted": lambda mask, one: encoded((~mask).astype(np.uint8) * 255),
    "white": lambda mask, one: encoded(np.full(mask.shape, 255, np.uint8)),
    "black": lambda mask, one: encoded(np.zeros(mask.shape, np.uint8)),
    "background of 30": lambda mask, one: encoded(np.where(mask, 255, 30).astype(np.uint8)),
    "frame": lambda mask, one: encoded(_framed(mask)),
    "trimap": lambda mask, one: encoded(_trimap(mask)),
    "the photo": lambda mask, one: encoded(one.pixels),
    "another size": lambda mask, one: encoded(np.pad(mask.astype(np.uint8) * 255, 3)),
    "array": lambda mask, one: _array_file(mask),
    "git-LFS pointer": lambda mask, one: b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n",
    "pages": lambda mask, one: tiff(np.stack([mask, ~mask]).astype(np.uint8) * 255, photometric="minisblack"),
}


def one_mask_for_all(world: World, draw: Draw) -> None:
    one, path = some_mask(world, draw)
    content = path.read_bytes()
    others = [other for other in world.bad if world.path(other.mask).is_file() and other.cls == one.cls]
    assume(len(others) > 2 and all(other.pixels.shape == one.pixels.shape for other in others))
    for other in others:
        world.write(world.path(other.mask), content)
