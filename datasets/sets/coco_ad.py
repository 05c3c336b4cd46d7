"""COCO-AD: COCO 2017 in four splits. Each split is treated as a class with a model of its own."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import pandas as pd

from diadbench.common.errors import UserError
from diadbench.datasets.base import Part
from diadbench.datasets.dataset_info import DatasetInfo
from diadbench.datasets.facts.known_sets import info
from diadbench.datasets.layouts.detect import LayoutDataset
from diadbench.datasets.layouts.indices import read_meta
from diadbench.datasets.layouts.layout_search import Layout
from diadbench.datasets.sets.coco_masks import SPLITS, made_dir, make, meta_name


class CocoAd(LayoutDataset):
    """COCO-AD, from ADer's meta files or made from COCO's own annotations.

    Split ``k`` trains on the images of ``train2017`` that show none of 20 categories and tests on all annotated images
    of ``val2017``; whatever shows one of the 20 is anomalous. An image may stand in several splits. The mean over the
    four classes ``split0..split3`` is the figure that papers print.

    See :class:`LayoutDataset` for the options.
    """

    info: ClassVar[DatasetInfo] = info("coco_ad")

    def layouts(self) -> list[Layout]:
        """Return the layouts: ADer's ``meta_20_0.json`` .. ``meta_20_3.json``, COCO's annotations."""
        return [
            Layout("ader", "meta_20_0.json..meta_20_3.json", _has_meta, self._read_meta),
            Layout("owner", "annotations/instances_val2017.json", _has_annotations, self._read_made),
        ]

    @property
    def mask_root(self) -> Path:
        """Return the root, or the folder in the cache directory for masks that were made from annotations."""
        if self.found.layout.name == "owner":
            return made_dir(self.root / self.found.base)
        return self.root

    def groups(self) -> list[Part]:
        """Return one part for each split, because each has its own training images."""
        return [Part(name, (name,)) for name in self.classes]

    def _splits(self) -> list[int]:
        return [k for k in SPLITS if self._wanted is None or f"split{k}" in self._wanted]

    def _read_meta(self, root: Path, base: str) -> pd.DataFrame:
        there = [k for k in self._splits() if (root / base / meta_name(k)).is_file()]
        if not there:
            raise UserError(f"{root / base / meta_name(self._splits()[0])}: file not found; other splits are there")
        return pd.concat(
            [split_table(root / base / meta_name(k), k, image_base=base, mask_base=base) for k in there],
            ignore_index=True,
        )

    def _read_made(self, root: Path, base: str) -> pd.DataFrame:
        made = make(root / base)
        return pd.concat(
            [split_table(made / meta_name(k), k, image_base=base) for k in self._splits()], ignore_index=True
        )


def split_table(path: Path, split: int, *, image_base: str = "", mask_base: str = "") -> pd.DataFrame:
    """Read one split's list. The class key ``coco`` becomes ``split<k>``.

    Raises:
        UserError: The list is broken or lists no samples.
    """
    table = read_meta(path)
    if not len(table):
        raise UserError(f"{path}: no samples")
    for column, base in (("image", image_base), ("mask", mask_base)):
        if base:
            table[column] = table[column].where(table[column] == "", base + "/" + table[column])
    table.loc[table["label"] == 1, "defect"] = "held-out category"
    return table.assign(**{"class": f"split{split}"})


def _has_meta(folder: Path) -> bool:
    return any((folder / meta_name(k)).is_file() for k in SPLITS)


def _has_annotations(folder: Path) -> bool:
    return (folder / "annotations" / "instances_val2017.json").is_file()
