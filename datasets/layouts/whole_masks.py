"""Masks of the whole image, as UniAD uses them if a list names no mask."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from diadbench.common.cache.disk_space import writing
from diadbench.common.cache.usage import mark_used
from diadbench.common.files import cache_dir, write_with
from diadbench.datasets.decoding.images import inside, read_image
from diadbench.datasets.layouts.folders import MASK_FOLDERS, subfolders

#: Note on such masks in tables.
WHOLE_FLAG = "the list names no masks: the whole image counts as anomalous, as in UniAD"


def whole_masks_dir() -> Path:
    """Return the directory in the cache for masks of whole images, one for each size."""
    place = cache_dir() / "masks" / "whole"
    mark_used(place)
    return place


def whole_masks(table: pd.DataFrame, root: Path) -> list[str]:
    """Make the masks of the anomalous samples and return their names, row by row; ``""`` for normal samples.

    Nothing is written below the root.

    Args:
        table: Rows of the sample table.
        root: The dataset's root.

    Raises:
        UserError: An image can't be read, or the cache can't be written.
    """
    place = whole_masks_dir()
    names = [_name(inside(root, image)) if label else "" for image, label in zip(table["image"], table["label"])]
    with writing(place):
        for name in sorted(set(names) - {""}):
            width, _, height = name.removesuffix(".png").partition("x")
            if not (place / name).is_file():
                white = Image.fromarray(np.full((int(height), int(width)), 255, np.uint8))
                write_with(place / name, white.save)
    return names


def has_mask_folder(table: pd.DataFrame, root: Path) -> bool:
    """Whether a folder with a usual name of masks lies beside the images of a table, or above them up to the root.

    In that case masks exist, and the list omits them.
    """
    above = {place for image in table["image"] for place in (root / str(image)).parents}
    folders = [place for place in above if root in (place, *place.parents)]
    return any(name.lower() in MASK_FOLDERS for place in folders for name in subfolders(place, ""))


def _name(path: Path) -> str:
    height, width = read_image(path).shape[:2]
    return f"{width}x{height}.png"
