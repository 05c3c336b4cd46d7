"""Folder layouts that several datasets share. What is found is told as rows of the sample table."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from diadbench.common.errors import UserError, unknown_name
from diadbench.datasets.decoding.images import SUFFIXES, has_image_suffix, inside, is_hidden


@dataclass(frozen=True)
class MvtecLayout:
    """How a data set in the manner of MVTec-AD names its things.

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
    """

    normal: tuple[str, ...] = ("good",)
    train: tuple[str, ...] = ("train",)
    test: str = "test"
    masks: str = "ground_truth"
    mask_suffixes: tuple[str, ...] = ("_mask", "")
    has_masks: bool = True


def mvtec_layout(
    root: Path,
    *,
    known: Sequence[str] = (),
    only: Sequence[str] | None = None,
    layout: MvtecLayout | None = None,
) -> pd.DataFrame:
    """Index a directory in MVTec-AD's layout.

    Whatever is no class folder (licence, lists, hidden files) is passed over. Images and masks are paired by stem,
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
    names = class_folders(root, known, layout)
    if only is not None:
        for name in only:
            if name not in names:
                raise unknown_name("class", name, names, where=str(root))
        names = [name for name in names if name in only]
    rows = [row for name in names for row in _class_rows(root, name, layout)]
    return pd.DataFrame(rows, columns=["image", "mask", "class", "split", "label", "defect"])


def class_folders(root: Path, known: Sequence[str] = (), layout: MvtecLayout | None = None) -> list[str]:
    """Return the names of the class folders of ``root``, sorted. See :func:`mvtec_layout`."""
    layout = layout or MvtecLayout()
    splits = (*layout.train, layout.test)
    folders = subfolders(root, "")
    found = [name for name in folders if any((root / name / split).is_dir() for split in splits)]
    if not found:
        if any(split in folders for split in splits):
            raise UserError(
                f"{root}: this is the folder of one class; give the folder above it, {root.parent}, as root"
            )
        raise UserError(f"{root}: no class folder found; expected <class>/{splits[0]}/{layout.normal[0]}/*.png")
    if known:
        for name in found:
            if name not in known:
                raise unknown_name("class folder", name, known, where=str(root))
    return found


def subfolders(root: Path, relative: str) -> list[str]:
    """Return the names of the visible directories in ``root/relative``, sorted; empty when there is no such folder."""
    return [entry.name for entry in _entries(inside(root, relative) if relative else root) if _is_dir(entry)]


def image_files(root: Path, relative: str) -> list[str]:
    """Return the names of the images in ``root/relative``, sorted.

    Raises:
        UserError: A visible file is no image by its suffix: an unknown format is not passed over in silence.
    """
    names = []
    for entry in _entries(inside(root, relative)):
        if _is_dir(entry):
            continue
        if not has_image_suffix(entry.name):
            raise UserError(
                f"{Path(root, relative, entry.name)}: not an image of a known format (known: {' '.join(SUFFIXES)}); "
                "convert it, or move it out of the folder of images"
            )
        names.append(entry.name)
    return names


def pair_by_stem(root: Path, folder: str, suffixes: Sequence[str]) -> dict[str, str]:
    """Map stems of images to mask paths (relative to ``root``) for the masks in ``root/folder``.

    A mask is a file ``<stem><suffix>.<any image suffix>`` or a directory ``<stem><suffix>``. Earlier suffixes win.

    Raises:
        UserError: Two masks claim the same stem with the same suffix.
    """
    by_name: dict[str, str] = {}
    for entry in _entries(inside(root, folder)):
        directory = _is_dir(entry)
        if not directory and not has_image_suffix(entry.name):
            continue
        stem = entry.name if directory else os.path.splitext(entry.name)[0]
        if stem in by_name:
            raise UserError(
                f"{Path(root, folder)}: two masks with one stem, {by_name[stem]} and {entry.name}; keep one"
            )
        by_name[stem] = entry.name
    pairs: dict[str, str] = {}
    for suffix in suffixes:
        for stem, name in by_name.items():
            if stem.endswith(suffix):
                pairs.setdefault(stem[: len(stem) - len(suffix)], f"{folder}/{name}")
    return pairs


def _class_rows(root: Path, name: str, layout: MvtecLayout) -> Iterator[tuple[str, str, str, str, int, str]]:
    empty = True
    for split in layout.train:
        for defect in subfolders(root, f"{name}/{split}"):
            if defect not in layout.normal:
                raise UserError(
                    f"{root / name / split / defect}: training images must be normal; expected only {layout.normal[0]}/"
                )
            for file in image_files(root, f"{name}/{split}/{defect}"):
                empty = False
                yield f"{name}/{split}/{defect}/{file}", "", name, "train", 0, "good"
    if empty:
        expected = root / name / layout.train[0] / layout.normal[0]
        raise UserError(f"class {name!r} has no training images; expected them in {expected}")
    for defect in subfolders(root, f"{name}/{layout.test}"):
        yield from _test_rows(root, name, defect, layout)


def _test_rows(
    root: Path, name: str, defect: str, layout: MvtecLayout
) -> Iterator[tuple[str, str, str, str, int, str]]:
    folder = f"{name}/{layout.test}/{defect}"
    files = image_files(root, folder)
    if defect in layout.normal:
        for file in files:
            yield f"{folder}/{file}", "", name, "test", 0, "good"
        return
    mask_folder = f"{name}/{layout.masks}/{defect}"
    masks = pair_by_stem(root, mask_folder, layout.mask_suffixes) if layout.has_masks else {}
    seen: dict[str, str] = {}
    for file in files:
        stem = os.path.splitext(file)[0]
        if layout.has_masks and stem in seen:
            raise UserError(f"{Path(root, folder)}: {seen[stem]} and {file} would share one mask; rename one")
        if layout.has_masks and stem not in masks:
            expected = Path(root, mask_folder, f"{stem}{layout.mask_suffixes[0]}.png")
            raise UserError(f"{Path(root, folder, file)}: anomalous test image without a mask; expected {expected}")
        seen[stem] = file
        yield f"{folder}/{file}", masks.get(stem, ""), name, "test", 1, defect


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    """List a folder without what belongs to the operating system, sorted by name; a missing one is empty."""
    try:
        with os.scandir(folder) as entries:
            return sorted((entry for entry in entries if not is_hidden(entry.name)), key=lambda entry: entry.name)
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise UserError(f"{folder}: can't be listed ({error.strerror})") from error


def _is_dir(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError as error:
        raise UserError(f"{entry.path}: {error.strerror}") from error
