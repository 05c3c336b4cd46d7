"""What happens to people's data: each mutation changes the files and, where the user means it so, the truth."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from hypothesis import assume, reject
from hypothesis import strategies as st
from PIL import Image
from world import Array, Truth, World

Draw = Callable[[Any], Any]
Mutation = Callable[[World, Draw], None]


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


# -- one image ------------------------------------------------------------------------------------------------------


def _some_image(world: World, draw: Draw) -> Truth:
    there = [one for one in world.samples if world.path(one.image).is_file()]
    assume(there)
    return draw(st.sampled_from(there))


def cut_off(world: World, draw: Draw) -> None:
    path = world.path(_some_image(world, draw).image)
    content = path.read_bytes()
    assume(content)
    world.write(path, content[: draw(st.integers(0, len(content) - 1))])


def garbage(world: World, draw: Draw) -> None:
    world.write(world.path(_some_image(world, draw).image), draw(st.binary(max_size=200)))


def flipped_bytes(world: World, draw: Draw) -> None:
    path = world.path(_some_image(world, draw).image)
    assume(path.suffix.lower() == ".png")  # a checksum tells; other formats may decode to other pixels, unseen
    content = bytearray(path.read_bytes())
    assume(content)
    content[draw(st.integers(0, len(content) - 1))] ^= draw(st.integers(1, 255))
    world.write(path, bytes(content))


def gone(world: World, draw: Draw) -> None:
    one = _some_image(world, draw)
    world.path(one.image).unlink()
    world.samples.remove(one)  # a folder knows no better; a list does, and says so


def other_pixels(world: World, draw: Draw) -> None:
    """The same picture as another kind of file, under its old name."""
    one = _some_image(world, draw)
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
        "12 bits colour": lambda: (_tiff(rgb.astype(np.uint16) * 16, photometric="rgb"), rgb, 2),
        "float": lambda: (_tiff(grey / np.float32(255)), np.dstack([grey] * 3), 0),
        "signed": lambda: (_tiff(grey.astype(np.int16) - 128), np.dstack([grey] * 3), 0),
        "white is 0": lambda: (_tiff(255 - grey, photometric="miniswhite"), np.dstack([grey] * 3), 0),
        "white is 0, 16 bits": lambda: (_white_is_zero(grey), np.dstack([grey] * 3), 0),
        "pages": lambda: (_tiff(np.stack([grey * 0, grey]), photometric="minisblack"), np.dstack([grey] * 3), 0),
        "four channels": lambda: (_tiff(np.dstack([rgb, grey]), photometric="rgb"), rgb, 0),
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


def _tiff(values: Array, **options: Any) -> bytes:
    out = io.BytesIO()
    tifffile.imwrite(out, values, **options)
    return out.getvalue()


def _white_is_zero(grey: Array) -> bytes:
    return _tiff(65535 - grey.astype(np.uint16) * 257, photometric="miniswhite")


def _channels(grey: Array, count: int) -> bytes:
    return _tiff(np.dstack([grey] * count), photometric="minisblack", planarconfig="contig")


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


# -- masks ----------------------------------------------------------------------------------------------------------


def _some_mask(world: World, draw: Draw) -> tuple[Truth, Path]:
    there = [one for one in world.bad if world.path(one.mask).is_file()]
    assume(there)
    one = draw(st.sampled_from(there))
    return one, world.path(one.mask)


def mask_gone(world: World, draw: Draw) -> None:
    _some_mask(world, draw)[1].unlink()


def mask_cut_off(world: World, draw: Draw) -> None:
    path = _some_mask(world, draw)[1]
    content = path.read_bytes()
    assume(content)
    world.write(path, content[: draw(st.integers(0, len(content) - 1))])


def other_mask(world: World, draw: Draw) -> None:
    """The same mask as people store it; what it means stays the truth."""
    one, path = _some_mask(world, draw)
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
    "pages": lambda mask, one: _tiff(np.stack([mask, ~mask]).astype(np.uint8) * 255, photometric="minisblack"),
}


def one_mask_for_all(world: World, draw: Draw) -> None:
    one, path = _some_mask(world, draw)
    content = path.read_bytes()
    others = [other for other in world.bad if world.path(other.mask).is_file() and other.cls == one.cls]
    assume(len(others) > 2 and all(other.pixels.shape == one.pixels.shape for other in others))
    for other in others:
        world.write(world.path(other.mask), content)


# -- files and folders ----------------------------------------------------------------------------------------------

_JUNK = {
    ".DS_Store": b"\0\0\0\1Bud1",
    "Thumbs.db": b"\xd0\xcf\x11\xe0",
    "desktop.ini": b"[.ShellClassInfo]\r\n",
    "._000.png": b"\0\5\x16\7",
    "__MACOSX/._000.png": b"\0\5\x16\7",
    "README.md": b"# data\n",
    "data.zip": b"PK\3\4",
    "notes.txt": "Prüfung\n".encode("latin-1", "replace"),
    "config.json": b'{"lr": 0.1}',
    "empty.json": b"",
    "log.csv": b"step,loss\n1,0.5\n",
    "empty.png": b"",
    "weights.pth": b"x",
    "Icon\r": b"",
    "ehthumbs.db": b"x",
    "split.xlsx": b"PK\3\4",
    "train.csv.gz": b"\x1f\x8b",
    "annotations.yaml": b"names: [a]\n",
    "images.zip": b"PK\3\4",
}


def junk(world: World, draw: Draw) -> None:
    folders = sorted({str(Path(one.image).parent) for one in world.samples} | {".", world.samples[0].cls})
    name = draw(st.sampled_from(sorted(_JUNK)))
    place = world.path(draw(st.sampled_from(folders))) / name
    world.done.append(str(place.relative_to(world.root)))
    world.write(place, _JUNK[name])


def renamed(world: World, draw: Draw) -> None:
    """An image and its mask get another stem; where lists name them, the lists stay behind."""
    one = _some_image(world, draw)
    assume(not one.mask or world.path(one.mask).is_file())
    stem = draw(st.sampled_from(STEMS))
    old = Path(one.image)
    new = f"{old.parent}/{stem}{old.suffix}"
    assume(not world.path(new).exists())
    world.path(one.image).rename(world.path(new))
    if one.mask:
        mask = Path(one.mask)
        rest = mask.name[len(old.stem) :] if mask.name.startswith(old.stem) else mask.suffix
        target = f"{mask.parent}/{unicodedata.normalize('NFD', stem)}{rest}"
        assume(not world.path(target).exists())
        world.path(one.mask).rename(world.path(target))
    one.image = new


STEMS = (
    "a b",
    "käfer",
    "50%#1",
    "it's",
    "瓶",
    "🙂",
    "x (1)",
    "=1+1",
    "-rf",
    "a,b;c",
    "a.b.c",
    "[1]",
    "new\nline",
    " x",
)


def nested(world: World, draw: Draw) -> None:
    """Images of a folder and their masks move one folder deeper."""
    folders = sorted({str(Path(one.image).parent) for one in world.samples if world.path(one.image).is_file()})
    assume(folders)
    folder = draw(st.sampled_from(folders))
    lot = draw(st.sampled_from(["lot2", "2024-05-01", "cam 1", "050"]))
    for one in [one for one in world.samples if str(Path(one.image).parent) == folder]:
        if not world.path(one.image).is_file():
            continue
        one.image = _deeper(world, one.image, lot)
        if one.mask and world.path(one.mask).is_file():
            one.mask = _deeper(world, one.mask, lot)


def _deeper(world: World, relative: str, lot: str) -> str:
    old = Path(relative)
    new = old.parent / lot / old.name
    world.path(str(new.parent)).mkdir(exist_ok=True)
    world.path(relative).rename(world.path(str(new)))
    return new.as_posix()


def second_mask(world: World, draw: Draw) -> None:
    """Another mask of an image, with other pixels, beside its own."""
    one, path = _some_mask(world, draw)
    name = draw(st.sampled_from(["{}_2{}", "{}-old{}", "{} (1){}"])).format(path.stem, path.suffix)
    assume(one.anomalous is not None and not path.with_name(name).exists())
    assert one.anomalous is not None
    world.write(path.with_name(name), encoded((~one.anomalous).astype(np.uint8) * 255))


def thumbnails(world: World, draw: Draw) -> None:
    """The folder of thumbnails or of deleted files that a system puts among the images."""
    one = _some_image(world, draw)
    name = draw(st.sampled_from(["@eaDir", "#recycle", "$RECYCLE.BIN", ".ipynb_checkpoints", "__MACOSX"]))
    world.done.append(name)
    world.write(world.path(one.image).parent / name / "000.png", encoded(one.pixels))


def piped(world: World, draw: Draw) -> None:
    """A named pipe in place of an image: reading it waits for ever."""
    path = world.path(_some_image(world, draw).image)
    path.unlink()
    os.mkfifo(path)


def other_case(world: World, draw: Draw) -> None:
    """A folder of images gets another case, or the name of its kind in another word."""
    folder = Path(_some_image(world, draw).image).parent
    assume(str(folder) != ".")
    words = {"good": ["Good", "OK", "normal"], "ok": ["OK", "good"], "OK": ["ok", "good"]}
    name = draw(st.sampled_from([*words.get(folder.name, []), folder.name.swapcase()]))
    assume(name != folder.name and not world.path(str(folder.parent / name)).exists())
    world.done.append(f"{folder} -> {name}")
    world.path(str(folder)).rename(world.path(str(folder.parent / name)))
    for one in world.samples:
        if Path(one.image).parent == folder:
            one.image = str(folder.parent / name / Path(one.image).name)


def linked(world: World, draw: Draw) -> None:
    """An image is a link: to a file beside it, out of the root, to nowhere or to itself."""
    one = _some_image(world, draw)
    path = world.path(one.image)
    kind = draw(st.sampled_from(["inside", "outside", "nowhere", "itself"]))
    world.done.append(kind)
    if kind in ("inside", "outside"):
        place = world.root if kind == "inside" else world.root.parent
        target = place / f".moved{path.suffix}"
        assume(not target.exists())
        shutil.move(path, target)
    else:
        path.unlink()
        target = path if kind == "itself" else world.root / "nowhere.png"
    os.symlink(target, path)


def upper_suffix(world: World, draw: Draw) -> None:
    one = _some_image(world, draw)
    new = str(Path(one.image).with_suffix(Path(one.image).suffix.swapcase()))
    world.path(one.image).rename(world.path(new))
    one.image = new


# -- lists ----------------------------------------------------------------------------------------------------------


def _some_list(world: World, draw: Draw) -> Path:
    there = [path for path in world.lists if path.is_file()]
    assume(there)
    return draw(st.sampled_from(there))


def other_text(world: World, draw: Draw) -> None:
    """The same list in another encoding or form."""
    path = _some_list(world, draw)
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:  # An earlier mutation wrote it in another encoding.
        reject()
    kind = draw(st.sampled_from(sorted(TEXTS)))
    world.done.append(kind)
    world.write(path, TEXTS[kind](text))


def _array(text: str) -> bytes:
    rows = [line for line in text.splitlines() if line.strip()]
    try:
        return json.dumps([json.loads(row) for row in rows], indent=1).encode()
    except ValueError:
        return text.encode()


TEXTS: dict[str, Callable[[str], bytes]] = {
    "utf-8 with a mark": lambda text: text.encode("utf-8-sig"),
    "utf-16": lambda text: text.encode("utf-16"),
    "utf-16 without a mark": lambda text: text.encode("utf-16-le"),
    "CRLF": lambda text: text.replace("\n", "\r\n").encode(),
    "a blank first line": lambda text: ("\n" + text).encode(),
    "backslashes": lambda text: text.replace("//", "/").replace("/", "\\\\").encode(),
    "an array": _array,
    "single quotes": lambda text: text.replace('"', "'").encode(),
    "commas at the ends": lambda text: text.replace("}\n", "},\n").encode(),
    "cut off": lambda text: text[: len(text) * 2 // 3].encode(),
    "empty": lambda text: b"",
    "null": lambda text: re.sub(r'"(label|anomaly)": 0', r'"\1": null', text).encode(),
    "a remark first": lambda text: ("# split of May\n" + text).encode(),
    "utf-32": lambda text: text.encode("utf-32"),
    "another encoding": lambda text: text.replace("good", "瓶子").encode("gbk"),
    "web page": lambda text: b"<!DOCTYPE html><html>404</html>",
    "git-LFS pointer": lambda text: b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n",
    "conflict": lambda text: (text + "<<<<<<< HEAD\n").encode(),
    "latin-1": lambda text: text.replace("good", "gööd").encode("latin-1", "replace"),
}


def list_gone(world: World, draw: Draw) -> None:
    """A list is deleted: folders may say the same, or nobody knows."""
    _some_list(world, draw).unlink()


def list_copied(world: World, draw: Draw) -> None:
    """A second, older list lies beside the list."""
    path = _some_list(world, draw)
    name = draw(st.sampled_from(["old_{}", "{}.bak", "copy of {}", ".{}"])).format(path.name)
    world.write(path.with_name(name), path.read_bytes())


MUTATIONS: dict[str, Mutation] = {
    one.__name__.lstrip("_"): one
    for one in (
        cut_off,
        garbage,
        flipped_bytes,
        gone,
        other_pixels,
        deeper_bits,
        mask_gone,
        mask_cut_off,
        other_mask,
        one_mask_for_all,
        junk,
        renamed,
        nested,
        second_mask,
        thumbnails,
        piped,
        other_case,
        linked,
        upper_suffix,
        other_text,
        list_gone,
        list_copied,
    )
}
#: Those that a set without such a thing can't have.
NEEDS_LIST = ("other_text", "list_gone", "list_copied")
NEEDS_MASK = ("mask_gone", "second_mask", "mask_cut_off", "other_mask", "one_mask_for_all")
