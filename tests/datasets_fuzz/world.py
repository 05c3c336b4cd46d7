"""A data set on the disk and the truth about it, which no code of the reader has touched.

The truth comes from the writers of the samples, from Pillow and from numpy alone; each mutation says itself what it
does to the truth.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from diadbench.datasets.samples import make_sample
from diadbench.datasets.samples.paint import Record

#: Side of the images of a sample: small, so that a mutation costs little.
SIDE = 16
Array = npt.NDArray[Any]


@dataclass
class Truth:
    """A sample as the user means it: the file, its class, split and label, its pixels and those of its mask."""

    image: str
    mask: str
    cls: str
    split: str
    label: int
    pixels: Array
    anomalous: Array | None
    #: How far a reader's values may be from the pixels: re-encoding and 16 bits round.
    tolerance: int = 0


@dataclass
class World:
    """A copy of a sample that a mutation may damage.

    Attributes:
        name: Dataset.
        layout: Its layout.
        root: Where it lies.
        samples: The truth.
        lists: Whether files name the samples.
        done: What was done to it, for the report of a failure.
    """

    name: str
    layout: str
    root: Path
    samples: list[Truth]
    lists: list[Path]
    done: list[str] = field(default_factory=list)

    def path(self, relative: str) -> Path:
        return self.root / relative

    @property
    def bad(self) -> list[Truth]:
        return [one for one in self.samples if one.label and one.anomalous is not None]

    def write(self, path: Path, content: bytes) -> None:
        """Write a file of the copy; the original, to which it may be a hard link, stays."""
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_symlink() or path.is_file():
            path.unlink()
        path.write_bytes(content)


def original(name: str, layout: str, home: Path) -> World:
    """Write a sample and look at it with Pillow."""
    root = home / f"{name}-{layout}"
    classes = _CLASSES.get(name)
    records = make_sample(name, root, layout=layout, classes=classes, train=2, good=1, bad=3, size=SIDE, seed=7)
    samples = [_truth(root, record) for record in records]
    lists = [path for path in root.rglob("*") if path.suffix in (".json", ".csv") and path.stat().st_size]
    return World(name, layout, root, samples, sorted(lists))


#: One class of each set; two of VisA, whose list covers several.
_CLASSES = {
    "mvtec": ["bottle"],
    "visa": ["candle"],
    "realiad": ["mint"],
    "unimedical": ["brain"],
    "mvtec3d": ["bagel"],
    "btad": ["01"],
    "mpdd": ["tubes"],
    "mvtec_loco": ["pushpins"],
    "mvtec_ad_2": ["can"],
    "dagm": ["Class1"],
}


def _truth(root: Path, record: Record) -> Truth:
    pixels = np.asarray(Image.open(root / record.image).convert("RGB"))
    mask = root / record.mask if record.mask and record.label else None
    return Truth(
        record.image, record.mask, record.cls, record.split, record.label, pixels, _plain_mask(mask) if mask else None
    )


def _plain_mask(path: Path) -> Array | None:
    if not path.exists():
        return None  # masks that the reader makes (COCO)
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    parts = [np.asarray(Image.open(file)) for file in files]
    return np.any([part.reshape(*part.shape[:2], -1).max(axis=2) > 0 for part in parts], axis=0)


def copy_of(world: World, home: Path) -> World:
    """Return a copy whose files are hard links: a mutation writes new files."""
    root = home / "data"
    shutil.copytree(world.root, root, copy_function=os.link)
    lists = [root / path.relative_to(world.root) for path in world.lists]
    return World(world.name, world.layout, root, [Truth(**vars(one)) for one in world.samples], lists)
