"""MVTec-3D: RGB images with masks that lie inside the test folders, and xyz scans for methods that ask for them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

import pandas as pd

from diadbench.common.errors import UserError, unknown_name
from diadbench.datasets.dataset_info import DatasetInfo
from diadbench.datasets.decoding.lookalikes import shown
from diadbench.datasets.facts.known_sets import info
from diadbench.datasets.layouts.detect import ValidationDataset
from diadbench.datasets.layouts.folder_scan import MaskFinder, image_files, subfolders
from diadbench.datasets.layouts.folders import NORMAL_NAMES, unread_folder
from diadbench.datasets.layouts.indices import table_of
from diadbench.datasets.layouts.layout_search import Layout, ader, lines, rebased

_LISTS = (("mvtec3d_train.json", "mvtec3d_test.json"), ("train.json", "test.json"))


class Mvtec3d(ValidationDataset):
    """MVTec-3D in its owner's layout, with ADer's ``meta.json`` or DiAD's lists.

    Args:
        root: Directory with the class folders.
        classes: Keep these classes only, in this order; ``None`` keeps all, in alphabetical order.
        layout: ``auto`` finds out which layout is there; a name takes that one.
        validation: Train with the validation images too, as ADer does (2,950 images); else on the training images
            only, as DiAD does (2,656). Tables say which.
    """

    info: ClassVar[DatasetInfo] = info("mvtec3d")

    def layouts(self) -> list[Layout]:
        """Return the layouts: ADer's ``meta.json``, DiAD's lists (without validation images), the owner's folders."""
        splits = self.train_splits

        def read(root: Path, base: str) -> pd.DataFrame:
            known = self._wanted or self.info.classes
            wanted = [name for name in _classes(root / base, known, all_known=self._wanted is None) if name in known]
            rows = [row for name in wanted for row in _rows(root / base, name, splits)]
            return rebased(table_of(rows), base)

        return [
            ader(splits),
            lines(*_LISTS),
            Layout(
                "owner",
                "<class>/test/<defect>/rgb",
                lambda folder: _is_owner(folder, self.class_names),
                read,
                unread=lambda folder: _unread(folder, self.classes),
            ),
        ]

    def index(self) -> pd.DataFrame:
        """Build the sample table with a column ``xyz``: the path of each image's scan, ``""`` if there is none."""
        table = super().index()
        scans = table["image"].str.replace(r"/rgb/([^/]*)\.[^./]*$", r"/xyz/\1.tiff", regex=True)
        folders: dict[str, set[str]] = {}
        for folder in scans.str.rpartition("/")[0].unique():
            place = self.root / folder
            safe = not folder.startswith("/") and ".." not in folder.split("/")
            folders[folder] = set(os.listdir(place)) if safe and place.is_dir() else set()
        there = [path.rpartition("/")[2] in folders[path.rpartition("/")[0]] for path in scans]
        return table.assign(xyz=scans.where(pd.Series(there, index=scans.index) & (scans != table["image"]), ""))


def _unread(folder: Path, classes: Sequence[str]) -> list[str]:
    """Return a line for each folder of a defect that has no images in a folder ``rgb``."""
    places = [f"{name}/test/{defect}" for name in classes for defect in subfolders(folder, f"{name}/test")]
    bare = [place for place in places if not image_files(folder, f"{place}/rgb")]
    return [unread_folder(folder, place) or f"the folder {shown(place)} has no images" for place in bare]


def _is_owner(folder: Path, classes: Sequence[str]) -> bool:
    return any((folder / name / "train" / "good" / "rgb").is_dir() for name in classes)


def _classes(folder: Path, classes: Sequence[str], *, all_known: bool) -> list[str]:
    found = [name for name in subfolders(folder, "") if (folder / name / "train" / "good").is_dir()]
    for name in found if all_known else ():
        if name not in classes:
            raise unknown_name("class folder", name, classes, where=str(folder))
    return found


def _rows(folder: Path, name: str, splits: Sequence[str]) -> Iterator[tuple[Any, ...]]:
    for split in splits:
        place = f"{name}/{split}/good/rgb"
        files = image_files(folder, place)
        if not files:
            raise UserError(f"class {name!r} has no {split} images; expected them in {folder / place}")
        for file in files:
            yield f"{place}/{file}", "", name, "train", 0, "good"
    for defect in subfolders(folder, f"{name}/test"):
        yield from _test_rows(folder, name, f"{name}/test/{defect}", defect)


def _test_rows(folder: Path, name: str, place: str, defect: str) -> Iterator[tuple[Any, ...]]:
    files = image_files(folder, f"{place}/rgb")
    if defect != "good" and defect.lower() in NORMAL_NAMES:
        raise UserError(f"{folder / place}: by its name normal images; expected a folder good: rename it")
    if defect == "good":  # its gt masks are all zero
        for file in files:
            yield f"{place}/rgb/{file}", "", name, "test", 0, "good"
        return
    masks = MaskFinder(folder, f"{place}/gt", ("", "_mask"))
    for file in files:
        mask = masks.find(file)
        if not mask:
            expected = folder / place / "gt" / os.path.splitext(file)[0]
            raise UserError(f"{folder / place / 'rgb' / file}: no mask; expected {expected}.png")
        yield f"{place}/rgb/{file}", mask, name, "test", 1, defect
