"""Write a toy data set to disk, in MVTec-AD's layout."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from diadbench.datasets.toy.defects import DEFECTS, spoiled
from diadbench.datasets.toy.scenes import SCENES, photographed


@dataclass(frozen=True)
class ToyOptions:
    """All options that decide a toy dataset's pixels. See :class:`diadbench.datasets.toy.dataset.Toy` for each."""

    size: int
    train: int
    test_good: int
    test_bad: int
    defects: tuple[str, ...]
    difficulty: float
    seed: int


def draw(directory: Path, options: ToyOptions) -> None:
    """Draw a whole toy dataset into an existing, empty directory."""
    for name in SCENES:
        for split, defect, count in _folders(options):
            images = directory / name / split / defect
            images.mkdir(parents=True)
            masks = directory / name / "ground_truth" / defect
            if defect != "good":
                masks.mkdir(parents=True)
            for i in range(count):
                image, mask = sample(name, split, defect, i, options)
                Image.fromarray(image).save(images / f"{i:03}.png")
                if mask is not None:
                    Image.fromarray(mask.astype(np.uint8) * 255).save(masks / f"{i:03}_mask.png")


def sample(
    name: str, split: str, defect: str, number: int, options: ToyOptions
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.bool_] | None]:
    """Draw one sample: the image ``uint8 (S,S,3)``, and its mask ``bool (S,S)`` unless it is ``good``.

    It depends on the seed, the size, the difficulty and the sample's name, not on the number of samples.
    """
    kind = list(DEFECTS).index(defect) + 1 if defect in DEFECTS else 0
    key = [options.seed, list(SCENES).index(name), int(split == "test"), kind, number]
    rng = np.random.default_rng(key)
    image, body = SCENES[name](options.size, rng)
    mask = None
    if kind:
        strength = float(np.clip(1 - options.difficulty + rng.uniform(-0.35, 0.35), 0.05, 1))
        image, mask = spoiled(defect, image, body, rng, strength)
    return photographed(image, rng), mask


def _folders(options: ToyOptions) -> Iterator[tuple[str, str, int]]:
    yield "train", "good", options.train
    yield "test", "good", options.test_good
    for defect in options.defects:
        yield "test", defect, options.test_bad
