"""Score normal images of a class before any test image, so that thresholds can be set without test labels.

The normal images are the validation images if the dataset has some, else a fixed choice of the training images.
"""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from diadbench.benchmark.cells.scoring.answering import answered
from diadbench.benchmark.cells.scoring.evaluation_size import evaluation_size
from diadbench.benchmark.cells.scoring.reading_ahead import pinned_images, read_ahead
from diadbench.benchmark.metrics.decisions.normal_scores import NormalSummary
from diadbench.benchmark.records.own_files import own_file
from diadbench.common.files import write_with
from diadbench.datasets.decoding.images import inside, read_image, resize_image
from diadbench.methods.base import SampleMethod

if TYPE_CHECKING:
    from diadbench.benchmark.metrics import Evaluator
    from diadbench.datasets.base import Dataset
    from diadbench.datasets.decoding.data import TrainData
    from diadbench.methods.base import Method, RunContext

#: Number of training images of a class that are scored, at even steps, if the dataset has no validation images.
TRAINING_IMAGES = 32
_FILE = "normal.npz"


@dataclass(frozen=True)
class Calibration:
    """Scores normal images of one part of a cell.

    Attributes:
        cell: The cell's configuration.
        dataset: The dataset.
        train: Training images of the part.
        run: The run as the method sees it. Its scratch directory keeps the scores for a cell that is killed later.
        evaluator: Receives the scores and maps.
        batch_size: Images a batch.
    """

    cell: dict[str, Any]
    dataset: Dataset
    train: TrainData
    run: RunContext
    evaluator: Evaluator
    batch_size: int

    def calibrate(self, method: Method | None, *, again: bool) -> None:
        """Score the part's normal images.

        Args:
            method: The fitted method; ``None`` if all its predictions, including these, are already kept.
            again: An earlier process of this cell had fitted the same model, so its kept scores are used.
        """
        if not self.evaluator.needs_normal:
            return
        kept = load_normal(self.run.directory) if again else {}
        for name in self.train.class_names:
            position = self.dataset.classes.index(name)
            if position in kept:
                self.evaluator.set_normal(position, kept[position])
            elif method is not None:
                self._score(method, name, position)
        found = {place: self.evaluator.normal(place) for place in map(self.dataset.classes.index, self._names())}
        save_normal(self.run.directory, found)

    def _names(self) -> tuple[str, ...]:
        return self.train.class_names

    def _score(self, method: Method, name: str, position: int) -> None:
        size, done = evaluation_size(self.cell), 0
        if isinstance(method, SampleMethod):
            return self._take_answers(method, name, position)
        batches = self._batches(name)
        if self.run.device.type == "cuda":
            batches = read_ahead(pinned_images(batches))
        with _same_random_numbers(), torch.inference_mode():
            for images in batches:
                answer = answered(method, images, self.run.device, size, self.evaluator.protocol)
                ids = np.full(len(images), position)
                self.evaluator.calibrate(ids, answer.maps, answer.scores, answer.pooled)
                done += len(images)
                self.run.progress(done, done, f"normal images of {name}")

    def _take_answers(self, method: SampleMethod, name: str, position: int) -> None:
        """Take what a method by samples says of the normal images, where it says something of all of them."""
        rows = self._rows(name)
        if not method.has_answers(rows):
            return
        step = self.batch_size
        for start in range(0, len(rows), step):
            found = method.predict_samples(rows.iloc[start : start + step], evaluation_size(self.cell))
            self.evaluator.calibrate(np.full(len(found.score), position), found.anomaly_map, found.score)

    def _rows(self, name: str) -> pd.DataFrame:
        """Return the class's normal images that set thresholds as rows of a sample table."""
        rows = normal_rows(self.dataset, name)
        if len(rows):
            return rows
        return self.dataset.samples.loc[self.train.index[chosen_rows(self.train, name)].tolist()]

    def _batches(self, name: str) -> Iterator[Tensor]:
        step = self.batch_size
        paths = self.dataset.validation_images(name)
        if paths and tuple(self.cell["method_info"]["channels"]) == ("rgb",):
            for start in range(0, len(paths), step):
                yield torch.stack([self._read(path) for path in paths[start : start + step]])
            return
        rows = chosen_rows(self.train, name)
        for start in range(0, len(rows), step):
            yield self.train.images(rows[start : start + step])

    def _read(self, path: str) -> Tensor:
        native = read_image(inside(self.dataset.root, path))
        small = resize_image(native, tuple(self.cell["image_size"]), self.cell["resize"])
        return torch.from_numpy(np.array(small)).permute(2, 0, 1).float() / 255


def normal_rows(dataset: Dataset, name: str) -> pd.DataFrame:
    """Return a class's validation images as rows of a sample table, empty where the set has none."""
    paths = dataset.validation_images(name)
    return pd.DataFrame({"image": paths, "class": name, "split": "validation", "label": 0, "defect": "good"})


def chosen_rows(train: TrainData, name: str) -> list[int]:
    """Return the positions of at most :data:`TRAINING_IMAGES` training images of a class, at even steps."""
    own = torch.flatten(torch.nonzero(train.class_ids == train.class_names.index(name))).tolist()
    steps = np.linspace(0, len(own) - 1, min(len(own), TRAINING_IMAGES)).round().astype(int)
    return [int(own[place]) for place in steps]


def calibrated_on(dataset: Dataset) -> str:
    """Return a note on which normal images the thresholds are set from."""
    if any(dataset.validation_images(name) for name in dataset.classes):
        return "all validation images of a class"
    return f"training images of a class, at most {TRAINING_IMAGES} at even steps"


@contextlib.contextmanager
def _same_random_numbers() -> Iterator[None]:
    """Restore the random number generators after the block, so that it doesn't affect the test images."""
    state, of_numpy = random.getstate(), np.random.get_state()  # noqa: NPY002
    with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        try:
            yield
        finally:
            random.setstate(state)
            np.random.set_state(of_numpy)  # noqa: NPY002


def save_normal(directory: Path, found: dict[int, NormalSummary]) -> None:
    """Write the scores of normal images to ``normal.npz``, by the position of the class."""
    arrays = {f"{place}/{key}": value for place, one in found.items() for key, value in one.to_arrays().items()}
    directory.mkdir(parents=True, exist_ok=True)
    write_with(directory / _FILE, partial(_write, arrays=arrays))


def forget_normal(directory: Path) -> None:
    """Remove the file that :func:`save_normal` wrote, because the model that scored the images is lost."""
    (directory / _FILE).unlink(missing_ok=True)


def _write(name: Any, arrays: dict[str, Any]) -> None:
    np.savez_compressed(name, **arrays)


def load_normal(directory: Path) -> dict[int, NormalSummary]:
    """Read ``normal.npz``; return nothing if it doesn't exist, as in cells of earlier versions."""
    path = directory / _FILE
    if not path.is_file():
        return {}
    with own_file(path), np.load(path, allow_pickle=False) as arrays:
        of_class: dict[int, dict[str, Any]] = {}
        for key in arrays.files:
            place, _, rest = key.partition("/")
            of_class.setdefault(int(place), {})[rest] = arrays[key]
    return {place: NormalSummary.from_arrays(found) for place, found in of_class.items()}
