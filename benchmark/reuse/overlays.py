"""Heat maps and overlays of predictions, drawn from kept maps with one colour scale for all."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from diadbench.benchmark.reuse.photos import Photo
from diadbench.benchmark.reuse.predictions import Predictions, replace_file
from diadbench.common.heatmap import overlay, paint
from diadbench.datasets.decoding.images import read_image

#: Maximum number of threads that draw, because each holds a picture of full size.
PAINTERS = 8
#: Level of zlib: 6, the default, takes two to three times as long for files that are as large or 10 % smaller.
FAST = 1


def paint_all(
    kept: Predictions, photos: Collection[Photo], progress: Callable[[int, int, str], None], depth: int = 16
) -> None:
    """Write ``maps/NAME.png`` and ``overlays/NAME.png`` of the size of each image, where they are not there yet.

    All share one colour scale, from the least to the greatest value of all maps. An existing picture already has this
    scale (:meth:`Predictions.rescaled`). ``depth``: bits that 16-bit images use.
    """
    whole = [entry for entry in kept.entries.values() if "broken" not in entry]
    low, high = min(entry["map_min"] for entry in whole), max(entry["map_max"] for entry in whole)
    kept.rescaled(low, high)
    paths = {photo.image: photo.path for photo in photos}
    jobs = [(paths[entry["image"]], entry["name"]) for entry in whole]
    with ThreadPoolExecutor(min(PAINTERS, os.cpu_count() or 1)) as pool:
        painted = pool.map(lambda job: _paint(kept, job[0], job[1], (low, high), depth), jobs)
        for done, _ in enumerate(painted, 1):
            progress(done, len(jobs), "paint")


def _paint(kept: Predictions, path: Path, name: str, limits: tuple[float, float], depth: int) -> None:
    heat, over = kept.out / "maps" / f"{name}.png", kept.out / "overlays" / f"{name}.png"
    if over.is_file():  # written last
        return
    image = read_image(path, depth)
    values = np.load(kept.map_file(name))
    size = (image.shape[1], image.shape[0])
    colours = Image.fromarray(paint(values, *limits)).resize(size, Image.Resampling.BILINEAR)
    laid_over = Image.fromarray(overlay(image, np.asarray(colours)))
    for picture, place in ((colours, heat), (laid_over, over)):
        replace_file(place, partial(picture.save, format="PNG", compress_level=FAST))
