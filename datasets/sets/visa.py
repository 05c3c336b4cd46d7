"""VisA: twelve classes, the owner's 1cls split. Masks hold class ids 1..n, so whatever is not 0 is anomalous."""

from __future__ import annotations

import importlib.resources
from pathlib import Path
from typing import ClassVar

import pandas as pd

from diadbench.common.errors import UserError
from diadbench.datasets.dataset_info import DatasetInfo
from diadbench.datasets.decoding.lookalikes import shown
from diadbench.datasets.facts.known_sets import info
from diadbench.datasets.layouts.detect import LayoutDataset
from diadbench.datasets.layouts.folder_scan import image_files, subfolders
from diadbench.datasets.layouts.folders import MvtecLayout
from diadbench.datasets.layouts.layout_search import Layout, ader, joined, lines, mvtec_like, rebased, table
from diadbench.datasets.layouts.list_files import list_file
from diadbench.datasets.layouts.list_rows import rows_of


class Visa(LayoutDataset):
    """VisA: the owner's raw tree, its re-laid form (``1cls/``, ``visa_pytorch/``), ADer's and DiAD's layouts.

    The raw tree is split by the ``split_csv/1cls.csv`` in it or by a CSV beside or above it (DiAD: ``visa.csv``), else
    by the owner's list that ships with this project. See :class:`LayoutDataset` for the options.
    """

    info: ClassVar[DatasetInfo] = info("visa")

    def layouts(self) -> list[Layout]:
        """Return the layouts: ADer's ``meta.json``, JSON lines, a CSV beside or above the raw tree, the two trees."""
        relaid = MvtecLayout(mask_suffixes=("", "_mask"))
        return [
            ader(),
            lines(("train.json", "test.json")),
            table("owner", "split_csv/1cls.csv or visa.csv"),
            Layout("owner", "<class>/Data/Images/Normal/*.JPG", self._is_raw, _read_raw),
            mvtec_like("relaid", self.info.classes, self._wanted, relaid),
        ]

    def index(self) -> pd.DataFrame:
        """Build the sample table. The owner's list has no kinds of defects, so all are called ``bad``."""
        listed = super().index()
        if self.found.layout.name == "owner":
            listed["defect"] = listed["label"].map({1: "bad", 0: "good"})
        return listed

    @property
    def source(self) -> str:
        """Return what the samples were read from; without a CSV, the split that ships with this project."""
        own = self.found.layout.name == "owner" and self.found.lists is None
        return super().source + (", split by the owner's 1cls list as it ships with diadbench" if own else "")

    @property
    def unread(self) -> tuple[str, ...]:
        """Return what was not read; without a CSV, also the images that the owner's split doesn't list."""
        if self.found.layout.name != "owner" or self.found.lists is not None:
            return super().unread
        there = {path for name in self.classes for path in _images(self.root / self.found.base, name)}
        more = len(there - set(shipped_split()["image"]))
        return (
            *super().unread,
            *((f"{more:,} images that the shipped 1cls list doesn't name were not read",) if more else ()),
        )

    @property
    def flags(self) -> tuple[str, ...]:
        """Return the dataset's notes; with the shipped split, also how many of its images exist."""
        there, listed = self._share
        return (*super().flags, *((f"{there:,} of {listed:,} images of the 1cls split",) if there < listed else ()))

    @property
    def _share(self) -> tuple[int, int]:
        if self.found.layout.name != "owner" or self.found.lists is not None:
            return 0, 0
        listed = int(shipped_split()["class"].isin(self.classes).sum())
        return len(self.samples), listed

    def _is_raw(self, folder: Path) -> bool:
        return any((folder / name / "Data" / "Images").is_dir() for name in self.info.classes)


def _read_raw(root: Path, base: str) -> pd.DataFrame:
    return rebased(_there(root / base, shipped_split()), base)


def shipped_split() -> pd.DataFrame:
    """Return the owner's 1cls split as it ships with this project: 10,821 rows."""
    with importlib.resources.as_file(importlib.resources.files("diadbench.datasets.sets") / "visa_1cls.csv") as path:
        return read_split(path)


def read_split(path: Path) -> pd.DataFrame:
    """Read a split file of VisA (``object,split,label,image,mask``; CRLF or LF line ends), paths as they stand in it.

    Raises:
        UserError: Another header, an unknown split or label, an anomalous training image.
    """
    rows = rows_of([list_file(path)])
    listed = [(row.image, "".join(row.masks[:1]), row.cls, row.split, row.label) for row in rows]
    made = pd.DataFrame(listed, columns=["image", "mask", "class", "split", "label"]).astype({"label": "int8"})
    return made.assign(defect=made["label"].map({1: "bad", 0: "good"}))


def _there(folder: Path, listed: pd.DataFrame) -> pd.DataFrame:
    """Keep the listed images that exist on disk. The flags and ``datasets check`` count the missing ones."""
    images = {path for name in subfolders(folder, "") for path in _images(folder, name)}
    kept = listed[listed["image"].isin(images)]
    if kept.empty:
        found = shown(min(images, default="no images"))
        raise UserError(
            f"{folder}: none of the images of VisA's 1cls split is there; expected {listed['image'].iloc[0]}, found "
            f"{found}: get them as the owner names them, or add a list of them (split_csv/1cls.csv)"
        )
    return kept


def _images(folder: Path, name: str) -> list[str]:
    """Return the images of a class in the raw tree, relative to ``folder``."""
    places = [joined(name, "Data", "Images", kind) for kind in ("Normal", "Anomaly")]
    return [f"{place}/{file}" for place in places for file in image_files(folder, place)]
