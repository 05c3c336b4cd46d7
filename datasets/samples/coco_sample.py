"""A sample of COCO 2017: all 80 categories, polygons with fractions, crowds as RLE, images without annotations."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from diadbench.datasets.samples.paint import Painter, Record, Spec, touch
from diadbench.datasets.sets.coco_masks import CATEGORIES, held_out, write_lists

_SPLITS = range(4)


def write_coco(out: Path, spec: Spec, layout: str) -> list[Record]:
    """Write COCO-AD: ``owner`` (COCO's annotations and images), ``ader`` (also its lists and masks)."""
    painter = Painter(spec)
    made = {}
    for split, count in (("train2017", spec.train), ("val2017", spec.good + spec.bad)):
        made[split] = _annotations(out, painter, split, 4 * count + 2)
    if layout == "ader":
        write_lists(out, out, mode="RGB")
    return [record for k in _SPLITS for record in _records(made, k, layout)]


def _annotations(out: Path, painter: Painter, split: str, count: int) -> dict[str, set[int]]:
    """Write one annotation file and its images; return the categories that each image shows."""
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    shown: dict[str, set[int]] = {}
    offset = 0 if split == "train2017" else 100_000
    for n in range(count):
        number = offset + 7 * n + 139
        name = f"{number:012d}.jpg"
        height, width = painter.shape(number)
        block = [] if n == count - 1 else [CATEGORIES[(n % 4) * 20 + n % 20]]  # The last image has no annotation.
        if n == count - 2:
            block.append(CATEGORIES[(n % 4 + 1) % 4 * 20])  # two blocks in one image
        pixels = painter.pixels("coco", number, bad=False)
        for place, category in enumerate(block):
            corners, pixels = _object(pixels, category, place)
            crowd = n % 5 == 2
            segmentation: Any = [corners] if not crowd else _rle(corners, height, width)
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": number,
                    "category_id": category,
                    "segmentation": segmentation,
                    "iscrowd": int(crowd),
                    "area": 1.0,
                    "bbox": [corners[0], corners[1], corners[2] - corners[0], corners[5] - corners[1]],
                }
            )
        image = Image.fromarray(pixels)
        (out / split).mkdir(parents=True, exist_ok=True)
        (image.convert("L") if n % 7 == 3 else image).save(out / split / name, quality=92)
        images.append({"id": number, "file_name": name, "height": height, "width": width})
        shown[name] = set(block)
    categories = [{"id": i, "name": f"category {i}", "supercategory": "sample"} for i in CATEGORIES]
    content = {"info": {}, "licenses": [], "images": images, "annotations": annotations, "categories": categories}
    touch(out / "annotations" / f"instances_{split}.json", json.dumps(content))
    return shown


def _object(pixels: Any, category: int, place: int) -> tuple[list[float], Any]:
    """Paint a box in the category's colour; return its corners as a polygon, with fractions as in COCO."""
    height, width = pixels.shape[:2]
    left, top = width * (0.15 + 0.4 * place), height * 0.25
    right, bottom = left + width * 0.3, top + height * 0.4
    painted = pixels.copy()
    colour = np.random.default_rng(category).integers(0, 255, 3)
    painted[int(top) : int(bottom) + 1, int(left) : int(right) + 1] = colour
    return [round(float(value), 2) for value in (left, top, right, top, right, bottom, left, bottom)], painted


def _rle(corners: list[float], height: int, width: int) -> dict[str, Any]:
    """Return the box as COCO writes crowds: run lengths in column-major order, starting with zeros."""
    mask = np.zeros((height, width), dtype=np.uint8)
    mask[int(corners[1]) : int(corners[5]) + 1, int(corners[0]) : int(corners[2]) + 1] = 1
    flat = mask.flatten(order="F")
    edges = np.flatnonzero(np.diff(flat)) + 1
    return {"size": [height, width], "counts": np.diff([0, *edges, flat.size]).tolist()}


def _records(made: dict[str, dict[str, set[int]]], k: int, layout: str) -> list[Record]:
    records = []
    for name, shown in made["train2017"].items():
        if shown and not shown & held_out(k):
            records.append(Record(f"train2017/{name}", "", f"split{k}", "train", 0, "good"))
    for name, shown in made["val2017"].items():
        bad = bool(shown & held_out(k))
        mask = f"val2017_mask_ad_20_{k}/{Path(name).stem}.png" if bad else ""
        if shown:
            defect = "held-out category" if bad else "good"
            records.append(Record(f"val2017/{name}", mask, f"split{k}", "test", int(bad), defect))
    return records
