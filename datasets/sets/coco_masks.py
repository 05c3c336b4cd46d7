"""Make COCO-AD from COCO 2017's annotations: four lists and the masks of held-out categories (arXiv 2404.10760).

The lists and masks are those of ADer's ``gen_benchmark/coco.py``: every image with an annotation counts, including
crowd regions; polygons are filled without holes after their corners are truncated to integers; RLE regions are decoded.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from filelock import FileLock
from PIL import Image

from diadbench.common.cache.disk_space import writing
from diadbench.common.cache.usage import mark_used
from diadbench.common.errors import Skip, UserError
from diadbench.common.files import cache_dir, write_json, write_with
from diadbench.datasets.decoding.fingerprint import digest_of
from diadbench.datasets.decoding.images import inside
from diadbench.datasets.decoding.workers import Problems, Progress, cores, run_all
from diadbench.datasets.layouts.indices import load_json

#: The 80 category ids of COCO, in order and with COCO's gaps. Blocks of 20 are held out in turn.
CATEGORIES = tuple(i for i in range(1, 91) if i not in (12, 26, 29, 30, 45, 66, 68, 69, 71, 83))
SPLITS = range(4)
_MADE = "made.json"
_VERSION = 1
Mask = npt.NDArray[np.uint8]


def meta_name(split: int) -> str:
    """Return ADer's name for a split's list."""
    return f"meta_20_{split}.json"


def mask_folder(split: int) -> str:
    """Return ADer's name for a split's folder of masks."""
    return f"val2017_mask_ad_20_{split}"


def held_out(split: int) -> frozenset[int]:
    """Return the ids of the 20 categories that are anomalies in a split (0..3)."""
    return frozenset(CATEGORIES[split * 20 : split * 20 + 20])


def annotation_files(root: Path) -> dict[str, Path]:
    """Return the annotation files of ``train2017`` and ``val2017``. Raises UserError when one is missing."""
    found = {name: root / "annotations" / f"instances_{name}.json" for name in ("train2017", "val2017")}
    for path in found.values():
        if not path.is_file():
            raise UserError(f"{path}: file not found; get COCO 2017's annotations (https://cocodataset.org/#download)")
    return found


def made_dir(root: Path) -> Path:
    """Return the directory, below the cache, of the lists and masks that are made from these annotations."""
    files = annotation_files(root).values()
    stats = [(str(path.resolve()), path.stat().st_size, path.stat().st_mtime_ns) for path in files]
    target = cache_dir() / "coco_ad" / digest_of(repr((_VERSION, stats)).encode())
    mark_used(target)
    return target


def make(root: Path, progress: Progress | None = None) -> Path:
    """Make the lists and masks, or those that a killed run left unfinished. Nothing is written below ``root``.

    Args:
        root: Directory with ``annotations``, ``train2017`` and ``val2017``.
        progress: Called while masks are drawn.

    Returns:
        Directory with ``meta_20_<k>.json`` and ``val2017_mask_ad_20_<k>/<image id>.png`` for k = 0..3.

    Raises:
        UserError: Annotations are missing or broken, or the cache can't be written.
        Skip: pycocotools is not installed.
    """
    target = made_dir(root)
    if (target / _MADE).is_file():
        return target
    with writing(cache_dir()):
        target.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{target}.lock"):
            if not (target / _MADE).is_file():
                write_lists(root, target, progress)
                write_json(target / _MADE, {"annotations": str(root)})
    return target


def write_lists(root: Path, target: Path, progress: Progress | None = None, *, mode: str = "L") -> None:
    """Write the four lists and their masks into ``target``; existing masks are kept.

    Args:
        root: Directory with ``annotations``.
        target: Directory to write into.
        progress: Called while masks are drawn.
        mode: Pillow's mode of the masks: ``L``, or ``RGB`` as ADer writes them.
    """
    _maskutils()  # Crowd regions need it, so report its absence before the long part.
    train, val = (Annotations(path) for path in annotation_files(root).values())
    for split in SPLITS:
        ids = held_out(split)
        records = [_record(f"train2017/{train.names[i]}", "") for i in train.images if not train.categories[i] & ids]
        tests = []
        for i in val.images:
            anomalous = bool(val.categories[i] & ids)
            name = f"{mask_folder(split)}/{Path(val.names[i]).stem}.png"
            tests.append(_record(f"val2017/{val.names[i]}", name if anomalous else ""))
        write_json(target / meta_name(split), {"train": {"coco": records}, "test": {"coco": tests}})
    todo = [(split, i) for split in SPLITS for i in val.images if val.categories[i] & held_out(split)]
    for split in SPLITS:
        (target / mask_folder(split)).mkdir(exist_ok=True)

    def draw(n: int) -> None:
        split, i = todo[n]
        path = inside(target, f"{mask_folder(split)}/{Path(val.names[i]).stem}.png")
        if path.is_file():  # Written atomically, so that a killed run can be resumed.
            return
        regions = [one for one in val.annotations[i] if one["category_id"] in held_out(split)]
        mask = mask_of(regions, val.sizes[i], f"{val.path}: image {i}")
        image = Image.fromarray(mask).convert(mode)
        write_with(path, lambda name: image.save(name))

    problems = Problems()
    run_all(draw, len(todo), cores(), problems, progress)
    problems.raise_any("COCO-AD")


class Annotations:
    """One annotation file: its annotated images, in the order of their first annotation.

    Attributes:
        images: Ids of images that have an annotation, as ADer iterates over them.
        names: File name of each image.
        sizes: ``(height, width)`` of each image, from the JSON; no image is opened.
        categories: Categories that each image shows.
        annotations: Annotations of each image.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        content = load_json(path)
        if not isinstance(content, dict) or not {"images", "annotations"} <= set(content):
            raise UserError(f"{path}: expected an object with images and annotations")
        for category in content.get("categories", []):
            _need(category, ("id",), f"{path}: categories")
        known = {category["id"] for category in content.get("categories", [])} or set(CATEGORIES)
        strange = known - set(CATEGORIES)
        if strange:
            raise UserError(f"{path}: category {min(strange)} is none of COCO's 80; expected COCO 2017's annotations")
        self.names: dict[int, str] = {}
        self.sizes: dict[int, tuple[int, int]] = {}
        for image in content["images"]:
            _need(image, ("id", "file_name", "height", "width"), f"{path}: images")
            _safe(image["file_name"], path)
            self.names[image["id"]] = image["file_name"]
            self.sizes[image["id"]] = (image["height"], image["width"])
        self.annotations: dict[int, list[Mapping[str, Any]]] = {}
        self.categories: dict[int, set[int]] = {}
        for one in content["annotations"]:
            _need(one, ("image_id", "category_id", "segmentation"), f"{path}: annotations")
            if one["image_id"] not in self.names:
                raise UserError(f"{path}: annotation {one.get('id')}: no image {one['image_id']} in images")
            if one["category_id"] not in known:
                raise UserError(f"{path}: annotation {one.get('id')}: no category {one['category_id']} in categories")
            self.annotations.setdefault(one["image_id"], []).append(one)
            self.categories.setdefault(one["image_id"], set()).add(one["category_id"])
        self.images = list(self.annotations)


