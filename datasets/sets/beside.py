"""Masks beside their images, and labels that only the masks give (KolektorSDD, KolektorSDD2, DAGM)."""

from __future__ import annotations

import os
import re
from abc import abstractmethod
from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import pandas as pd

from diadbench.common.errors import UserError
from diadbench.datasets.decoding.images import SUFFIXES, has_image_suffix, inside
from diadbench.datasets.decoding.lookalikes import shown
from diadbench.datasets.decoding.mask_files import read_mask_file
from diadbench.datasets.decoding.reading import Reading
from diadbench.datasets.decoding.workers import Problems, cores, run_all
from diadbench.datasets.layouts.detect import LayoutDataset
from diadbench.datasets.layouts.folder_scan import entries, is_dir
from diadbench.datasets.layouts.indices import table_of
from diadbench.datasets.layouts.layout_search import rebased


class Judged(NamedTuple):
    """An image with its mask (``""`` if it has none), its label by the mask, its class and the owner's split."""

    image: str
    mask: str
    anomalous: bool
    cls: str
    split: str


class LabelledByMasks(LayoutDataset):
    """A set in its owner's layout whose masks alone tell the labels, with anomalous images in the training split.

    These are left out, since methods here train on normal images, and tables say how many. A subclass tells its
    layout, and the images by :meth:`judged`.
    """

    #: Files of the owner's archive that are no samples, relative to the directory of the data.
    no_samples: ClassVar[tuple[str, ...]] = ()
    _aside: frozenset[str] = frozenset()
    _left_out = 0

    @abstractmethod
    def judged(self, folder: Path) -> Iterator[Judged]:
        """Yield the images of a directory with the owner's split, and whether their mask says that they are anomalous.

        Paths are relative to the directory.
        """

    def read_judged(self, root: Path, base: str) -> pd.DataFrame:
        """Make the sample table of the owner's layout."""
        prefix = f"{base}/" if base else ""
        rows: list[tuple[Any, ...]] = []
        aside = list(self.no_samples)
        self._left_out = 0
        for image, mask, anomalous, name, split in self.judged(root / base):
            if anomalous and split == "train":
                aside += [image, mask]
                self._left_out += 1
            elif anomalous:
                rows.append((image, mask, name, split, 1, "defect"))
            else:
                rows.append((image, "", name, split, 0, "good"))
                aside += [mask] if mask else []
        self._aside = frozenset(prefix + path for path in aside)
        return rebased(table_of(rows), base)

    @property
    def set_aside(self) -> frozenset[str]:
        """Return anomalous training images with their masks, masks of normal images, and files that are no samples."""
        return self._aside

    @property
    def flags(self) -> tuple[str, ...]:
        """Return the dataset's notes, and how many training images are left out."""
        _ = self.samples
        return (*super().flags, f"{self._left_out} anomalous training images left out")


def files_by_stem(
    root: Path, folder: str, *, stems: str, beside: Sequence[str] = (), copies: Collection[str] = ()
) -> dict[str, str]:
    """Map the stems of the images in ``root/folder`` to their paths, which are relative to ``root``; sorted by name.

    Args:
        root: The dataset's root.
        folder: Folder of images, relative to the root.
        stems: Regular expression that a whole stem must match.
        beside: Names of folders that lie there and hold other files.
        copies: Names of files that the owner's archive contains by mistake; they are ignored.

    Raises:
        UserError: The folder can't be listed; a folder, a file of another format or of another name lies there; two
            images have one stem.
    """
    found: dict[str, str] = {}
    for entry in entries(inside(root, folder), must_exist=True):
        name = entry.name
        path, stem = shown(Path(root, folder, name)), os.path.splitext(name)[0]
        if is_dir(entry):
            if name not in beside:
                raise UserError(f"{path}: a folder among the images; expected images only: move it out of {folder}")
            continue
        if not has_image_suffix(name):
            if not name.lower().endswith((".txt", ".csv")):
                raise UserError(f"{path}: not an image of a known format (known: {' '.join(SUFFIXES)}); move it out")
            continue
        if name in copies:
            continue
        if not re.fullmatch(stems, stem):
            raise UserError(f"{path}: not named as the owner names images and masks ({stems}); move it out of {folder}")
        if stem in found:
            raise UserError(f"{path}: a second file with the stem of {found[stem]}; keep one")
        found[stem] = f"{folder}/{name}"
    return found


def pair(root: Path, files: dict[str, str], suffix: str) -> list[tuple[str, str]]:
    """Pair images with their masks among ``files`` (of :func:`files_by_stem`), which are named ``<stem><suffix>``.

    Returns:
        ``(image, mask)`` for each image, in the order of ``files``.

    Raises:
        UserError: An image without a mask, or a mask without an image.
    """
    for stem, path in files.items():
        if stem.endswith(suffix) and stem.removesuffix(suffix) not in files:
            raise UserError(
                f"{shown(root / path)}: the mask of no image; expected {stem.removesuffix(suffix)} beside it"
            )
        if not stem.endswith(suffix) and stem + suffix not in files:
            raise UserError(f"{shown(root / path)}: no mask; expected {stem}{suffix} beside it: get the set again")
    return [(path, files[stem + suffix]) for stem, path in files.items() if not stem.endswith(suffix)]


def positive(root: Path, masks: Iterable[str], reading: Reading | None = None) -> frozenset[str]:
    """Return the masks that have an anomalous pixel under the dataset's options. All cores are used.

    Raises:
        UserError: A mask is missing or damaged, or lies in an alpha channel.
    """
    paths, found, problems = list(masks), set[str](), Problems()

    def look(i: int) -> None:
        mask = read_mask_file(inside(root, paths[i]), reading)
        if mask.signs.cause == "alpha":  # read as it is, the image would be normal without a word
            raise UserError(
                f"{shown(root / paths[i])}: the mask lies in the alpha channel, which isn't read, and here the mask "
                "tells the label; save the alpha channel as the mask, in black and white"
            )
        if mask.values.any():
            found.add(paths[i])

    run_all(look, len(paths), cores(), problems)
    problems.raise_any(f"{root}: masks that tell the labels")
    return frozenset(found)
