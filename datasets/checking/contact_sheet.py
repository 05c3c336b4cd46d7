"""A picture of a dataset: for each class a training image, a normal and an anomalous test image, and a mask."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from PIL import Image, ImageDraw

from diadbench.common.files import write_with
from diadbench.datasets.base import Dataset
from diadbench.datasets.decoding.images import inside, read_image
from diadbench.datasets.decoding.mask_files import read_mask
from diadbench.datasets.decoding.masks import resize_mask
from diadbench.datasets.layouts.roots import find_root
from diadbench.datasets.lookup import get

#: Side of an image and height of a row's title, in pixels.
_TILE, _LABEL = 128, 16
_COLUMNS = ("training", "normal", "anomalous", "mask")


def contact_sheet(
    name: str, root: Path | str | None, out: Path | str, *, classes: Sequence[str] | None = None, **options: Any
) -> Path:
    """Draw a PNG with one row per class: a training image, a normal and an anomalous test image, and its mask.

    Args:
        name: Registered name.
        root: Its directory; ``None`` looks where :func:`find_root` does.
        out: The PNG to write.
        classes: These classes only.
        options: Options of the dataset.

    Returns:
        The path that was written.

    Raises:
        UserError: The dataset is not found, or an image can't be read.
    """
    dataset = get(name, find_root(name, root), classes=classes, **options)
    rows = [_row(dataset, cls) for cls in dataset.classes]
    sheet = Image.new("RGB", (_TILE * len(_COLUMNS), (_TILE + _LABEL) * len(rows)), "white")
    for i, (cls, tiles) in enumerate(zip(dataset.classes, rows)):
        top = i * (_TILE + _LABEL)
        ImageDraw.Draw(sheet).text((4, top + 2), f"{cls}: {', '.join(_COLUMNS)}", fill="black")
        for j, tile in enumerate(tiles):
            sheet.paste(tile, (j * _TILE, top + _LABEL))
    target = Path(out)
    target = target if target.suffix.lower() == ".png" else target.with_name(target.name + ".png")
    write_with(target, lambda path: sheet.save(path, "PNG"))
    return target


def _row(dataset: Dataset, cls: str) -> list[Image.Image]:
    table = dataset.samples[dataset.samples["class"] == cls]
    kinds = [(table["split"] == "train"), (table["split"] == "test") & (table["label"] == 0)]
    bad = table[(table["split"] == "test") & (table["label"] == 1)]
    tiles = [_image(dataset, table[kind]) for kind in kinds]
    return [*tiles, _image(dataset, bad), _mask(dataset, bad)]


def _image(dataset: Dataset, rows: pd.DataFrame) -> Image.Image:
    if rows.empty:
        return Image.new("RGB", (_TILE, _TILE), "lightgrey")
    return Image.fromarray(read_image(inside(dataset.root, rows["image"].iloc[0]))).resize((_TILE, _TILE))


def _mask(dataset: Dataset, rows: pd.DataFrame) -> Image.Image:
    mask: npt.NDArray[np.bool_] = np.zeros((_TILE, _TILE), dtype=bool)
    if len(rows) and rows["mask"].iloc[0]:
        mask = resize_mask(read_mask(inside(dataset.mask_root, rows["mask"].iloc[0]), dataset.reading), (_TILE, _TILE))
    return Image.fromarray(np.where(mask, np.uint8(255), np.uint8(0))).convert("RGB")
