"""Decode the files of a dataset into cached arrays: which array holds which rows, and what decides its content."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from diadbench.common.cache.arrays import ArrayPlan, CachedArray, IntArray, build, load
from diadbench.common.errors import UserError
from diadbench.datasets.base import Dataset
from diadbench.datasets.decoding.fingerprint import (
    digest_of,
    digest_parts,
)
from diadbench.datasets.decoding.images import (
    decode_image,
    inside,
    placed,
    read_bytes,
    resize_image,
)
from diadbench.datasets.decoding.masks import MaskRule, read_resized
from diadbench.datasets.decoding.rows import Rows, packed
from diadbench.datasets.decoding.workers import Make, Problems, Progress, in_threads, partial_progress

#: Part of every key. Raise it when decoding or resizing changes.
CACHE_VERSION = 1
#: The same for masks alone. Raise it also when the values stored with them change.
MASK_VERSION = 4
Digest = str | None


@dataclass(frozen=True)
class Decoder:
    """Decodes images and masks of a dataset, or finds them in the cache.

    Attributes:
        dataset: The dataset.
        image_size: ``(H, W)`` of the images.
        mask_size: ``(H, W)`` of the masks.
        mask_rule: How masks are resized.
        resize: Filter for images.
        bit_depth: Bits that 16-bit images use.
        cache: Cache directory.
        workers: Threads that decode.
        progress: Called as ``progress(done, total, what)``.
    """

    dataset: Dataset
    image_size: tuple[int, int]
    mask_size: tuple[int, int]
    mask_rule: MaskRule
    resize: str
    bit_depth: int
    cache: Path
    workers: int
    progress: Progress | None = None

    def images(self, column: str, groups: list[IntArray], digests: dict[str, list[Digest]], problems: Problems) -> Rows:
        """Return the images of all rows; a file that several rows share is stored once.

        Args:
            column: ``image`` or ``xyz``.
            groups: Rows that share an array, see :func:`groups_of`.
            digests: Digest of each row's file, for each column of paths; ``None`` for an unreadable file.
            problems: Receives what can't be read.
        """
        plans, rows_of = [], []
        for rows in groups:
            paths = [str(path) for path in self.dataset.samples[column].iloc[rows]]
            first = {path: int(row) for path, row in reversed(list(zip(paths, rows)))}
            unique = sorted(first)
            keys = [digests[column][first[path]] for path in unique]
            plans.append(self._image_plan(column, unique, keys, self._classes(rows), problems))
            place = {path: i for i, path in enumerate(unique)}
            rows_of.append((rows, np.array([place[path] for path in paths], dtype=np.int64)))
        return self._built(plans, rows_of, "decoding images")

    def _image_plan(
        self, column: str, paths: list[str], digests: list[Digest], classes: str, problems: Problems
    ) -> ArrayPlan:
        height, width = self.image_size
        root, bits = self.dataset.root, self.bit_depth

        def make(i: int) -> tuple[npt.NDArray[Any], list[int]]:
            path = inside(root, paths[i])
            if column == "xyz":
                return _resized_xyz(path, (height, width))
            with placed(self.dataset.place_of, paths[i]):
                content = read_bytes(path)
            if digests[i] is not None and digest_of(content) != digests[i]:
                raise UserError(f"{path}: changed while it was read; run again")
            native = decode_image(content, path, bits)
            small = resize_image(native, (height, width), self.resize)
            return small.transpose(2, 0, 1), [int(side) for side in native.shape[:2]]

        key = digest_parts([CACHE_VERSION, column, height, width, self.resize, digests, *([bits] if bits < 16 else [])])
        dtype = "float32" if column == "xyz" else "uint8"
        about = f"{'xyz maps' if column == 'xyz' else 'images'} of {classes} at {height}x{width}"
        return self._plan(key, len(paths), (3, height, width), dtype, make, about, problems)

    def masks(self, groups: list[IntArray], digests: dict[str, list[Digest]], images: Rows, problems: Problems) -> Rows:
        """Return the masks of all rows that have one.

        Args:
            groups: As for :meth:`images`.
            digests: As for :meth:`images`.
            images: The images, whose native sizes the masks must have.
            problems: Receives what can't be read, and masks that contradict their label.
        """
        masks = self.dataset.samples["mask"].to_numpy()
        plans, rows_of = [], []
        for group in groups:
            rows = np.array([row for row in group if masks[row]], dtype=np.int64)
            if len(rows):
                plans.append(self._mask_plan(rows, [digests["mask"][row] for row in rows], images, problems))
                rows_of.append((rows, np.arange(len(rows))))
        return self._built(plans, rows_of, "decoding masks")

    def _mask_plan(self, rows: IntArray, digests: list[Digest], images: Rows, problems: Problems) -> ArrayPlan:
        paths = [str(path) for path in self.dataset.samples["mask"].iloc[rows]]
        normal = (self.dataset.samples["label"].iloc[rows] == 0).tolist()
        # None if the image itself can't be read, which is reported already
        sizes = images.values(rows)
        root = self.dataset.mask_root

        reading = self.dataset.reading

        def make(i: int) -> tuple[npt.NDArray[Any], list[Any]]:
            path = inside(root, paths[i])
            with placed(self.dataset.place_of, paths[i]):
                mask, facts = read_resized(path, sizes[i], self.mask_size, self.mask_rule, reading)
            if normal[i] and facts.positive:
                raise UserError(f"{path}: a mask with anomalous pixels for a sample that is labelled normal")
            return packed(mask), [facts.positive, bool(mask.any()), *astuple(facts.signs)]

        rule = [CACHE_VERSION, "mask", MASK_VERSION, *self.mask_size, self.mask_rule, *astuple(reading)]
        key = digest_parts([*rule, digests, sizes, normal])
        length = (self.mask_size[0] * self.mask_size[1] + 7) // 8
        about = f"masks of {self._classes(rows)} at {self.mask_size[0]}x{self.mask_size[1]}"
        return self._plan(key, len(paths), (length,), "uint8", make, about, problems)

    def _plan(
        self, key: str, count: int, row: tuple[int, ...], dtype: str, make: Make, about: str, problems: Problems
    ) -> ArrayPlan:
        fill = in_threads(make, self.workers, problems)
        place = self.cache / "images" / key
        return ArrayPlan(place, count, row, dtype, fill, what="decoded images", about=about)

    def _classes(self, rows: IntArray) -> str:
        """Return what an array belongs to for people: the dataset and the classes of its rows."""
        names = list(self.dataset.samples["class"].iloc[rows].unique())
        return f"{self.dataset.info.name} ({names[0] if len(names) == 1 else f'{len(names)} classes'})"

    def _built(self, plans: list[ArrayPlan], rows_of: list[tuple[IntArray, IntArray]], what: str) -> Rows:
        array_of = np.full(len(self.dataset.samples), -1, dtype=np.int64)
        position = np.zeros(len(self.dataset.samples), dtype=np.int64)
        ready = [load(plan) for plan in plans]
        total = sum(plan.count for plan, array in zip(plans, ready) if array is None)
        done = 0
        arrays: list[CachedArray] = []
        for plan, array, (rows, places) in zip(plans, ready, rows_of):
            if array is None:
                array = build(plan, partial_progress(self.progress, what, done, total))
                done += plan.count
            if array is not None:
                array_of[rows], position[rows] = len(arrays), places
                arrays.append(array)
        return Rows(tuple(arrays), array_of, position)


def groups_of(samples: pd.DataFrame) -> Iterator[IntArray]:
    """Yield rows that share an array: one array per class, but classes with common images (COCO-AD) share one."""
    together: list[set[str]] = []
    per_image = samples.groupby("image", sort=False)["class"]
    shared = (
        {frozenset(names) for _, names in per_image if len(names) > 1} if samples["image"].duplicated().any() else set()
    )
    for names in [*({name} for name in samples["class"].unique()), *map(set, shared)]:
        joined = [group for group in together if group & names]
        together = [group for group in together if not group & names] + [set().union(names, *joined)]
    for group in together:
        yield np.flatnonzero(samples["class"].isin(group)).astype(np.int64)


def _resized_xyz(path: Path, size: tuple[int, int]) -> tuple[npt.NDArray[Any], list[int]]:
    """Read a float TIFF ``(H,W,3)`` and resize it by nearest neighbour, so that zeros ("no measurement") don't mix."""
    import tifffile

    try:
        native = tifffile.imread(path)
    except Exception as error:  # tifffile raises many kinds of exceptions on a broken file.
        raise UserError(f"{path}: not a readable TIFF ({error})") from error
    if native.ndim != 3 or native.shape[2] != 3:
        raise UserError(f"{path}: shape {native.shape}; expected (H, W, 3) with x, y, z of each pixel")
    height, width = native.shape[:2]
    rows = ((np.arange(size[0]) + 0.5) * height / size[0]).astype(int)
    columns = ((np.arange(size[1]) + 0.5) * width / size[1]).astype(int)
    return native[rows][:, columns].astype(np.float32).transpose(2, 0, 1), [height, width]
