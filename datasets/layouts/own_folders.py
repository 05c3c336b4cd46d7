"""Users' own folders: the style of MVTec-AD, splits above the classes, a single class, anomalib's ``Folder``."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from diadbench.common.errors import UserError, unknown_name
from diadbench.common.wording import some
from diadbench.datasets.decoding.lookalikes import shown
from diadbench.datasets.layouts.folder_scan import MaskFinder, image_files, no_loose_images, stem_of, subfolders
from diadbench.datasets.layouts.folders import MvtecLayout, Row, class_rows, second_masks, unread_folder
from diadbench.datasets.layouts.indices import table_of

# -- one class alone, splits above classes ------------------------------------------------------------------------


def is_one_class(root: Path, layout: MvtecLayout) -> bool:
    """Whether ``root`` is the folder of a single class: ``train/good/000.png`` without classes below or above."""
    return any((root / layout.train[0] / normal).is_dir() for normal in layout.normal)


def is_split_above(root: Path, layout: MvtecLayout) -> bool:
    """Whether the splits lie above the classes: ``train/good/<class>`` or ``train/<class>/good``.

    Folders in ``train/good`` are classes if the test folders have folders of the same names; else they are lots of
    one class.
    """
    return bool(_inner_classes(root, layout) or _outer_classes(root, layout))


def _inner_classes(root: Path, layout: MvtecLayout) -> list[str]:
    """Return the classes of ``train/good/<class>``; their names in the test folders distinguish them from lots."""
    train = [name for normal in layout.normal for name in subfolders(root, f"{layout.train[0]}/{normal}")]
    kinds = subfolders(root, layout.test)
    test = {name for kind in kinds for name in subfolders(root, f"{layout.test}/{kind}")}
    if not train or not test & set(train):
        return []
    if not test <= set(train):
        raise UserError(
            f"{root / layout.test}: folders {some(sorted(test - set(train)), most=3)} are not in "
            f"{root / layout.train[0] / layout.normal[0]} ({some(train, most=3)}); are they classes or lots? Use "
            "<class>/train and <class>/test"
        )
    return train


def _outer_classes(root: Path, layout: MvtecLayout) -> list[str]:
    """Return the classes of ``train/<class>/good`` with ``test/<class>``."""
    train = [
        name
        for name in subfolders(root, layout.train[0])
        if any((root / layout.train[0] / name / normal).is_dir() for normal in layout.normal)
    ]
    test = set(subfolders(root, layout.test))
    if not train or not test & set(train):
        return []
    strange = (test ^ set(train)) | (set(subfolders(root, layout.train[0])) - set(train))
    if strange:
        raise UserError(
            f"{root}: {sorted(strange)[0]} is not in both {layout.train[0]} and {layout.test}, which lie above the "
            "classes; expected the same classes in both"
        )
    return train


def one_class(root: Path, name: str, layout: MvtecLayout) -> pd.DataFrame:
    """Index the folder of one class with the given name. Raises UserError as :func:`mvtec_layout`."""
    return table_of(list(class_rows(root, name, layout, "single")))


def unread_masks(root: Path, layout: MvtecLayout) -> list[str]:
    """Return a line for each second mask of an image where splits lie above the classes, or of one class."""
    inner = _inner_classes(root, layout)
    names = inner or _outer_classes(root, layout)
    if not names:
        return second_masks(root, "", layout, "single")
    return [line for name in names for line in second_masks(root, name, layout, "inner" if inner else "outer")]


def split_above(root: Path, layout: MvtecLayout) -> pd.DataFrame:
    """Index ``train/good/<class>`` or ``train/<class>/good``, with test and mask folders likewise.

    Raises:
        UserError: As :func:`mvtec_layout`; an image lies beside the folders of classes.
    """
    rows: list[Row] = []
    inner = _inner_classes(root, layout)
    if inner:
        for split in (layout.train[0], layout.test):
            for kind in subfolders(root, split):
                no_loose_images(root, f"{split}/{kind}", f"{root / split / kind}/<class>")
    for name in inner or _outer_classes(root, layout):
        rows += class_rows(root, name, layout, "inner" if inner else "outer")
    return table_of(rows)


# -- anomalib's Folder --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Directories:
    """The options of anomalib's ``Folder``: the content of each folder, below a class's folder.

    Attributes:
        normal: Folders of normal images.
        abnormal: Folders of anomalous images; the name of the folder is the name of the defect.
        normal_test: Folders of normal test images; without them a share of ``normal`` is held out.
        mask: Folders of masks; one for all kinds, or one for each of ``abnormal``.
        suffixes: Text after an image's stem in the name of its mask.
        ratio: Share of the normal images that is held out for the test, in (0,1).
        seed: Seed of the choice.
        has_masks: Whether anomalous images must have masks.
    """

    normal: tuple[str, ...]
    abnormal: tuple[str, ...] = ()
    normal_test: tuple[str, ...] = ()
    mask: tuple[str, ...] = ()
    suffixes: tuple[str, ...] = ("_mask", "")
    ratio: float = 0.2
    seed: int = 0
    has_masks: bool = True


def directory_classes(root: Path, wanted: Directories) -> list[str]:
    """Return the classes below ``root``: ``[""]`` if the folders lie in it, else the folders that have them."""
    if (root / wanted.normal[0]).is_dir():
        return [""]
    return [name for name in subfolders(root, "") if (root / name / wanted.normal[0]).is_dir()]


def directories(root: Path, title: str, wanted: Directories, only: Sequence[str] | None = None) -> pd.DataFrame:
    """Index folders given by name, as anomalib's ``Folder`` does.

    Args:
        root: The dataset's root.
        title: Name of the class where the folders lie in the root itself.
        wanted: The folders.
        only: These classes only.

    Raises:
        UserError: A folder is missing or empty, an anomalous image has no mask.
    """
    found = directory_classes(root, wanted)
    if not found:
        raise UserError(f"{root}: no folder {wanted.normal[0]!r} (normal_dir) in it or in a folder of a class")
    if only is not None and found != [""]:
        for name in only:
            if name not in found:
                raise unknown_name("class", name, found, where=str(root))
        found = [name for name in found if name in only]
    return table_of([row for name in found for row in _directory_rows(root, name, name or title, wanted)])


def unread_directories(root: Path, wanted: Directories, only: Sequence[str] | None = None) -> list[str]:
    """Return a line for each folder with images that no option names, and for each second mask of an image."""
    lines = []
    for base in directory_classes(root, wanted):
        if only is not None and base not in (*only, ""):
            continue
        named = {name.split("/")[0] for name in (*wanted.normal, *wanted.abnormal, *wanted.normal_test, *wanted.mask)}
        places = [f"{base}/{name}" if base else name for name in subfolders(root, base) if name not in named]
        lines += [line for place in places if (line := unread_folder(root, place))]
        for mask in wanted.mask if wanted.has_masks else ():
            finder = MaskFinder(root, f"{base}/{mask}" if base else mask, wanted.suffixes)
            images = []
            for folder in wanted.abnormal:
                place = f"{base}/{folder}" if base else folder
                images += [name for name in image_files(root, place) if finder.find(name)]
            lines += [f"{shown(path)}, a second mask of an image, was not read" for path in finder.second(images)]
    return lines


def _directory_rows(root: Path, base: str, name: str, wanted: Directories) -> Iterator[Row]:
    normal = _images_in(root, base, wanted.normal, "normal_dir")
    held = _images_in(root, base, wanted.normal_test, "normal_test_dir")
    if not held:
        normal, held = _held_out(normal, wanted, name)
    for image in normal:
        yield image, "", name, "train", 0, "good"
    for image in held:
        yield image, "", name, "test", 0, "good"
    for i, folder in enumerate(wanted.abnormal):
        yield from _abnormal_rows(
            root, base, name, folder, wanted.mask[i % len(wanted.mask)] if wanted.mask else "", wanted
        )


def _images_in(root: Path, base: str, folders: Sequence[str], option: str) -> list[str]:
    images = []
    for folder in folders:
        place = f"{base}/{folder}" if base else folder
        found = image_files(root, place) if (root / place).is_dir() else []
        if not found:
            raise UserError(f"{root / place}: no images; {option} names this folder")
        images += [f"{place}/{file}" for file in found]
    return images


def _held_out(images: list[str], wanted: Directories, name: str) -> tuple[list[str], list[str]]:
    count = round(len(images) * wanted.ratio)
    if not 0 < count < len(images):
        raise UserError(
            f"class {name!r}: test_split_ratio {wanted.ratio} holds {count} of {len(images)} normal images out; "
            "expected at least one for training and one for the test"
        )
    drawn = set(np.random.default_rng([wanted.seed, *name.encode()]).permutation(len(images))[:count].tolist())
    return [one for i, one in enumerate(images) if i not in drawn], [one for i, one in enumerate(images) if i in drawn]


def _abnormal_rows(
    root: Path, base: str, name: str, folder: str, mask_folder: str, wanted: Directories
) -> Iterator[Row]:
    masks = MaskFinder(root, f"{base}/{mask_folder}" if base else mask_folder, wanted.suffixes) if mask_folder else None
    kind = os.path.basename(folder)
    for image in _images_in(root, base, (folder,), "abnormal_dir"):
        short = image[len(f"{base}/{folder}" if base else folder) + 1 :]
        mask = (masks.find(short) or masks.find(f"{kind}/{short}")) if masks is not None else ""
        if wanted.has_masks and not mask:
            if masks is None:
                raise UserError(f"{root / image}: no mask_dir for abnormal_dir; name it, or set masks=false")
            raise masks.missing(root / image, stem_of(short), "add it, or set masks=false for image metrics only")
        yield image, mask, name, "test", 1, kind
