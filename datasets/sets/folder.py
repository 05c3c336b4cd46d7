"""Any directory in MVTec-AD's layout, with any class names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import pandas as pd

from diadbench.common.errors import UserError
from diadbench.datasets.base import Dataset
from diadbench.datasets.dataset_info import DatasetInfo
from diadbench.datasets.facts.known_sets import info
from diadbench.datasets.layouts.folders import MvtecLayout, mvtec_layout


class Folder(Dataset):
    """Your own data: ``<class>/{train,test}/good``, ``<class>/test/<defect>``, ``<class>/ground_truth/<defect>``.

    Args:
        root: Directory with a folder for each class.
        classes: Keep these classes only, in this order; ``None`` keeps all, in alphabetical order.
        masks: Whether anomalous test images have masks (``<stem>_mask.png`` or ``<stem>.png``). Without masks, pixel
            and region metrics are undefined.
        normal: Name of the folder with normal images.
        title: Name in tables; ``None`` is the name of the root folder.
    """

    info: ClassVar[DatasetInfo] = info("folder")

    def __init__(
        self,
        root: Path | str | None = None,
        *,
        classes: Sequence[str] | None = None,
        masks: bool = True,
        normal: str = "good",
        title: str | None = None,
    ) -> None:
        super().__init__(root, classes=classes)
        if not normal or "/" in normal:
            raise UserError(f"dataset 'folder': normal {normal!r}; expected the name of a folder, such as 'good'")
        self._layout = MvtecLayout(normal=(normal,), has_masks=masks)
        shown = title or (self._root.resolve().name if self._root else self.info.title)
        self.info = replace(type(self).info, title=shown, has_masks=masks)  # type: ignore[misc]

    def index(self) -> pd.DataFrame:
        """Index the class folders below the root; whatever else lies there is passed over."""
        return mvtec_layout(self.root, only=self._wanted, layout=self._layout)
