"""MVTec-AD: 15 classes, 73 kinds of defects, as its owner lays it out."""

from __future__ import annotations

from typing import ClassVar

import pandas as pd

from diadbench.datasets.base import Dataset, DatasetInfo
from diadbench.datasets.layouts import mvtec_layout


class Mvtec(Dataset):
    """MVTec-AD in its owner's layout, which ADer, DiAD and anomalib use too. See :class:`Dataset` for the options."""

    info: ClassVar[DatasetInfo] = DatasetInfo(
        name="mvtec",
        title="MVTec-AD",
        summary="15 classes of textures and objects, 5,354 images, 73 kinds of defects with pixel masks.",
        homepage="https://www.mvtec.com/company/research/datasets/mvtec-ad",
        licence="CC BY-NC-SA 4.0",
        cite="bergmann2019mvtec",
        folder="mvtec",
        classes=(
            *("carpet", "grid", "leather", "tile", "wood"),  # textures first, as ADer has it
            *("bottle", "cable", "capsule", "hazelnut", "metal_nut"),
            *("pill", "screw", "toothbrush", "transistor", "zipper"),
        ),
    )

    def index(self) -> pd.DataFrame:
        """Index the class folders below the root; the licence, lists and other files beside them are passed over."""
        return mvtec_layout(self.root, known=self.info.classes, only=self._wanted)
