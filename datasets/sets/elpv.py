"""ELPV: 2,624 real electroluminescence images of solar cells, from the package ``elpv-dataset``."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import pandas as pd

from diadbench.common.errors import Skip, UserError
from diadbench.datasets.base import Dataset
from diadbench.datasets.dataset_info import DatasetInfo
from diadbench.datasets.facts.known_sets import info

#: Share of the normal images that are used for training.
TRAIN_SHARE = 0.8
_LABELS = "labels.csv"


class Elpv(Dataset):
    """ELPV with two classes, ``mono`` and ``poly``. There are no masks: pixel and region metrics are undefined.

    Four in five of the cells with a defect probability of 0 are trained on, drawn by class and seed; the others are the
    normal test images, the cells with probability 1 the anomalous ones.

    Args:
        root: Directory with ``labels.csv`` and ``images/``; ``None`` is that of the package ``elpv-dataset``.
        classes: Keep these classes only, in this order.
        seed: Decides what is trained on.
        include_two_thirds: Cells with probability 2/3 are anomalous test images too.
        fraction: Share of each class's training, normal and anomalous test images that is kept, in (0,1].
        max_train: At most so many training images a class; ``None`` is all.
        max_test: At most so many test images a class, normal and anomalous in proportion; ``None`` is all.
    """

    info: ClassVar[DatasetInfo] = info("elpv")

    def __init__(
        self,
        root: Path | str | None = None,
        *,
        classes: Sequence[str] | None = None,
        seed: int = 0,
        include_two_thirds: bool = False,
        fraction: float = 1.0,
        max_train: int | None = None,
        max_test: int | None = None,
    ) -> None:
        super().__init__(root, classes=classes)
        for name, value, least in (("max_train", max_train, 1), ("max_test", max_test, 2)):
            if value is not None and value < least:
                raise UserError(f"dataset 'elpv': {name} is {value}; expected {least} or more, or null for all")
        if not 0 < fraction <= 1:
            raise UserError(f"dataset 'elpv': fraction is {fraction}; expected more than 0 and at most 1")
        if seed < 0:
            raise UserError(f"dataset 'elpv': seed is {seed}; expected 0 or more")
        self._seed = seed
        self._include_two_thirds = include_two_thirds
        self._fraction = float(fraction)
        self._max_train = max_train
        self._max_test = max_test

    @cached_property
    def root(self) -> Path:
        """Directory of ``labels.csv``: the one given, or that of the package. Raises Skip when it isn't installed."""
        if self._root is not None:
            return super().root
        spec = importlib.util.find_spec("elpv_dataset")
        if spec is None or not spec.submodule_search_locations:
            raise Skip("dataset 'elpv': package elpv-dataset is not installed; pip install 'diadbench[demo]'")
        return Path(spec.submodule_search_locations[0]) / "data"

    @property
    def flags(self) -> tuple[str, ...]:
        """Return the dataset's notes, whether it is a subset, and what else counts as anomalous."""
        limits = [f"at most {n} {what} images a class" for n, what in self._limits if n is not None]
        if self._fraction < 1:
            limits.insert(0, f"{100 * self._fraction:g} % of the images")
        subset = (f"subset of ELPV: {', '.join(limits)}",) if limits else ()
        wider = ("probability 2/3 counts as anomalous",) if self._include_two_thirds else ()
        return (*super().flags, *subset, *wider)

    @property
    def _limits(self) -> tuple[tuple[int | None, str], ...]:
        return (self._max_train, "train"), (self._max_test, "test")

    def index(self) -> pd.DataFrame:
        """Split the list of labels."""
        labels = read_labels(self.root / _LABELS)
        least = 0.5 if self._include_two_thirds else 0.9
        rows = []
        for number, name in enumerate(self.info.classes):
            cells = labels[labels["class"] == name]
            rng = np.random.default_rng([self._seed, number])
            normal = rng.permutation(cells["image"][cells["probability"] == 0].to_numpy(dtype=object))
            anomalous = rng.permutation(cells["image"][cells["probability"] > least].to_numpy(dtype=object))
            cut = round(len(normal) * TRAIN_SHARE)
            train, good, bad = (self._share(images) for images in (normal[:cut], normal[cut:], anomalous))
            train = train[: self._max_train]
            if self._max_test is not None and self._max_test < len(good) + len(bad):
                share = round(self._max_test * len(good) / (len(good) + len(bad)))
                share = min(max(share, 1), self._max_test - 1)
                good, bad = good[:share], bad[: self._max_test - share]
            for split, label, images in (("train", 0, train), ("test", 0, good), ("test", 1, bad)):
                rows += [(image, name, split, label) for image in sorted(images)]
        table = pd.DataFrame(rows, columns=["image", "class", "split", "label"])
        return table.assign(defect=np.where(table["label"] == 1, "defective", "good"))

    def _share(self, images: npt.NDArray[np.object_]) -> npt.NDArray[np.object_]:
        return images[: max(1, round(len(images) * self._fraction))]


def read_labels(path: Path) -> pd.DataFrame:
    """Read ELPV's ``labels.csv``: columns ``image``, ``probability`` (0, 1/3, 2/3, 1), ``class``. Raises UserError."""
    try:
        table = pd.read_csv(path, sep=r"\s+", names=["image", "probability", "class"])
    except FileNotFoundError as error:
        raise UserError(f"{path}: file not found; expected ELPV's list of images, probabilities and types") from error
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: can't be read ({' '.join(str(error).split())})") from error
    numbers = pd.to_numeric(table["probability"], errors="coerce")
    wrong = numbers.isna() | ~numbers.between(0, 1) | ~table["class"].isin(info("elpv").classes)
    if table.empty or wrong.any():
        line = int(wrong.to_numpy().argmax()) + 1
        raise UserError(f"{path}: line {line}: expected an image, a probability in 0..1, and mono or poly")
    return table.assign(probability=numbers)
