"""The images of a cell on the page: a few, small, the same ones for every method."""

from __future__ import annotations

import base64
import io
from typing import Any

import numpy as np
from PIL import Image

from diadbench.common.heatmap import level, overlay, paint
from diadbench.reports.figures.gallery import Choice, Picture, choose, gallery_of, scale
from diadbench.reports.tables.escape import clean
from diadbench.reports.tables.source import Source

#: maximum number of images of all methods together; with many methods each shows fewer
ALL_SHOTS = 720
#: longest side in pixels of an image, and the most images of one method on one dataset
THUMB = 128
SHOTS = 12


def shots_of(source: Source, dataset: str, most: int = SHOTS) -> dict[str, list[dict[str, Any]]]:
    """Return, for each method, the chosen images of a dataset as small JPEGs."""
    gallery = gallery_of(source, dataset)
    chosen = _few(choose(gallery), most)
    bases: dict[int, list[tuple[str, str]]] = {}
    shown: dict[int, Any] = {}  # an image is the same in every method's gallery
    found: dict[str, list[dict[str, Any]]] = {}
    for method, pictures in gallery.items():
        by_row = {picture.row: picture for picture in pictures}
        low, high = scale(pictures)
        found[method] = []
        for choice in chosen:
            picture = by_row[choice.row]
            if choice.row not in bases:
                shown[choice.row] = picture.image
                bases[choice.row] = [("image", _jpeg(picture.image)), ("ground truth", _truth(picture))]
            images = [*bases[choice.row]]
            heat, rebuilt = picture.maps()
            if heat is not None:
                painted = paint(heat, low, high)
                images.append(("anomaly map", _jpeg(painted)))
                if painted.shape == shown[choice.row].shape:
                    opacity = 0.65 * level(heat, low, high)  # The image is visible where the map is low.
                    images.append(("overlay", _jpeg(overlay(shown[choice.row], painted, opacity))))
            if rebuilt is not None:
                images.append(("reconstruction", _jpeg(rebuilt)))
            texts = {key: clean(getattr(picture, key)) for key in ("name", "kind", "defect")}
            found[method].append({**texts, "why": choice.why, "score": f"{picture.score:.4g}", "images": images})
    return found


def _few(chosen: list[Choice], most: int) -> list[Choice]:
    """Limit the page's size: with many classes, use only each class's median, and at most ``most`` of them."""
    if len(chosen) <= most:
        return chosen
    medians = [choice for choice in chosen if choice.why in ("median", "only")] or chosen
    step = -(-len(medians) // most)
    return medians[::step]


def _truth(picture: Picture) -> str:
    if picture.mask is None:
        return ""
    return _jpeg(np.repeat((picture.mask[..., None] * 255).astype(np.uint8), 3, axis=2))


def _jpeg(pixels: Any) -> str:
    image = Image.fromarray(pixels)
    image.thumbnail((THUMB, THUMB))
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=82)
    return "data:image/jpeg;base64," + base64.b64encode(stream.getvalue()).decode()