def mask_of(regions: Iterable[Mapping[str, Any]], size: tuple[int, int], where: str = "") -> Mask:
    """Draw the union of annotated regions.

    Args:
        regions: Annotations with ``segmentation``: a list of polygons, or an RLE (compressed or not).
        size: ``(height, width)`` of the image.
        where: For error texts.

    Returns:
        ``uint8 (H,W)``, 0 or 255.

    Raises:
        UserError: A polygon or RLE that isn't one.
        Skip: pycocotools is not installed.
    """
    mask = np.zeros(size, dtype=np.uint8)
    for region in regions:
        segmentation = region["segmentation"]
        try:
            if isinstance(segmentation, list):
                _fill(mask, segmentation)
            else:
                mask[_decoded(segmentation, size) > 0] = 255
        except Skip:
            raise
        except (ValueError, TypeError, KeyError, IndexError) as error:
            raise UserError(f"{where}: annotation {region.get('id')}: broken segmentation ({error})") from error
    return mask


def _fill(mask: Mask, polygons: list[list[float]]) -> None:
    import cv2

    for polygon in polygons:
        corners = np.asarray(polygon, dtype=np.float64).astype(np.int32).reshape(-1, 2)  # truncated, as in ADer
        cv2.fillPoly(mask, [corners], (255,))


def _decoded(segmentation: Mapping[str, Any], size: tuple[int, int]) -> npt.NDArray[np.uint8]:
    maskutils = _maskutils()
    height, width = size
    rle = dict(segmentation)
    if tuple(rle["size"]) != size:
        raise ValueError(f"RLE of size {rle['size']} for an image of {[height, width]}")
    if isinstance(rle["counts"], list):
        rle = maskutils("frPyObjects")(rle, height, width)
    decoded: npt.NDArray[np.uint8] = maskutils("decode")(rle)
    return decoded


def _maskutils() -> Callable[[str], Callable[..., Any]]:
    try:
        from pycocotools import mask
    except ImportError as error:
        raise Skip("COCO-AD needs pycocotools; install it with: pip install 'diadbench[coco]'") from error
    return lambda name: getattr(mask, name)


def _record(image: str, mask: str) -> dict[str, Any]:
    return {"img_path": image, "mask_path": mask, "cls_name": "coco", "specie_name": "", "anomaly": int(bool(mask))}


def _need(record: Any, keys: tuple[str, ...], where: str) -> None:
    missing = [key for key in keys if not isinstance(record, dict) or key not in record]
    if missing:
        raise UserError(f"{where}: a record without {missing[0]!r}: {str(record)[:60]}")


def _safe(name: Any, path: Path) -> None:
    if not isinstance(name, str) or os.path.isabs(name) or ".." in name.replace("\\", "/").split("/"):
        raise UserError(f"{path}: file_name {name!r} leaves the data root; refused")
