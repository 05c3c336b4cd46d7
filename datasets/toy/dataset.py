"""A synthetic dataset in MVTec-AD's layout, drawn by the program for demos, tests and first tries."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import ClassVar

import pandas as pd
from filelock import FileLock

from diadbench.common.cache.disk_space import writing
from diadbench.common.cache.usage import mark_used
from diadbench.common.errors import UserError, unknown_name
from diadbench.common.files import atomic_directory, cache_dir, read_json, write_json
from diadbench.datasets.base import Dataset
from diadbench.datasets.dataset_info import DatasetInfo
from diadbench.datasets.decoding.fingerprint import digest_parts
from diadbench.datasets.facts.known_sets import info
from diadbench.datasets.layouts.folders import mvtec_layout
from diadbench.datasets.toy.defects import DEFECTS
from diadbench.datasets.toy.render import ToyOptions, draw

#: Raise it when any drawn pixel changes, so that the images are made again.
GENERATOR_VERSION = 3
_MARK = "toy.json"


class Toy(Dataset):
    """Four classes (washer, weave, tile, capsule) with four kinds of defects and exact masks, drawn from a seed.

    The images are written once, into the cache directory or ``root``, whole or not at all. An image depends on the
    seed, its class, its kind and its number only: a larger set begins with the smaller one's images.

    Args:
        root: Where to write; ``None`` is the cache directory. A directory that holds something else is refused.
        classes: Keep these classes only, in this order.
        size: Side of the square images, 32 to 1024.
        train: Training images a class.
        test_good: Normal test images a class.
        test_bad: Test images of each kind of defect a class.
        defects: Kinds of defects; ``None`` is all: blot, scratch, displaced, smear.
        difficulty: 0 (every defect leaps to the eye) to 1 (most hardly show).
        seed: Decides everything.
    """

    info: ClassVar[DatasetInfo] = info("toy")

    def __init__(
        self,
        root: Path | str | None = None,
        *,
        classes: Sequence[str] | None = None,
        size: int = 128,
        train: int = 100,
        test_good: int = 20,
        test_bad: int = 8,
        defects: Sequence[str] | None = None,
        difficulty: float = 0.2,
        seed: int = 0,
    ) -> None:
        super().__init__(root, classes=classes)
        _check_range("size", size, 32, 1024)
        _check_range("train", train, 1, 100_000)
        _check_range("test_good", test_good, 0, 100_000)
        _check_range("test_bad", test_bad, 0, 100_000)
        _check_range("difficulty", difficulty, 0, 1)
        if test_good + test_bad == 0:
            raise UserError("dataset 'toy': test_good and test_bad are both 0; at least one test image is needed")
        for name in defects or ():
            if name not in DEFECTS:
                raise unknown_name("defect", name, DEFECTS, where="dataset 'toy'")
        kinds = tuple(defects) if defects is not None else tuple(DEFECTS)
        self._options = ToyOptions(size, train, test_good, test_bad, kinds, float(difficulty), seed)

    @cached_property
    def root(self) -> Path:
        """Return the directory of the images; they are drawn if it doesn't exist."""
        if self._root is not None:
            directory = self._root
        else:
            directory = cache_dir() / "toy" / digest_parts([self._mark])[:16]
            mark_used(directory)
        with writing(directory.parent):
            directory.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(str(directory.parent / f".{directory.name}.lock")):
                self._make(directory)
        return directory

    def index(self) -> pd.DataFrame:
        """Index the drawn images."""
        return mvtec_layout(self.root, known=self.info.classes, only=self._wanted)

    @property
    def _mark(self) -> dict[str, object]:
        return {**asdict(self._options), "defects": list(self._options.defects), "generator": GENERATOR_VERSION}

    def _make(self, directory: Path) -> None:
        if read_json(directory / _MARK) == self._mark:
            return
        if directory.exists() and self._root is not None and any(directory.iterdir()):
            raise UserError(
                f"dataset 'toy': {directory} holds something else than this toy set; give an empty or new directory"
            )
        with atomic_directory(directory) as temporary:
            draw(temporary, self._options)
            write_json(temporary / _MARK, self._mark)
            if directory.exists():
                shutil.rmtree(directory)


def _check_range(name: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:
        raise UserError(f"dataset 'toy': {name} is {value}; expected {low} to {high}")
