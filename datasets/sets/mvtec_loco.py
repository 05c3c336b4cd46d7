"""MVTec-LOCO: structural and logical anomalies. An image's mask is the union of a folder of masks."""

from __future__ import annotations

from typing import ClassVar

import pandas as pd

from diadbench.datasets.dataset_info import DatasetInfo
from diadbench.datasets.facts.known_sets import info
from diadbench.datasets.layouts.detect import ValidationDataset
from diadbench.datasets.layouts.folders import MvtecLayout
from diadbench.datasets.layouts.layout_search import Layout, ader, lines, mvtec_like


class MvtecLoco(ValidationDataset):
    """MVTec-LOCO in its owner's layout or with ADer's ``meta.json``.

    Pixel metrics are computed against the union of an image's masks, not against the owner's sPRO; ADer keeps one
    arbitrary mask of them.

    Args:
        root: Directory with the class folders.
        classes: Keep these classes only, in this order; ``None`` keeps all.
        layout: ``auto`` finds out which layout is there; a name takes that one.
        validation: Train with the validation images too, as ADer does. Tables say which.
    """

    info: ClassVar[DatasetInfo] = info("mvtec_loco")

    def layouts(self) -> list[Layout]:
        """Return the layouts: ADer's ``meta.json``, the owner's folders."""
        folders = MvtecLayout(train=self.train_splits, mask_suffixes=("",))
        return [
            ader(self.train_splits),
            lines(("train.json", "test.json")),
            mvtec_like("owner", self.info.classes, self._wanted, folders),
        ]

    def index(self) -> pd.DataFrame:
        """Build the sample table; ``mask`` is the folder of an image's masks, even if ADer lists one file of it."""
        table = super().index()
        one = table["mask"].str.extract(r"^(.*/([^/]+))/[^/]+\.[^./]+$")
        stem = table["image"].str.extract(r"([^/]*?)(?:\.[^./]*)?$")[0]
        return table.assign(mask=table["mask"].where(one[1] != stem, one[0]))

    @property
    def flags(self) -> tuple[str, ...]:
        """Return the dataset's notes, the training images and the masks."""
        return (*super().flags, "masks of an image united")

    @property
    def has_published_split(self) -> bool:
        """Whether training uses no validation images, as the published counts assume."""
        return not self._validation
