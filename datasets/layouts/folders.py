"""Folder layouts that several datasets share, read as rows of the sample table."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pandas as pd

from diadbench.common.errors import UserError, unknown_name
from diadbench.common.wording import counted
from diadbench.datasets.decoding.images import has_image_suffix, is_hidden
from diadbench.datasets.decoding.lookalikes import shown
from diadbench.datasets.layouts.folder_scan import MASK_FOLDERS as MASK_FOLDERS
from diadbench.datasets.layouts.folder_scan import (
    MaskFinder,
    contradicting_mask,
    image_files,
    nfc,
    no_loose_images,
    stem_of,
    subfolders,
)
from diadbench.datasets.layouts.folder_scan import entries as entries
from diadbench.datasets.layouts.folder_scan import pair_by_stem as pair_by_stem

_COUNTED = 1000
#: Usual names of folders with normal images, in lower case.
NORMAL_NAMES = ("good", "ok", "normal")
#: ``(image, mask, class, split, label, defect)``.
Row = tuple[str, str, str, str, int, str]
#: Where the folder of a class lies: ``<class>/train/good`` (MVTec-AD), ``train/<class>/good`` (outer),
#: ``train/good/<class>`` (inner), or nowhere, because there is one class (single).
Order = Literal["class", "outer", "inner", "single"]


@dataclass(frozen=True)
class MvtecLayout:
    """Names of files and folders in a dataset in the style of MVTec-AD.

    ``<class>/train/<normal>/000.png``, ``<class>/test/<normal or defect>/000.png`` and
    ``<class>/<masks>/<defect>/000<mask_suffix>.png``.

    Attributes:
        normal: Names of the folder with normal images (``good``; BTAD has ``ok``).
        train: Folders with training images (``("train", "validation")`` for MVTec LOCO as ADer has it).
        test: Folder with test images.
        masks: Folder with masks.
        mask_suffixes: What follows an image's stem in the name of its mask. The first that exists is taken. A
            directory of that name stands for the union of the masks in it.
        has_masks: Whether anomalous test images must have masks.
        beside: Additional folders of a class in published datasets, which are not read by default.
        hint: Advice for missing masks, for the error text.
        takes_normal: Whether an option gives the name of the folder with normal images, for the error text.
    """

    normal: tuple[str, ...] = ("good",)
    train: tuple[str, ...] = ("train",)
    test: str = "test"
    masks: str = "ground_truth"
    mask_suffixes: tuple[str, ...] = ("_mask", "")
    has_masks: bool = True
    beside: tuple[str, ...] = ("validation", "valid", "calibration")
    hint: str = "add it; for image metrics only, use dataset folder with masks=false"
    takes_normal: bool = False


def mvtec_layout(
    root: Path,
    *,
    known: Sequence[str] = (),
    only: Sequence[str] | None = None,
    layout: MvtecLayout | None = None,
) -> pd.DataFrame:
    """Index a directory in MVTec-AD's layout.

    Files that are not class folders (licence, lists, hidden files) are ignored. Images and masks are paired by stem,
    never by position.

    Args:
        root: Directory with a folder for each class.
        known: Class names that are allowed; empty allows any.
        only: Index these classes only.
        layout: Names of folders; ``None`` is MVTec-AD's own.

    Returns:
        Rows of the sample table, sorted by path.

    Raises:
        UserError: No class folder, an unknown one, a file that is no image among images, an anomalous test image
            without a mask, two files with one stem.
    """
    layout = layout or MvtecLayout()
    names = class_folders(root, known if only is None else (), layout)
    if only is not None:
        for name in only:
            if name not in names:
                raise unknown_name("class", name, names, where=str(root))
        names = [name for name in names if name in only]
    rows = [row for name in names for row in class_rows(root, name, layout)]
    return pd.DataFrame(rows, columns=["image", "mask", "class", "split", "label", "defect"])


def class_folders(root: Path, known: Sequence[str] = (), layout: MvtecLayout | None = None) -> list[str]:
    """Return the names of the class folders of ``root``, sorted. See :func:`mvtec_layout`."""
    layout = layout or MvtecLayout()
    splits = (*layout.train, layout.test)
    folders = subfolders(root, "")
    found = [name for name in folders if any((root / name / split).is_dir() for split in splits)]
    if not found:
        if any(split in folders for split in splits):
            raise UserError(_splits_at_the_top(root, layout))
        raise UserError(f"{root}: no class folder found; expected <class>/{splits[0]}/{layout.normal[0]}/*.png")
    if known:
        for name in found:
            if name not in known:
                raise unknown_name("class folder", name, known, where=str(root))
    return found


def _splits_at_the_top(root: Path, layout: MvtecLayout) -> str:
    """Explain why a folder that contains ``train`` can't be read: it is one class, or its splits lie above classes."""
    train = next((split for split in layout.train if (root / split).is_dir()), layout.test)
    inner = [name for name in subfolders(root, train) if name not in layout.normal]
    inner += [name for normal in layout.normal for name in subfolders(root, f"{train}/{normal}")]
    if inner:
        return (
            f"{root}: {train} lies above the classes ({', '.join(inner[:3])}); expected <class>/{train}: move the "
            "folders, or use dataset folder, which reads both"
        )
    return f"{root}: this is the folder of one class; give the folder above it, {root.parent}, as root"


