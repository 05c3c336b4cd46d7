"""Find the files that a list names: the folder of its paths, the masks of its images, masks that it omits."""

from __future__ import annotations

import os
import posixpath
import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from PIL import Image

from diadbench.common.cache.disk_space import writing
from diadbench.common.cache.usage import mark_used
from diadbench.common.errors import UserError
from diadbench.common.files import cache_dir, write_with
from diadbench.common.wording import counted
from diadbench.datasets.decoding.images import SEVERAL, SUFFIXES, has_image_suffix, inside, read_image
from diadbench.datasets.decoding.lookalikes import differs
from diadbench.datasets.decoding.mask_files import read_mask
from diadbench.datasets.layouts.folder_scan import MASK_FOLDERS, subfolders

#: Note on masks of whole images in tables.
WHOLE_FLAG = "the list names no masks: the whole image counts as anomalous, as in UniAD"


class Row(NamedTuple):
    """A sample as a list states it; ``place`` is the file and line. Paths are as in the file, with ``/``."""

    image: str
    masks: tuple[str, ...]
    cls: str
    split: str
    label: int
    defect: str
    place: str


def slashed(path: str) -> str:
    """Return a path with ``/`` and without redundant parts: ``a//b``, ``./a``, ``a\\b``."""
    clean = re.sub(r"(?<=[^/])/(?:\.?/)+", "/", path.replace("\\", "/"))
    return re.sub(r"^(?:\./+)+", "", clean)


def image_base(paths: Sequence[str], root: Path, folder: Path, first: Path | None = None) -> Path | None:
    """Return the folder that the listed paths are relative to; ``None`` if none of them exists."""
    if not paths:
        return None
    best, most = None, 0
    for base in _bases(root, folder, first):
        hits = sum(_is_there(path, base, root, climbs=base == folder) for path in paths)
        if hits > most:
            best, most = base, hits
        if most == len(paths):
            break
    return best


def _bases(root: Path, folder: Path, first: Path | None) -> Iterator[Path]:
    tops = [folder]
    while tops[-1] != root and root in tops[-1].parents:
        tops.append(tops[-1].parent)
    if root not in tops:  # The list lies above the root.
        tops = [root, folder, *([folder.parent] if folder.parent in root.parents else [])]
    if first is not None:
        yield first
    yield from tops
    for top in tops:
        if top == root or root in top.parents:
            yield from _folders(top)
    for top in tops:
        if top == root or root in top.parents:
            for one in _folders(top):
                yield from _folders(one)
    yield from list(root.absolute().parents)[:2]  # Paths that begin with the root's own name, as in data/mvtec/bottle.


def _folders(folder: Path) -> list[Path]:
    return [folder / name for name in islice(subfolders(folder, ""), 200)]


def _is_there(path: str, base: Path, root: Path, *, climbs: bool) -> bool:
    relative = _relative(path, root, base, climbs=climbs)
    return relative is not None and os.path.exists(os.path.join(root, relative))


def _relative(path: str, root: Path, base: Path, *, climbs: bool) -> str | None:
    """Return a listed path relative to the root, or ``None`` if it leaves the root.

    ``climbs``: The paths are relative to the list, so that ``../`` may lead to another folder of the root.
    """
    if re.match(r"[A-Za-z]:", path) or (not climbs and f"{posixpath.normpath(path)}/".startswith("../")):
        return None
    for top in dict.fromkeys((os.path.abspath(root), os.path.realpath(root))):
        start = os.path.abspath(base) if top == os.path.abspath(root) else os.path.realpath(base)
        relative = posixpath.relpath(posixpath.normpath(posixpath.join(start, path)), top)
        if relative != ".." and not relative.startswith("../"):
            return relative
    return None


def below_root(path: str, root: Path, base: Path, place: str, what: str, *, climbs: bool = False) -> str:
    """Return a listed path relative to the root. Raises UserError if it leaves the root."""
    relative = _relative(path, root, base, climbs=climbs)
    if relative is None:
        raise UserError(
            f"{place}: {what} path {path!r} leaves the data root {root}; refused: write paths relative to the list"
        )
    return relative


def refuse_leaving(paths: Iterable[tuple[str, str, str]], root: Path, folder: Path) -> None:
    """Refuse the first ``(place, what, path)`` whose path leaves the root. Raises UserError."""
    base = folder if folder == root or root in folder.parents else root
    for place, what, path in paths:
        below_root(path, root, base, place, what, climbs=True)


def nowhere(row: Row, root: Path, folder: Path) -> UserError:
    """Return the error for a list none of whose images is found."""
    base = folder if folder == root or root in folder.parents else root
    like = next((text for one in _bases(root, folder, None) if (text := differs(one / row.image))), "")
    hint = f"; {like}" if like else ""
    return UserError(f"{row.place}: {row.image} is listed, and not found in {base} or in a folder below{hint}")


