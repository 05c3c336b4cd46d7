"""Damage to sets with lists and folders of their own: Real-IAD, Uni-Medical, MVTec-3D, COCO-AD."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.damage import Case, edit_json, told


def first_test(change: dict[str, Any]) -> Callable[[Path], None]:
    """Change the first anomalous record of Real-IAD's audiojack."""

    def edit(content: Any) -> None:
        next(one for one in content["test"] if one["mask_path"]).update(change)

    return lambda root: edit_json(root / "realiad_jsons/audiojack.json", edit)


def coco(change: Callable[[Any], Any]) -> Callable[[Path], None]:
    return lambda root: edit_json(root / "annotations/instances_val2017.json", change)


def set_first(key: str, value: Any) -> Callable[[Any], None]:
    return lambda content: content["annotations"][0].update({key: value})


OUT = "../../etc/x_C1_1.jpg"
CASES = [
    Case(
        "traversal in Real-IAD's JSON",
        "realiad",
        "owner",
        "index",
        r"leaves the data root",
        first_test({"image_path": OUT}),
    ),
    Case(
        "traversal in Real-IAD's prefix",
        "realiad",
        "owner",
        "index",
        r"leaves the data root",
        lambda root: edit_json(
            root / "realiad_jsons/audiojack.json", lambda content: content["meta"].update(prefix="../../audiojack/")
        ),
    ),
    Case(
        "broken Real-IAD JSON",
        "realiad",
        "owner",
        "index",
        r"audiojack.json: broken JSON",
        lambda root: os.truncate(root / "realiad_jsons/audiojack.json", 700),
    ),
    Case(
        "anomalous view without a mask",
        "realiad",
        "owner",
        "index",
        r"audiojack.json.*has no mask_path",
        first_test({"mask_path": None}),
    ),
    Case(
        "normal view with a mask",
        "realiad",
        "owner",
        "index",
        r"audiojack.json.*is normal and has a mask_path",
        first_test({"anomaly_class": "OK"}),
    ),
    Case(
        "another category",
        "realiad",
        "owner",
        "index",
        r"category 'toy'; expected 'audiojack'",
        first_test({"category": "toy"}),
    ),
    Case("no view in the name", "realiad", "owner", "index", r"no view C1..C5", first_test({"image_path": "NG/x.jpg"})),
    Case(
        "a view is missing from the list",
        "realiad",
        "owner",
        "handled",
        r"4 of 5 views",
        lambda root: edit_json(root / "realiad_jsons/audiojack.json", lambda content: content["test"].pop() and None),
    ),
    Case(
        "one class's JSON is missing",
        "realiad",
        "owner",
        "handled",
        "",
        lambda root: (root / "realiad_jsons/audiojack.json").unlink(),
    ),
    Case(
        "no folder of masks in BMAD",
        "unimedical",
        "bmad",
        "index",
        r"Ungood: no folder of masks",
        lambda root: shutil.rmtree(root / "Brain/test/Ungood/anomaly_mask"),
    ),
    Case(
        "a BMAD mask is missing",
        "unimedical",
        "bmad",
        "index",
        r"00400.png: no mask",
        lambda root: (root / "Brain/test/Ungood/anomaly_mask/00400.png").unlink(),
    ),
    Case(
        "a gt of MVTec-3D is missing",
        "mvtec3d",
        "owner",
        "index",
        r"hole/rgb/000.png: no mask",
        lambda root: (root / "bagel/test/hole/gt/000.png").unlink(),
    ),
    Case(
        "a damaged scan",
        "mvtec3d",
        "owner",
        "files",
        r"xyz/000.tiff: damaged TIFF",
        lambda root: os.truncate(root / "bagel/train/good/xyz/000.tiff", 30),
    ),
    Case(
        "a scan is missing",
        "mvtec3d",
        "owner",
        "handled",
        "",
        lambda root: (root / "bagel/train/good/xyz/000.tiff").unlink(),
    ),
    Case(
        "a category that COCO hasn't",
        "coco_ad",
        "owner",
        "index",
        r"no category 12 in categories",
        coco(set_first("category_id", 12)),
    ),
    Case(
        "an annotation of no image",
        "coco_ad",
        "owner",
        "index",
        r"annotation 1: no image 5",
        coco(set_first("image_id", 5)),
    ),
    Case(
        "half a polygon",
        "coco_ad",
        "owner",
        "index",
        r"broken segmentation",
        coco(set_first("segmentation", [[1, 2, 3]])),
    ),
    Case(
        "an RLE of another size",
        "coco_ad",
        "owner",
        "index",
        r"RLE of size",
        coco(set_first("segmentation", {"size": [3, 3], "counts": [9]})),
    ),
    Case(
        "traversal in COCO's file names",
        "coco_ad",
        "owner",
        "index",
        r"leaves the data root",
        coco(lambda content: content["images"][0].update(file_name="../x.jpg")),
    ),
    Case(
        "broken annotations",
        "coco_ad",
        "owner",
        "index",
        r"instances_val2017.json: broken JSON",
        lambda root: os.truncate(root / "annotations/instances_val2017.json", 500),
    ),
    Case(
        "no annotations of train2017",
        "coco_ad",
        "owner",
        "index",
        r"instances_train2017.json: file not found",
        lambda root: (root / "annotations/instances_train2017.json").unlink(),
    ),
    Case(
        "a COCO image is missing",
        "coco_ad",
        "owner",
        "files",
        r"train2017/000000000139.jpg.*not found",
        lambda root: (root / "train2017/000000000139.jpg").unlink(),
    ),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.name}: {case.about}")
def test_damage(case: Case, whole: Callable[[str, str], Path], tmp_path: Path) -> None:
    told(case, whole(case.name, case.layout), tmp_path / "data")