def class_rows(root: Path, name: str, layout: MvtecLayout, order: Order = "class") -> Iterator[Row]:
    """Yield the rows of one class: its training images, then its test images with their masks.

    Raises:
        UserError: As :func:`mvtec_layout`; the class has no training images.
    """
    yield from _train_rows(root, name, layout, order)
    top = _top(layout.test, name, order)
    no_loose_images(root, top, f"{root / top}/<{layout.normal[0]} or defect>")
    for kind in subfolders(root, top):
        _check_kind(root / top / kind, kind, layout)
        images, masks = (_place(one, kind, name, order) for one in (layout.test, layout.masks))
        if (root / images).is_dir():
            yield from test_rows(root, images, masks, name, kind, layout)


def _train_rows(root: Path, name: str, layout: MvtecLayout, order: Order) -> Iterator[Row]:
    empty = True
    for split in layout.train:
        top = _top(split, name, order)
        no_loose_images(root, top, str(root / top / layout.normal[0]))
        for kind in subfolders(root, top):
            _check_kind(root / top / kind, kind, layout)
            if kind not in layout.normal:
                raise UserError(
                    f"{root / top / kind}: training images must be normal; expected only {layout.normal[0]}/"
                )
            place = _place(split, kind, name, order)
            for file in image_files(root, place):
                empty = False
                yield f"{place}/{file}", "", name, "train", 0, "good"
    if empty:
        expected = root / _place(layout.train[0], layout.normal[0], name, order)
        raise UserError(f"class {name!r} has no training images; expected them in {expected}")


def _check_kind(place: Path, kind: str, layout: MvtecLayout) -> None:
    """Refuse a folder of normal images under another name, whose images would count as anomalous. Raises UserError."""
    if kind not in layout.normal and kind.lower() in NORMAL_NAMES:
        option = f", or set normal={kind}" if layout.takes_normal else ""
        raise UserError(f"{place}: by its name normal images; expected a folder {layout.normal[0]}: rename it{option}")


def _top(split: str, name: str, order: Order) -> str:
    """Return the folder whose folders are kinds of images: ``good`` and the defects."""
    return {"class": f"{name}/{split}", "outer": f"{split}/{name}"}.get(order, split)


def _place(split: str, kind: str, name: str, order: Order) -> str:
    top = _top(split, name, order)
    return f"{top}/{kind}/{name}" if order == "inner" else f"{top}/{kind}"


