"""3CAD: parts of computers, communication and consumer electronics, in MVTec-AD's manner."""

from __future__ import annotations

from typing import ClassVar

from diadbench.datasets.dataset_info import DatasetInfo
from diadbench.datasets.facts.known_sets import info
from diadbench.datasets.layouts.detect import LayoutDataset
from diadbench.datasets.layouts.folders import MvtecLayout
from diadbench.datasets.layouts.layout_search import Layout, mvtec_like


class ThreeCad(LayoutDataset):
    """3CAD in its owner's layout: masks have the names of their images. See :class:`LayoutDataset` for the options."""

    info: ClassVar[DatasetInfo] = info("3cad")

    def layouts(self) -> list[Layout]:
        """Return the layouts: the owner's folders."""
        return [mvtec_like("owner", self.info.classes, self._wanted, MvtecLayout(mask_suffixes=("", "_mask")))]
