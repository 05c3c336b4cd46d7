"""Uni-Medical: brain, liver and retina from BMAD, in the layout of ADer's archive or in BMAD's own folders."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pandas as pd

from diadbench.common.errors import UserError
from diadbench.datasets.dataset_info import DatasetInfo
from diadbench.datasets.facts.known_sets import info
from diadbench.datasets.layouts.detect import LayoutDataset
from diadbench.datasets.layouts.folder_scan import MaskFinder, image_files, subfolders
from diadbench.datasets.layouts.folders import MvtecLayout
from diadbench.datasets.layouts.indices import table_of
from diadbench.datasets.layouts.layout_search import Layout, ader, joined, lines, mvtec_like, rebased

#: Folder names of BMAD's archives, in lower case. Its classification sets (OCT2017, Chest, Histopathology) stay out.
_BMAD = {
    "brain": ("brain", "brain_ad", "brats2021_slice"),
    "liver": ("liver", "liver_ad", "hist_diy"),
    "retinal": ("retina_resc", "retina_resc_ad", "resc", "retina", "retinal", "resc_average"),
}
#: BMAD's papers and loaders differ in the name of the mask folder.
_MASKS = ("anomaly_mask", "label", "mask", "masks")


class UniMedical(LayoutDataset):
    """Uni-Medical in ADer's layout or BMAD's; BMAD's ``valid`` images are not part of it.

    See :class:`LayoutDataset` for the options.
    """

    info: ClassVar[DatasetInfo] = info("unimedical")

    def layouts(self) -> list[Layout]:
        """Return the layouts: ADer's ``meta.json``, JSON lines, BMAD's folders, ADer's folders (in MVTec's style)."""
        folders = MvtecLayout(mask_suffixes=("", "_mask"))
        return [
            ader(),
            lines(("train.json", "test.json")),
            Layout("bmad", "Brain/test/Ungood/img", _is_bmad, self._read_bmad, "indexed from BMAD's folders"),
            mvtec_like("owner", self.info.classes, self._wanted, folders),
        ]

    def _read_bmad(self, root: Path, base: str) -> pd.DataFrame:
        classes = _classes(root / base)
        wanted = self._wanted or tuple(classes)
        for name in wanted:
            if name in self.info.classes and name not in classes:
                raise UserError(f"{root / base}: no folder of class {name!r}; expected one of {', '.join(_BMAD[name])}")
        rows = [row for name, folder in classes.items() if name in wanted for row in _rows(root / base, name, folder)]
        return rebased(table_of(rows), base)


def _classes(folder: Path) -> dict[str, str]:
    """Map classes to their BMAD folders."""
    found: dict[str, str] = {}
    for name in subfolders(folder, ""):
        for known, names in _BMAD.items():
            if name.lower() in names and (folder / name / "test").is_dir():
                if known in found:
                    raise UserError(f"{folder}: {found[known]} and {name} both are class {known!r}; keep one")
                found[known] = name
    return found


def _is_bmad(folder: Path) -> bool:
    for name in _classes(folder).values():
        for kind in subfolders(folder, f"{name}/test"):
            if {"img", *_MASKS} & set(subfolders(folder, f"{name}/test/{kind}")):
                return True
        if (folder / name / "ground_truth").is_dir():
            continue  # ADer's folders, perhaps in another case
        if name[0].isupper() or (folder / name / "valid").is_dir():
            return True
    return False


def _rows(folder: Path, name: str, own: str) -> Iterator[tuple[Any, ...]]:
    normal = 0
    for kind in subfolders(folder, f"{own}/train"):
        if kind.lower() != "good":
            raise UserError(f"{folder / own / 'train' / kind}: training images must be normal; expected only good/")
        place = _images(folder, f"{own}/train/{kind}")
        for file in image_files(folder, place, beside=_MASKS):
            normal += 1
            yield f"{place}/{file}", "", name, "train", 0, "good"
    if not normal:
        raise UserError(f"class {name!r} has no training images; expected them in {folder / own / 'train/good'}")
    for kind in subfolders(folder, f"{own}/test"):
        yield from _test_rows(folder, name, f"{own}/test/{kind}", kind)


def _test_rows(folder: Path, name: str, place: str, kind: str) -> Iterator[tuple[Any, ...]]:
    images = _images(folder, place)
    files = image_files(folder, images, beside=_MASKS)
    if kind.lower() == "good":
        for file in files:
            yield f"{images}/{file}", "", name, "test", 0, "good"
        return
    there = subfolders(folder, place)
    masks = next((joined(place, one) for one in _MASKS if one in there), None)
    if masks is None:
        raise UserError(f"{folder / place}: no folder of masks; expected {' or '.join(_MASKS[:2])}")
    pairs = MaskFinder(folder, masks, ("", "_mask"))
    for file in files:
        mask = pairs.find(file)
        if not mask:
            expected = folder / masks / os.path.splitext(file)[0]
            raise UserError(f"{folder / images / file}: no mask; expected {expected}.png")
        yield f"{images}/{file}", mask, name, "test", 1, kind


def _images(folder: Path, place: str) -> str:
    """Return the folder of images; only some of BMAD's archives have a level ``img``."""
    return f"{place}/img" if "img" in subfolders(folder, place) else place
