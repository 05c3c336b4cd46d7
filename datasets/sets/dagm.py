"""DAGM 2007: ten generated textures. Coarse ellipses mark the defects, in a folder beside the images."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

from diadbench.common.errors import UserError
from diadbench.datasets.dataset_info import DatasetInfo
from diadbench.datasets.facts.known_sets import info
from diadbench.datasets.layouts.layout_search import Layout
from diadbench.datasets.sets.beside import Judged, LabelledByMasks, files_by_stem

LABELS = "Labels.txt"


class Dagm(LabelledByMasks):
    """DAGM 2007 in its owner's layout (also ``DAGM_KaggleUpload``). An image with a mask is anomalous.

    The anomalous images of the owner's training split are left out, since methods here train on normal images.
    See :class:`LayoutDataset` for the options.
    """

    info: ClassVar[DatasetInfo] = info("dagm")

    def layouts(self) -> list[Layout]:
        """Return the layouts: the owner's folders."""
        about = "Class1/Train/0576.PNG, Class1/Train/Label/0576_label.PNG, Class1/Test"
        return [Layout("owner", about, lambda folder: bool(self._there(folder)), self.read_judged)]

    def _there(self, folder: Path) -> list[str]:
        return [name for name in self.info.classes if (folder / name / "Train").is_dir()]

    def judged(self, folder: Path) -> Iterator[Judged]:
        """Yield the images of all classes; an image with a mask is anomalous."""
        for name in self._there(folder):
            for split in ("Train", "Test"):
                for image, mask in labelled(folder, f"{name}/{split}"):
                    yield Judged(image, mask, bool(mask), name, split.lower())

    @property
    def flags(self) -> tuple[str, ...]:
        """Return the dataset's notes, and what kind of masks it has."""
        return (*super().flags, "masks are coarse ellipses")


def labelled(root: Path, place: str) -> Iterator[tuple[str, str]]:
    """Yield ``(image, mask)`` of a split of a class (``Class1/Train``); ``mask`` is ``""`` for a normal image.

    Raises:
        UserError: A mask without an image, or a ``Labels.txt`` that contradicts the masks.
    """
    images = files_by_stem(root, place, stems=r"\d+", beside=("Label",))
    label = f"{place}/Label"
    masks = files_by_stem(root, label, stems=r"\d+_label") if (root / label).is_dir() else {}
    for stem, path in masks.items():
        if stem.removesuffix("_label") not in images:
            raise UserError(f"{root / path}: the mask of no image; expected {stem.removesuffix('_label')} in {place}")
    said = read_labels(root / label / LABELS)
    for stem, image in images.items():
        mask = masks.get(f"{stem}_label", "")
        if said.get(stem, bool(mask)) != bool(mask):
            what = "anomalous, and has no mask" if said[stem] else f"normal, and has the mask {mask}"
            raise UserError(f"{root / label / LABELS}: {Path(image).name} is {what}; get the class again")
        yield image, mask


def read_labels(path: Path) -> dict[str, bool]:
    """Read DAGM's ``Labels.txt``: whether each stem is anomalous; empty if there is no such file.

    A line has tabs: number, 0 or 1, name of the image, and more. The first line is a single number.

    Raises:
        UserError: The file can't be read, or a line has another form.
    """
    try:
        lines = list(csv.reader(path.read_text(encoding="latin-1").splitlines(), delimiter="\t"))
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise UserError(f"{path}: can't be read ({error.strerror})") from error
    found = {}
    for number, line in enumerate(lines, 1):
        if len(line) < 3:
            continue
        if line[1].strip() not in ("0", "1"):
            raise UserError(f"{path}: line {number}: label {line[1]!r}; expected 0 or 1")
        found[Path(line[2].strip()).stem] = line[1].strip() == "1"
    return found
