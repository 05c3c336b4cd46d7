"""KolektorSDD2: surfaces of one product with several kinds of defects; every image has a mask beside it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import pandas as pd

from diadbench.datasets.dataset_info import DatasetInfo
from diadbench.datasets.facts.known_sets import info
from diadbench.datasets.layouts.beside import files_by_stem, pair, positive
from diadbench.datasets.layouts.detect import LayoutDataset
from diadbench.datasets.layouts.indices import table_of
from diadbench.datasets.layouts.layout_search import Layout, rebased

#: Two files that the owner's archive holds by mistake, with the same bytes as 10301.png and 10301_GT.png.
COPIES = ("10301 (copy).png", "10301_GT (copy).png")
_CLASS = "kolektorsdd2"


class KolektorSdd2(LayoutDataset):
    """KolektorSDD2 in its owner's layout. An image is anomalous if its mask has a positive pixel: nothing else tells.

    The anomalous images of the owner's training split are left out, since methods here train on normal images.
    See :class:`LayoutDataset` for the options.
    """

    info: ClassVar[DatasetInfo] = info("kolektorsdd2")
    _aside: frozenset[str] = frozenset()
    _left_out = 0

    def layouts(self) -> list[Layout]:
        """Return the layouts: the owner's folders."""
        about = "train/10000.png with train/10000_GT.png, and test"
        return [Layout("owner", about, _is_owner, self._read)]

    def _read(self, root: Path, base: str) -> pd.DataFrame:
        folder, prefix = root / base, f"{base}/" if base else ""
        rows: list[tuple[Any, ...]] = []
        aside = [f"train/{name}" for name in COPIES]
        self._left_out = 0
        for split in ("train", "test"):
            pairs = pair(folder, files_by_stem(folder, split, stems=r"\d+(_GT)?", copies=COPIES), "_GT")
            bad = positive(folder, (mask for _, mask in pairs), self.reading)
            for image, mask in pairs:
                if mask in bad and split == "train":
                    aside += [image, mask]
                    self._left_out += 1
                elif mask in bad:
                    rows.append((image, mask, _CLASS, "test", 1, "defect"))
                else:
                    rows.append((image, "", _CLASS, split, 0, "good"))
                    aside.append(mask)
        self._aside = frozenset(prefix + path for path in aside)
        return rebased(table_of(rows), base)

    @property
    def set_aside(self) -> frozenset[str]:
        """Return masks of normal images, anomalous training images, and the archive's two copies."""
        return self._aside

    @property
    def flags(self) -> tuple[str, ...]:
        """Return the dataset's notes, and how many training images are left out."""
        _ = self.samples
        return (*super().flags, f"{self._left_out} anomalous training images left out")


def _is_owner(folder: Path) -> bool:
    return all(any((folder / split).glob("*_GT.png")) for split in ("train", "test"))
