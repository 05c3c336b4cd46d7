"""BTAD: three products. Its normal folder is called ``ok``; images are bmp and png."""

from __future__ import annotations

from typing import ClassVar

from diadbench.datasets.dataset_info import DatasetInfo
from diadbench.datasets.facts.known_sets import info
from diadbench.datasets.layouts.detect import LayoutDataset
from diadbench.datasets.layouts.folders import MvtecLayout
from diadbench.datasets.layouts.layout_search import Layout, ader, lines, mvtec_like


class Btad(LayoutDataset):
    """BTAD in its owner's layout or with ADer's ``meta.json``. See :class:`LayoutDataset` for the options."""

    info: ClassVar[DatasetInfo] = info("btad")

    def layouts(self) -> list[Layout]:
        """Return the layouts: ADer's ``meta.json``, JSON lines, the owner's folders."""
        folders = MvtecLayout(normal=("ok",), mask_suffixes=("", "_mask"))
        return [
            ader(),
            lines(("train.json", "test.json")),
            mvtec_like("owner", self.info.classes, self._wanted, folders),
        ]