def test_rows(root: Path, folder: str, mask_folder: str, name: str, defect: str, layout: MvtecLayout) -> Iterator[Row]:
    """Yield the rows of one folder of test images of a class: normal ones, or one kind of defect with its masks.

    Raises:
        UserError: An anomalous image without a mask, two images that would share one, a file that is no image.
    """
    files = image_files(root, folder)
    masks = MaskFinder(root, mask_folder, layout.mask_suffixes)
    if defect in layout.normal:
        for file in files:
            yield f"{folder}/{file}", contradicting_mask(root, masks.find(file)), name, "test", 0, "good"
        return
    names = Counter(stem_of(file).rpartition("/")[2] for file in files)
    seen: dict[str, str] = {}
    for file in files:
        alone = names[stem_of(file).rpartition("/")[2]] == 1
        mask = masks.find(file, alone=alone) if layout.has_masks else ""
        if layout.has_masks and stem_of(file) in seen:
            raise UserError(f"{Path(root, folder)}: {seen[stem_of(file)]} and {file} would share one mask; rename one")
        if layout.has_masks and not mask:
            raise masks.missing(Path(root, folder, file), file, layout.hint)
        seen[stem_of(file)] = file
        yield f"{folder}/{file}", mask, name, "test", 1, defect


def unread_folders(folder: Path, *, layout: MvtecLayout, only: Sequence[str] | None = None) -> list[str]:
    """Return a line for each folder with images, beside and in the class folders, that this layout doesn't read."""
    splits = (*layout.train, layout.test)
    lines = []
    for name in subfolders(folder, ""):
        if any((folder / name / split).is_dir() for split in splits):
            inner = [one for one in subfolders(folder, name) if one not in (*splits, layout.masks, *layout.beside)]
            wanted = only is None or name in only
            lines += [unread_folder(folder, f"{name}/{one}") for one in inner if wanted]
            lines += second_masks(folder, name, layout) if wanted else []
        else:
            lines.append(unread_folder(folder, name) or _empty(folder, name))
    return [line for line in lines if line]


def second_masks(root: Path, name: str, layout: MvtecLayout, order: Order = "class") -> list[str]:
    """Return a line for each mask of a class that isn't read because its image has another one, or none.

    Folders of test images that are empty are told too: they may not be unpacked.
    """
    lines = []
    kinds = subfolders(root, _top(layout.test, name, order))
    for kind in kinds:
        images, masks = (_place(one, kind, name, order) for one in (layout.test, layout.masks))
        if (root / images).is_dir() and not image_files(root, images):
            lines.append(f"the folder {shown(images)} is empty")
        if layout.has_masks and kind not in layout.normal:
            finder = MaskFinder(root, masks, layout.mask_suffixes)
            second = finder.second(image_files(root, images))
            lines += [f"{shown(path)}, a second mask of an image, was not read" for path in second]
    for kind in subfolders(root, _top(layout.masks, name, order)) if layout.has_masks else ():
        masks, own = _place(layout.masks, kind, name, order), nfc(kind)
        if own not in {*map(nfc, kinds), *layout.normal} and (line := unread_folder(root, masks)):
            lines.append(f"{line}: no folder {shown(_place(layout.test, kind, name, order))} of images")
    return lines


def _empty(root: Path, folder: str) -> str:
    return "" if any((root / folder).iterdir()) else f"the folder {shown(folder)} is empty"


def unread_folder(root: Path, folder: str) -> str:
    """Return a line for a folder with images that are not read; ``""`` if it has none."""
    count, closed = 0, list[OSError]()
    for _, _, files in os.walk(root / folder, onerror=closed.append):
        count += sum(has_image_suffix(name) and not is_hidden(name) for name in files)
        if count >= _COUNTED:
            return f"{_COUNTED:,} or more images in {shown(folder)} were not read"
    if closed:
        return f"{shown(str(closed[0].filename))} can't be listed ({closed[0].strerror}), and was not read"
    return f"{counted(count, 'image')} in {shown(folder)} {'was' if count == 1 else 'were'} not read" if count else ""
