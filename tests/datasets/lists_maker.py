"""Small data in MVTec-AD's folders, and lists of it as DiAD and UniAD write them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from diadbench.datasets import get
from diadbench.datasets.table import count

Record = dict[str, Any]
#: A function that writes records as the text of a list.
Write = Callable[[list[Record]], str]
#: Images of a listed class: for training, normal and anomalous ones of the test.
LISTED = [3, 2, 3]


def paint(path: Path, seed: int, *, defect: bool = False, size: int = 24) -> None:
    """Write a noisy image; with a bright box if it is anomalous."""
    values = np.random.default_rng(seed).integers(0, 120, (size, size, 3), dtype=np.uint8)
    if defect:
        values[4:12, 4:12] = 250
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values).save(path)


def paint_mask(path: Path, size: int = 24, *, empty: bool = False) -> None:
    """Write the mask of the box."""
    values = np.zeros((size, size), np.uint8)
    values[4:12, 4:12] = 0 if empty else 255
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values).save(path)


def mvtec_class(root: Path, name: str, *, train: int = 5, good: int = 2, bad: int = 3, kind: str = "scratch") -> None:
    """Write the folders of one class. Seeds follow the name, so that no two classes have an image in common."""
    seed = sum(name.encode()) * 1000
    for i in range(train):
        paint(root / name / f"train/good/{i:03}.png", seed + i)
    for i in range(good):
        paint(root / name / f"test/good/{i:03}.png", seed + 100 + i)
    for i in range(bad):
        paint(root / name / f"test/{kind}/{i:03}.png", seed + 200 + i, defect=True)
        paint_mask(root / name / f"ground_truth/{kind}/{i:03}_mask.png")


def records(name: str = "bottle", *, train: int = 3, kind: str = "scratch") -> tuple[list[Record], list[Record]]:
    """Return training and test records: three of the five training images, so that one sees who decides."""
    normal = {"label": 0, "label_name": "good", "clsname": name}
    first = [{"filename": f"{name}/train/good/{i:03}.png", **normal} for i in range(train)]
    second = [{"filename": f"{name}/test/good/{i:03}.png", **normal} for i in range(2)]
    for i in range(3):
        mask = f"{name}/ground_truth/{kind}/{i:03}_mask.png"
        bad = {"filename": f"{name}/test/{kind}/{i:03}.png", "label": 1, "label_name": "defective"}
        second.append({**bad, "maskname": mask, "clsname": name})
    return first, second


def lines(rows: list[Record]) -> str:
    """Return records as JSON lines."""
    return "".join(json.dumps(row) + "\n" for row in rows)


def write_lists(folder: Path, train: str, test: str) -> None:
    """Write ``train.json`` and ``test.json``."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "train.json").write_text(train)
    (folder / "test.json").write_text(test)


def counted(name: str, root: Path, **options: Any) -> list[int]:
    """Return how many images of the first class are for training, normal and anomalous."""
    return [int(n) for n in count(get(name, root, **options).samples).to_numpy()[0]]


def by_class(name: str, root: Path, **options: Any) -> dict[str, list[int]]:
    """Return how many images of each class are for training, normal and anomalous."""
    table = count(get(name, root, **options).samples)
    return {str(name): [int(n) for n in row] for name, row in zip(table.index, table.to_numpy())}


def deeper(root: Path, folder: str, place: str, names: list[str] | None = None) -> None:
    """Move images of a folder one folder deeper."""
    (root / folder / place).mkdir(parents=True)
    for path in sorted((root / folder).glob("*.png")):
        if names is None or path.name in names:
            path.rename(root / folder / place / path.name)
