"""Mutations of files and folders: names, depth, links, and what systems and people leave among data."""

from __future__ import annotations

import os
import shutil
import unicodedata
from pathlib import Path

import numpy as np
from drawing import Draw, encoded, some_image, some_mask
from hypothesis import assume
from hypothesis import strategies as st
from world import World

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
    one = some_image(world, draw)
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
    one, path = some_mask(world, draw)
    name = draw(st.sampled_from(["{}_2{}", "{}-old{}", "{} (1){}"])).format(path.stem, path.suffix)
    assume(one.anomalous is not None and not path.with_name(name).exists())
    assert one.anomalous is not None
    world.write(path.with_name(name), encoded((~one.anomalous).astype(np.uint8) * 255))


def thumbnails(world: World, draw: Draw) -> None:
    """The folder of thumbnails or of deleted files that a system puts among the images."""
    one = some_image(world, draw)
    name = draw(st.sampled_from(["@eaDir", "#recycle", "$RECYCLE.BIN", ".ipynb_checkpoints", "__MACOSX"]))
    world.done.append(name)
    world.write(world.path(one.image).parent / name / "000.png", encoded(one.pixels))


def piped(world: World, draw: Draw) -> None:
    """A named pipe in place of an image: reading it waits for ever."""
    path = world.path(some_image(world, draw).image)
    path.unlink()
    os.mkfifo(path)


def other_case(world: World, draw: Draw) -> None:
    """A folder of images gets another case, or the name of its kind in another word."""
    folder = Path(some_image(world, draw).image).parent
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
    one = some_image(world, draw)
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
    one = some_image(world, draw)
    new = str(Path(one.image).with_suffix(Path(one.image).suffix.swapcase()))
    world.path(one.image).rename(world.path(new))
    one.image = new