# -- masks ----------------------------------------------------------------------------------------------------------


def united(masks: Sequence[str], root: Path) -> str:
    """Return one mask path for all masks of an image: ``""``, the mask, their folder, or a union of several files."""
    if len(masks) < 2:
        return masks[0] if masks else ""
    top = posixpath.commonpath([posixpath.dirname(mask) for mask in masks])
    names = sorted(posixpath.relpath(mask, top) if top else mask for mask in dict.fromkeys(masks))
    return f"{top}/{SEVERAL}{SEVERAL.join(names)}" if top else SEVERAL + SEVERAL.join(names)


def without_empty_masks(table: pd.DataFrame, root: Path) -> pd.DataFrame:
    """Remove empty masks of normal images from the table (MVTec-3D lists all-zero ones).

    A mask of a normal image with anomalous pixels stays, since it contradicts the label and is refused on reading.
    """
    kept = table["mask"].copy()
    for i in table.index[(table["label"] == 0) & (table["mask"] != "")]:
        try:
            shows = bool(read_mask(inside(root, str(kept[i]))).any())
        except UserError:
            shows = False  # missing or broken, and not read by anything
        kept[i] = kept[i] if shows else ""
    return table.assign(mask=kept)


def check_pairs(table: pd.DataFrame, places: Sequence[str]) -> None:
    """Refuse a mask that by its name belongs to another image, as in lists made from sorted folders with a stray file.

    A mask with any other name belongs to the image that it is listed with.
    """
    stems: dict[str, set[str]] = {}
    for image in table["image"]:
        stems.setdefault(posixpath.dirname(image), set()).add(_stem(image))
    wrong = []
    for i, (image, mask) in enumerate(zip(table["image"], table["mask"])):
        if mask and SEVERAL not in mask and posixpath.splitext(mask)[1] and not has_image_suffix(mask):
            raise UserError(
                f"{places[i]}: mask {mask}: not an image of a known format (known: {' '.join(SUFFIXES)}); convert it"
            )
        if mask and SEVERAL not in mask and _is_anothers(image, mask, stems[posixpath.dirname(image)]):
            wrong.append((places[i], image, mask))
    if wrong:
        place, image, mask = wrong[0]
        raise UserError(
            f"{place}: {image} is paired with {mask}, by its name not the mask of this image "
            f"({counted(len(wrong), 'such pair')}); was the list made from two sorted folders with a stray file in "
            "one? Mend or remove the list"
        )


def _is_anothers(image: str, mask: str, stems: set[str]) -> bool:
    own = _stem(image)
    owners = set(_owners(_stem(mask)))
    if own in owners or posixpath.basename(posixpath.dirname(mask)) == own:
        return False
    return bool(owners & stems)


def _owners(mask: str) -> Iterator[str]:
    """Yield the stems of images that a mask's name may refer to: ``000`` for ``000_mask``, ``000_GT`` or ``000``."""
    yield mask
    for i in range(len(mask) - 1, 0, -1):
        if mask[i] in "_-. ":
            yield mask[:i]
        elif not mask[i].isalpha():
            return


def _stem(path: str) -> str:
    name = posixpath.basename(path)
    return name if name.startswith(".") else posixpath.splitext(name)[0]


# -- masks of the whole image, as UniAD uses them if a list names no mask -------------------------------------------


def whole_masks_dir() -> Path:
    """Return the directory in the cache for masks of whole images, one for each size."""
    place = cache_dir() / "masks" / "whole"
    mark_used(place)
    return place


def whole_masks(table: pd.DataFrame, root: Path) -> list[str]:
    """Make the masks of the anomalous samples and return their names, row by row; ``""`` for normal samples.

    Nothing is written below the root.

    Args:
        table: Rows of the sample table.
        root: The dataset's root.

    Raises:
        UserError: An image can't be read, or the cache can't be written.
    """
    place = whole_masks_dir()
    names = [_name(inside(root, image)) if label else "" for image, label in zip(table["image"], table["label"])]
    with writing(place):
        for name in sorted(set(names) - {""}):
            width, _, height = name.removesuffix(".png").partition("x")
            if not (place / name).is_file():
                white = Image.fromarray(np.full((int(height), int(width)), 255, np.uint8))
                write_with(place / name, white.save)
    return names


def has_mask_folder(table: pd.DataFrame, root: Path) -> bool:
    """Whether a folder with a usual name of masks lies beside the images of a table, or above them up to the root.

    In that case masks exist, and the list omits them.
    """
    above = {place for image in table["image"] for place in (root / str(image)).parents}
    folders = [place for place in above if root in (place, *place.parents)]
    return any(name.lower() in MASK_FOLDERS for place in folders for name in subfolders(place, ""))


def _name(path: Path) -> str:
    height, width = read_image(path).shape[:2]
    return f"{width}x{height}.png"
