"""KolektorSDD: surfaces of 50 commutators, eight images each, every one with a mask."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd

from diadbench.common.errors import UserError
from diadbench.datasets.dataset_info import DatasetInfo
from diadbench.datasets.decoding.reading import MaskOptions
from diadbench.datasets.facts.known_sets import info
from diadbench.datasets.layouts.detect import LayoutDataset
from diadbench.datasets.layouts.folder_scan import subfolders
from diadbench.datasets.layouts.indices import table_of
from diadbench.datasets.layouts.layout_search import Layout, rebased
from diadbench.datasets.sets.beside import files_by_stem, pair, positive

#: Share of the normal images that are used for training, as in anomalib.
TRAIN_SHARE = 0.8
_CLASS = "kolektorsdd"


class KolektorSdd(LayoutDataset):
    """KolektorSDD in its owner's layout. An image is anomalous if its mask has a positive pixel: nothing else tells.

    The owner has no split for training on normal images only. Four in five normal images are trained on, drawn by
    ``seed``; the others and all anomalous images are tested.

    Args:
        root: Directory with ``kos01`` to ``kos50``.
        classes: ``[kolektorsdd]``, or ``None``.
        layout: ``auto`` or ``owner``.
        seed: Decides which normal images are trained on.
    """

    info: ClassVar[DatasetInfo] = info("kolektorsdd")

    def __init__(
        self,
        root: Path | str | None = None,
        *,
        classes: Sequence[str] | None = None,
        layout: str = "auto",
        masks: MaskOptions | None = None,
        bit_depth: int | None = None,
        seed: int = 0,
    ) -> None:
        if seed < 0:
            raise UserError(f"dataset 'kolektorsdd': seed is {seed}; expected 0 or more")
        self._seed = seed
        self._normal_masks: frozenset[str] = frozenset()
        super().__init__(root, classes=classes, layout=layout, masks=masks, bit_depth=bit_depth)

    def layouts(self) -> list[Layout]:
        """Return the layouts: the owner's folders."""
        about = "kos01/Part0.jpg with kos01/Part0_label.bmp"
        return [Layout("owner", about, lambda folder: bool(_items(folder)), self._read)]

    def _read(self, root: Path, base: str) -> pd.DataFrame:
        folder = root / base
        pairs = [
            one
            for item in _items(folder)
            for one in pair(folder, files_by_stem(folder, item, stems=r"Part\d+(_label)?"), "_label")
        ]
        bad = positive(folder, (mask for _, mask in pairs), self.reading)
        normal = [image for image, mask in pairs if mask not in bad]
        train = set(np.random.default_rng(self._seed).permutation(normal)[: round(len(normal) * TRAIN_SHARE)].tolist())
        prefix = f"{base}/" if base else ""
        self._normal_masks = frozenset(prefix + mask for _, mask in pairs if mask not in bad)
        return rebased(table_of([_row(image, mask, mask in bad, image in train) for image, mask in pairs]), base)

    @property
    def set_aside(self) -> frozenset[str]:
        """Return the all-zero masks of normal images."""
        return self._normal_masks

    @property
    def flags(self) -> tuple[str, ...]:
        """Return the dataset's notes, and that the split is not its owner's."""
        return (*super().flags, f"four in five normal images trained on, drawn with seed {self._seed}")


def _items(folder: Path) -> list[str]:
    return [name for name in subfolders(folder, "") if re.fullmatch(r"kos\d+", name)]


def _row(image: str, mask: str, bad: bool, train: bool) -> tuple[Any, ...]:
    split, label, defect = ("test", 1, "defect") if bad else ("train" if train else "test", 0, "good")
    return image, mask if bad else "", _CLASS, split, label, defect
