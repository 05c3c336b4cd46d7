"""The data sets of a grid: where they lie, whether their tables are whole, and whether a few files can be read."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image, UnidentifiedImageError

from diadbench.benchmark.doctor.finding import Finding
from diadbench.benchmark.planning.grid import DatasetSpec, Grid
from diadbench.benchmark.planning.resolving.absent import published_images
from diadbench.common.errors import UserError

if TYPE_CHECKING:
    import pandas as pd

    from diadbench.datasets.base import Dataset

#: Files of a set that are opened, evenly spread over its table.
OPENED = 24
Images = dict[str, tuple[int, int] | None]


def look_at_data(grid: Grid) -> tuple[list[Finding], Images]:
    """Look at each data set of a grid; opens :data:`OPENED` files of each, however large it is.

    Returns:
        The findings; training and test images by the set's label, published counts where the set isn't here.
    """
    found, images = [], {}
    for label, spec in grid.datasets.items():
        finding, images[label] = _one(grid, label, spec)
        found.append(finding)
    return found, images


def _one(grid: Grid, label: str, spec: DatasetSpec) -> tuple[Finding, tuple[int, int] | None]:
    from diadbench import datasets
    from diadbench.datasets.checking.check import refuse
    from diadbench.datasets.layouts.roots import find_root

    try:
        root = find_root(spec.dataset, root=spec.root, data_root=grid.data_root)
        dataset = datasets.get(spec.dataset, root, **spec.options)
        refuse(dataset)
        samples = dataset.samples
        broken = _broken(dataset, samples)
    except UserError as error:
        advice = f"diadbench datasets info {spec.dataset} says where it is from and how it lies"
        if spec.root or grid.data_root:
            advice = f"name the right folder: datasets.{label}.root=/data/{spec.dataset}, or data_root=/data"
        return Finding("data", label, "fail", str(error), advice), published_images(spec)
    counts = samples["split"].value_counts()
    images = int(counts.get("train", 0)), int(counts.get("test", 0))
    values = {"root": str(root or ""), "train": images[0], "test": images[1]}
    if broken:
        advice = f"diadbench datasets check {spec.dataset} --root {root} opens every file"
        return Finding("data", label, "fail", broken, advice, values), images
    where = f" in {root}" if root is not None else ""
    return Finding("data", label, "ok", f"{images[0]:,} + {images[1]:,} images{where}", values=values), images


def _broken(dataset: Dataset, samples: pd.DataFrame) -> str:
    """Say which of a few files can't be decoded; ``""`` where all can, and where images are drawn."""
    try:
        places = {"image": dataset.root, "mask": dataset.mask_root}
    except UserError:
        return ""
    files: list[Path] = []
    for column, place in places.items():
        names = samples[column][samples[column] != ""]
        files += [place / name for name in names.iloc[:: max(1, len(names) // OPENED)][:OPENED]]
    wrong = [reason for reason in map(_unreadable, files) if reason]
    return f"{len(wrong)} of {len(files)} files can't be read: {wrong[0]}" if wrong else ""


def _unreadable(path: Path) -> str:
    if path.is_dir() or path.suffix.lower() not in Image.registered_extensions():
        return "" if path.exists() else f"{path}: nothing there"
    try:
        with Image.open(path) as image:
            image.load()
    except (OSError, UnidentifiedImageError, ValueError, SyntaxError) as error:
        return f"{path}: {' '.join(str(error).split())[:120]}"
    return ""
