"""Mutations of one image, or of the depth of all: the file is broken, or the picture is stored in another way."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from drawing import Draw, encoded, some_image, tiff, turned
from hypothesis import assume
from hypothesis import strategies as st
from PIL import Image
from world import Array, World


def cut_off(world: World, draw: Draw) -> None:
    path = world.path(some_image(world, draw).image)
    content = path.read_bytes()
    assume(content)
    world.write(path, content[: draw(st.integers(0, len(content) - 1))])


def garbage(world: World, draw: Draw) -> None:
    world.write(world.path(some_image(world, draw).image), draw(st.binary(max_size=200)))


def flipped_bytes(world: World, draw: Draw) -> None:
    path = world.path(some_image(world, draw).image)
    assume(path.suffix.lower() == ".png")  # a checksum tells; other formats may decode to other pixels, unseen
    content = bytearray(path.read_bytes())
    assume(content)
    content[draw(st.integers(0, len(content) - 1))] ^= draw(st.integers(1, 255))
    world.write(path, bytes(content))


def gone(world: World, draw: Draw) -> None:
    one = some_image(world, draw)
    world.path(one.image).unlink()
    world.samples.remove(one)  # a folder knows no better; a list does, and says so


def other_pixels(world: World, draw: Draw) -> None:
    """The same picture as another kind of file, under its old name."""
    one = some_image(world, draw)
    grey = one.pixels.mean(axis=2).round().astype(np.uint8)
    rgb = one.pixels
    alpha = np.full(grey.shape, 255, np.uint8)
    kinds: dict[str, Callable[[], tuple[bytes, Array, int]]] = {
        "rgba": lambda: (encoded(np.dstack([rgb, alpha])), rgb, 0),
        "rgba, transparent": lambda: (encoded(np.dstack([rgb, alpha * 0])), rgb, 0),
        "grey": lambda: (encoded(grey), np.dstack([grey] * 3), 0),
        "grey with alpha": lambda: (encoded(Image.fromarray(np.dstack([grey, alpha]), "LA")), np.dstack([grey] * 3), 0),
        "turned": lambda: (turned(rgb, 6), rgb, 0),
        "tiff": lambda: (encoded(rgb, ".tif"), rgb, 0),
        "webp": lambda: (encoded(rgb, ".webp", lossless=True), rgb, 0),
        "16 bits grey": lambda: (encoded(grey.astype(np.uint16) * 257), np.dstack([grey] * 3), 0),
        "10 bits grey": lambda: (encoded(grey.astype(np.uint16) * 4), np.dstack([grey] * 3), 2),
        "12 bits colour": lambda: (tiff(rgb.astype(np.uint16) * 16, photometric="rgb"), rgb, 2),
        "float": lambda: (tiff(grey / np.float32(255)), np.dstack([grey] * 3), 0),
        "signed": lambda: (tiff(grey.astype(np.int16) - 128), np.dstack([grey] * 3), 0),
        "white is 0": lambda: (tiff(255 - grey, photometric="miniswhite"), np.dstack([grey] * 3), 0),
        "white is 0, 16 bits": lambda: (_white_is_zero(grey), np.dstack([grey] * 3), 0),
        "pages": lambda: (tiff(np.stack([grey * 0, grey]), photometric="minisblack"), np.dstack([grey] * 3), 0),
        "four channels": lambda: (tiff(np.dstack([rgb, grey]), photometric="rgb"), rgb, 0),
        "five channels": lambda: (_channels(grey, 5), np.dstack([grey] * 3), 0),
        "animated": lambda: (_animated(rgb), rgb, 0),
        "grey, half transparent": lambda: (
            encoded(Image.fromarray(np.dstack([grey, alpha // 2]), "LA")),
            _three(grey),
            0,
        ),
        "a palette, transparent": lambda: (_see_through(rgb), rgb, 40),
        "web page": lambda: (b"<!DOCTYPE html><html>404</html>", rgb, 0),
        "git-LFS pointer": lambda: (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n", rgb, 0),
        "heic": lambda: (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(64), rgb, 0),
        "one pixel": lambda: (encoded(rgb[:1, :1]), rgb, 0),
        "gif": lambda: (encoded(Image.fromarray(rgb), ".gif"), rgb, 40),  # a palette of 256 colours
        "cmyk": lambda: (encoded(Image.fromarray(rgb).convert("CMYK"), ".jpg", quality=100), rgb, 40),
    }
    kind = draw(st.sampled_from(sorted(kinds)))
    world.done.append(kind)
    content, pixels, tolerance = kinds[kind]()
    world.write(world.path(one.image), content)
    for same in world.samples:  # an image of COCO is a sample of several splits
        if same.image == one.image:
            same.pixels, same.tolerance = pixels, tolerance


def _three(grey: Array) -> Array:
    return np.dstack([grey] * 3)


def _see_through(rgb: Array) -> bytes:
    image = Image.fromarray(rgb).convert("P", palette=Image.Palette.ADAPTIVE)
    return encoded(image, transparency=int(np.asarray(image)[0, 0]))


def _white_is_zero(grey: Array) -> bytes:
    return tiff(65535 - grey.astype(np.uint16) * 257, photometric="miniswhite")


def _channels(grey: Array, count: int) -> bytes:
    return tiff(np.dstack([grey] * count), photometric="minisblack", planarconfig="contig")


def _animated(rgb: Array) -> bytes:
    frames = [Image.fromarray(rgb), Image.fromarray(255 - rgb)]
    return encoded(frames[0], ".webp", save_all=True, append_images=frames[1:], lossless=True)


def deeper_bits(world: World, draw: Draw) -> None:
    """All images of the set in 16-bit files that use fewer bits."""
    bits = draw(st.sampled_from([10, 12, 14, 16]))
    paths = {one.image for one in world.samples}
    assume(all(world.path(path).is_file() for path in paths))
    for one in world.samples:
        grey = one.pixels.mean(axis=2).round()
        deep = (grey / 255 * (2**bits - 1)).round().astype(np.uint16)
        deep[0, 0] = 2**bits - 1  # the camera's white
        grey[0, 0] = 255
        one.pixels, one.tolerance = np.dstack([grey.astype(np.uint8)] * 3), 1
        world.write(world.path(one.image), encoded(deep))
