"""MPDD: painted metal parts in MVTec-AD's manner."""

from __future__ import annotations

from typing import ClassVar

from diadbench.datasets.dataset_info import DatasetInfo
from diadbench.datasets.facts.known_sets import info
from diadbench.datasets.layouts.detect import LayoutDataset
from diadbench.datasets.layouts.folders import MvtecLayout
from diadbench.datasets.layouts.layout_search import Layout, ader, lines, mvtec_like


class Mpdd(LayoutDataset):
    """MPDD in its owner's layout or with ADer's ``meta.json``. See :class:`LayoutDataset` for the options."""

    info: ClassVar[DatasetInfo] = info("mpdd")

    def layouts(self) -> list[Layout]:
        """Return the layouts: ADer's ``meta.json``, JSON lines, the owner's folders."""
        owner = mvtec_like("owner", self.info.classes, self._wanted, MvtecLayout())
        return [ader(), lines(("train.json", "test.json")), owner]
