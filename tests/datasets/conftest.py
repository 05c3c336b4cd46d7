"""A small data set in MVTec-AD's layout, made of noise."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from diadbench.datasets.samples import make_sample
from diadbench.datasets.samples.paint import Record

sys.path.insert(0, str(Path(__file__).parent))  # lists_maker
MakeTree = Callable[..., Path]


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    cache = tmp_path / "cache"
    monkeypatch.setenv("DIADBENCH_CACHE", str(cache))
    return cache


@pytest.fixture
def make_tree(tmp_path: Path) -> MakeTree:
    def make(
        classes: tuple[str, ...] = ("bolt", "nut"),
        train: int = 4,
        good: int = 2,
        bad: int = 3,
        size: int = 48,
        root: Path | None = None,
    ) -> Path:
        root = root or tmp_path / "data"
        rng = np.random.default_rng(0)

        def save(path: Path, values: np.ndarray) -> None:
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(values).save(path)

        for name in classes:
            for split, count in (("train", train), ("test", good)):
                for i in range(count):
                    save(root / name / split / "good" / f"{i:03}.png", rng.integers(0, 256, (size, size, 3), np.uint8))
            for i in range(bad):
                mask = np.zeros((size, size), np.uint8)
                mask[8 : 16 + i, 20:30] = 255
                save(root / name / "test" / "crack" / f"{i:03}.png", rng.integers(0, 256, (size, size, 3), np.uint8))
                save(root / name / "ground_truth" / "crack" / f"{i:03}_mask.png", mask)
        return root

    return make


@pytest.fixture
def brought(tmp_path: Path) -> tuple[Path, list[Record]]:
    """A sample of two classes of MVTec-AD, and its records."""
    root = tmp_path / "data"
    return root, make_sample("mvtec", root, classes=["bottle", "cable"], size=24)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """MVTec-AD's folders with five training images; no list yet."""
    from lists_maker import mvtec_class

    mvtec_class(tmp_path / "data/mvtec_anomaly_detection", "bottle")
    return tmp_path / "data"
