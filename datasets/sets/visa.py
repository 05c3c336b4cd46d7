"""VisA: twelve classes, the owner's 1cls split. Masks hold class ids 1..n, so whatever is not 0 is anomalous."""

from __future__ import annotations

import importlib.resources
import os
from pathlib import Path
from typing import Any, ClassVar

import pandas as pd

from diadbench.common.errors import UserError
from diadbench.datasets.dataset_info import DatasetInfo
from diadbench.datasets.facts.known_sets import info
from diadbench.datasets.layouts.detect import Layout, LayoutDataset, ader, joined, lines, mvtec_like, rebased
from diadbench.datasets.layouts.folders import MvtecLayout, subfolders
from diadbench.datasets.layouts.indices import below

HEADER = ["object", "split", "label", "image", "mask"]
#: Where a copy of the owner's split file may lie, relative to the raw tree.
_SPLIT_FILES = ("split_csv/1cls.csv", "1cls.csv", "visa.csv", "visa_1cls.csv")


class Visa(LayoutDataset):
    """VisA: the owner's raw tree, its re-laid form (``1cls/``, ``visa_pytorch/``), ADer's and DiAD's layouts.

    The raw tree is split by the ``split_csv/1cls.csv`` beside it (DiAD: ``visa.csv``), else by the owner's list that
    ships with this project. See :class:`LayoutDataset` for the options.
    """

    info: ClassVar[DatasetInfo] = info("visa")

    def layouts(self) -> list[Layout]:
        """ADer's ``meta.json``, JSON lines, the raw tree, the re-laid tree."""
        relaid = MvtecLayout(mask_suffixes=("", "_mask"))
        return [
            ader(),
            lines(("train.json", "test.json")),
            Layout("owner", "<class>/Data/Images/Normal/*.JPG", self._is_raw, self._read_raw),
            mvtec_like("relaid", self.info.classes, self._wanted, relaid),
        ]

    @property
    def flags(self) -> tuple[str, ...]:
        """The dataset's notes, and how many of the listed images are there when the list is ours."""
        there, listed = self._share
        return (*super().flags, *((f"{there:,} of {listed:,} images of the 1cls split",) if there < listed else ()))

    @property
    def _share(self) -> tuple[int, int]:
        if self.found.layout.name != "owner" or self._split_file(self.root, self.found.base) is not None:
            return 0, 0
        listed = int(shipped_split()["class"].isin(self.classes).sum())
        return len(self.samples), listed

    def _is_raw(self, folder: Path) -> bool:
        return any((folder / name / "Data" / "Images").is_dir() for name in self.info.classes)

    def _split_file(self, root: Path, base: str) -> Path | None:
        above = os.path.dirname(base) if base else None
        places = [base] if above is None else [base, above]  # DiAD: visa.csv beside the folder visa/
        for place in places:
            for name in _SPLIT_FILES:
                if (root / place / name).is_file():
                    return root / place / name
        return None

    def _read_raw(self, root: Path, base: str) -> pd.DataFrame:
        path = self._split_file(root, base)
        if path is not None:
            return rebased(read_split(path), base)
        return rebased(_there(root / base, shipped_split()), base)


def shipped_split() -> pd.DataFrame:
    """Return the owner's 1cls split as it ships with this project: 10,821 rows."""
    with importlib.resources.as_file(importlib.resources.files("diadbench.datasets.sets") / "visa_1cls.csv") as path:
        return read_split(path)


def read_split(path: Path) -> pd.DataFrame:
    """Read a split file of VisA (``object,split,label,image,mask``; CRLF or LF line ends).

    Raises:
        UserError: Another header, an unknown split or label, an anomalous row without a mask, or a normal one with.
    """
    try:
        table = pd.read_csv(path, dtype="str", keep_default_na=False, encoding="utf-8-sig", skipinitialspace=True)
    except (OSError, ValueError) as error:  # a parser's or decoder's error is a ValueError
        raise UserError(f"{path}: not a CSV file ({' '.join(str(error).split())}); get it again") from error
    if list(table.columns) != HEADER:
        raise UserError(f"{path}: header {','.join(map(str, table.columns))}; expected {','.join(HEADER)}")
    _known(table, "split", ("train", "test"), path)
    _known(table, "label", ("normal", "anomaly"), path)
    anomalous = table["label"] == "anomaly"
    wrong = table[anomalous & (table["split"] == "train")]
    if len(wrong):
        raise UserError(
            f"{path}: line {wrong.index[0] + 2}: {wrong['image'].iloc[0]} is anomalous and in the training split; "
            "expected 1cls.csv, not a 2cls split"
        )
    return pd.DataFrame(
        {
            "image": below(table["image"], ""),
            "mask": below(table["mask"].where(anomalous, ""), ""),
            "class": table["object"],
            "split": table["split"],
            "label": anomalous.astype("int8"),
            "defect": anomalous.map({True: "bad", False: "good"}),
        }
    )


def _known(table: pd.DataFrame, column: str, values: tuple[str, ...], path: Path) -> None:
    wrong = table[~table[column].isin(values)]
    if len(wrong):
        found: Any = wrong[column].iloc[0]
        raise UserError(f"{path}: line {wrong.index[0] + 2}: {column} {found!r}; expected {' or '.join(values)}")


def _there(folder: Path, table: pd.DataFrame) -> pd.DataFrame:
    """Keep the listed images that are on the disk. The flags and ``datasets check`` count what is missing."""
    images = set()
    for name in subfolders(folder, ""):
        for kind in ("Normal", "Anomaly"):
            place = joined(name, "Data", "Images", kind)
            if (folder / place).is_dir():
                images |= {f"{place}/{entry.name}" for entry in os.scandir(folder / place)}
    kept = table[table["image"].isin(images)]
    if kept.empty:
        raise UserError(
            f"{folder}: none of the images of VisA's 1cls split is there; expected {table['image'].iloc[0]}"
        )
    return kept
