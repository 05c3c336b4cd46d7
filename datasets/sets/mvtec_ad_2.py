"""MVTec AD 2: eight objects under several lights; a public test set, and two private ones without labels."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pandas as pd

from diadbench.common.errors import UserError, unknown_name
from diadbench.datasets.base import SAMPLE_MARKER
from diadbench.datasets.dataset_info import DatasetInfo
from diadbench.datasets.decoding.images import inside, read_image
from diadbench.datasets.decoding.workers import Problems, cores, run_all
from diadbench.datasets.facts.counts import mvtec_ad_2_unlabelled
from diadbench.datasets.facts.known_sets import info
from diadbench.datasets.findings import CheckReport
from diadbench.datasets.layouts.detect import LayoutDataset
from diadbench.datasets.layouts.indices import table_of
from diadbench.datasets.layouts.layout_search import Layout, joined, rebased
from diadbench.datasets.sets.beside import files_by_stem

#: Splits that are neither trained on nor tested here, with the folder that holds their images.
HELD_OUT = {
    "validation": "validation/good",
    "test_private": "test_private",
    "test_private_mixed": "test_private_mixed",
}
_PUBLIC = "test_public"
_NAMES = r"\d{3}\w*"


class MvtecAd2(LayoutDataset):
    """MVTec AD 2 in its owner's layout: trained on ``train``, tested on ``test_public``.

    :meth:`held_out` lists the validation images, which thresholds are chosen on, and the private test images, whose
    labels only the owner's server knows. See :class:`LayoutDataset` for the options.
    """

    info: ClassVar[DatasetInfo] = info("mvtec_ad_2")

    def layouts(self) -> list[Layout]:
        """Return the layouts: the owner's folders."""
        about = "<object>/train/good/000_regular.png, <object>/test_public/{good,bad,ground_truth/bad}"
        return [Layout("owner", about, lambda folder: bool(self._there(folder)), self._read)]

    def _there(self, folder: Path) -> list[str]:
        return [name for name in self.info.classes if (folder / name / _PUBLIC).is_dir()]

    def _read(self, root: Path, base: str) -> pd.DataFrame:
        folder = root / base
        return rebased(table_of([row for name in self._there(folder) for row in _rows(folder, name)]), base)

    def index(self) -> pd.DataFrame:
        """Build the sample table with a column ``lighting``: ``regular``, ``overexposed``, ``shift_1`` ..."""
        table = super().index()
        return table.assign(lighting=table["image"].str.extract(r"/\d{3}_(\w+)\.[^./]+$")[0].fillna(""))

    def held_out(self, split: str) -> pd.DataFrame:
        """Return the images of a split that is neither trained on nor tested here.

        Args:
            split: ``validation`` (all normal), ``test_private`` or ``test_private_mixed`` (labels unknown).

        Returns:
            Columns ``image`` (relative to :attr:`root`), ``class``, ``split``; classes in the order of :attr:`classes`.

        Raises:
            UserError: Unknown split, or a class has no such images.
        """
        if split not in HELD_OUT:
            raise unknown_name("split", split, HELD_OUT, where="dataset 'mvtec_ad_2'")
        rows = [(image, name, split) for name in self.classes for image in self._images(name, split)]
        return pd.DataFrame(rows, columns=["image", "class", "split"])

    def validation_images(self, name: str) -> list[str]:
        """Return a class's validation images, all normal, in the order of their names."""
        return self._images(name, "validation")

    def _images(self, name: str, split: str) -> list[str]:
        place = joined(self.found.base, name, HELD_OUT[split])
        if not (self.root / place).is_dir():
            raise UserError(f"{self.root / place}: not there; expected the {split} images of {name}: get the set again")
        return list(files_by_stem(self.root, place, stems=_NAMES).values())

    @property
    def set_aside(self) -> frozenset[str]:
        """Return validation images and private test images."""
        there = self._there(self.root / self.found.base)  # `classes` needs a table without faults
        return frozenset(image for name in there for split in HELD_OUT for image in self._or_none(name, split))

    def _or_none(self, name: str, split: str) -> list[str]:
        try:
            return self._images(name, split)
        except UserError:
            return []

    @property
    def flags(self) -> tuple[str, ...]:
        """Return the dataset's notes, and which of its test sets is scored."""
        return (*super().flags, "tested on test_public; the private test sets have no labels here")

    def own_checks(self, report: CheckReport) -> None:
        """Count and open the validation images and the private test images."""
        images = [image for name in self.classes for split in HELD_OUT for image in self._counted(name, split, report)]
        problems = Problems()
        run_all(lambda i: _open(self.root, images[i]), len(images), cores(), problems)
        for message in sorted(problems.messages):
            report.add("error", "file", message, note="")  # not read for any result
        report.files += len(images)

    def _counted(self, name: str, split: str, report: CheckReport) -> list[str]:
        try:
            images = self._images(name, split)
        except UserError as error:
            report.add("error", "structure", str(error), note="")  # not read for any result
            return []
        expected = mvtec_ad_2_unlabelled(name, split)
        if len(images) != expected and not (self.root / SAMPLE_MARKER).is_file():
            report.add(
                "warning",
                "counts",
                f"{name}: {len(images):,} {split} images; published: {expected:,}",
                advice="the owner's server takes results of all images only: unpack the set again",
                note="",  # not read for any result
            )
        return images


def _open(root: Path, image: str) -> None:
    read_image(inside(root, image))


def _rows(folder: Path, name: str) -> Iterator[tuple[Any, ...]]:
    for image in files_by_stem(folder, f"{name}/train/good", stems=_NAMES).values():
        yield image, "", name, "train", 0, "good"
    for image in files_by_stem(folder, f"{name}/{_PUBLIC}/good", stems=_NAMES).values():
        yield image, "", name, "test", 0, "good"
    masks = files_by_stem(folder, f"{name}/{_PUBLIC}/ground_truth/bad", stems=rf"{_NAMES}_mask")
    images = files_by_stem(folder, f"{name}/{_PUBLIC}/bad", stems=_NAMES)
    for stem, image in images.items():
        if f"{stem}_mask" not in masks:
            place = folder / name / _PUBLIC / "ground_truth" / "bad" / f"{stem}_mask.png"
            raise UserError(f"{folder / image}: anomalous test image without a mask; expected {place}")
        yield image, masks[f"{stem}_mask"], name, "test", 1, "bad"
    lost = [path for stem, path in masks.items() if re.sub("_mask$", "", stem) not in images]
    if lost:
        raise UserError(f"{folder / lost[0]}: the mask of no image in {name}/{_PUBLIC}/bad; get the set again")
