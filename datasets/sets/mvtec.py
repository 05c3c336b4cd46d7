"""MVTec-AD: 15 classes, 73 kinds of defects, as its owner lays it out."""

from __future__ import annotations

from typing import ClassVar

from diadbench.datasets.dataset_info import DatasetInfo
from diadbench.datasets.facts.known_sets import info
from diadbench.datasets.layouts.detect import LayoutDataset
from diadbench.datasets.layouts.folders import MvtecLayout
from diadbench.datasets.layouts.layout_search import Layout, ader, lines, mvtec_like

#: DiAD's list lacks one training image (``screw/train/good/232.png``); UniAD's is complete.
DIAD_TRAIN = 3628


class Mvtec(LayoutDataset):
    """MVTec-AD in its owner's layout, with ADer's ``meta.json``, or with DiAD's and UniAD's JSON lines.

    See :class:`LayoutDataset` for the options.
    """

    info: ClassVar[DatasetInfo] = info("mvtec")

    def layouts(self) -> list[Layout]:
        """Return the layouts: ADer's ``meta.json``, the lists of DiAD and UniAD, the owner's folders."""
        folders = mvtec_like("owner", self.info.classes, self._wanted, MvtecLayout())
        return [ader(), lines(("train.json", "test.json")), folders]

    @property
    def flags(self) -> tuple[str, ...]:
        """Return the dataset's notes; with DiAD's list, also that an image is missing from it."""
        short = int((self.samples["split"] == "train").sum()) == DIAD_TRAIN
        return (*super().flags, *(("3,628 training images (DiAD's list, one short)",) if short else ()))
