"""COCO-AD made from a small annotation file: splits, labels and masks as ADer's generator would make them."""

from __future__ import annotations

import json
import shutil
import stat
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from diadbench.common.errors import Skip
from diadbench.datasets import get
from diadbench.datasets.decoding.mask_files import read_mask
from diadbench.datasets.samples import make_sample
from diadbench.datasets.sets import coco_masks
from diadbench.datasets.sets.coco_masks import CATEGORIES, held_out, made_dir, make, mask_of

PERSON, ELEPHANT, WINE_GLASS, TABLE = 1, 22, 46, 67


def write_coco(
    root: Path, split: str, shown: dict[int, list[tuple[int, Any]]], size: tuple[int, int] = (20, 30)
) -> None:
    """``shown``: categories and segmentations by image id."""
    height, width = size
    annotations = []
    for image, regions in shown.items():
        (root / split).mkdir(parents=True, exist_ok=True)
        noise = np.random.default_rng(image + len(split)).integers(0, 255, (height, width, 3), dtype=np.uint8)
        Image.fromarray(noise).save(root / split / f"{image:012d}.jpg")
        for category, segmentation in regions:
            one = {"id": len(annotations) + 1, "image_id": image, "category_id": category}
            annotations.append({**one, "segmentation": segmentation, "iscrowd": int(isinstance(segmentation, dict))})
    images = [{"id": i, "file_name": f"{i:012d}.jpg", "height": height, "width": width} for i in shown]
    content = {"images": images, "annotations": annotations, "categories": [{"id": i} for i in CATEGORIES]}
    (root / "annotations").mkdir(exist_ok=True)
    (root / "annotations" / f"instances_{split}.json").write_text(json.dumps(content))


def box(left: float, top: float, right: float, bottom: float) -> list[list[float]]:
    return [[left, top, right, top, right, bottom, left, bottom]]


@pytest.fixture
def coco(tmp_path: Path) -> Path:
    root = tmp_path / "coco"
    crowd = {"size": [20, 30], "counts": [20 * 5, 20, 20 * 24]}  # column 5, by columns
    write_coco(
        root,
        "train2017",
        {
            1: [(PERSON, box(1, 1, 5, 5))],
            2: [(ELEPHANT, box(1, 1, 5, 5))],
            3: [(WINE_GLASS, box(1, 1, 5, 5))],
            4: [(TABLE, box(1, 1, 5, 5))],
            5: [(PERSON, box(1, 1, 5, 5)), (TABLE, box(1, 1, 5, 5))],
            6: [],
        },
    )
    write_coco(
        root,
        "val2017",
        {
            11: [(PERSON, box(2.9, 3.9, 8.2, 6.7)), (PERSON, box(20, 10, 22, 12))],
            12: [(ELEPHANT, box(0, 0, 3, 3)), (PERSON, crowd)],
            13: [(TABLE, box(10, 5, 12, 7))],
            14: [],
        },
    )
    return root


def test_categories_in_four_blocks() -> None:
    assert len(CATEGORIES) == 80
    assert (CATEGORIES[0], CATEGORIES[19], CATEGORIES[20], CATEGORIES[39]) == (1, 21, 22, 44)
    assert (CATEGORIES[40], CATEGORIES[59], CATEGORIES[60], CATEGORIES[79]) == (46, 65, 67, 90)
    assert [min(held_out(k)) for k in range(4)] == [PERSON, ELEPHANT, WINE_GLASS, TABLE]
    assert set().union(*map(held_out, range(4))) == set(CATEGORIES)


def test_splits_and_labels(coco: Path) -> None:
    table = get("coco_ad", coco).samples
    ids = table["image"].str.extract(r"0*(\d+)\.jpg")[0].astype(int)

    def of(k: int, split: str, label: int) -> set[int]:
        return set(ids[(table["class"] == f"split{k}") & (table["split"] == split) & (table["label"] == label)])

    assert [of(k, "train", 0) for k in range(4)] == [{2, 3, 4}, {1, 3, 4, 5}, {1, 2, 4, 5}, {1, 2, 3}]
    assert [of(k, "test", 1) for k in range(4)] == [{11, 12}, {12}, set(), {13}]
    assert [of(k, "test", 0) for k in range(4)] == [{13}, {11, 13}, {11, 12, 13}, {11, 12}]
    assert 14 not in set(ids)  # no annotation
    assert 6 not in set(ids)


def test_masks(coco: Path) -> None:
    dataset = get("coco_ad", coco)
    table = dataset.samples.set_index(["class", "image"])
    mask = read_mask(dataset.mask_root / table.loc[("split0", "val2017/000000000011.jpg"), "mask"])
    expected = np.zeros((20, 30), dtype=bool)
    expected[3:7, 2:9] = True  # corners are cut to integers, and belong to it
    expected[10:13, 20:23] = True
    assert (mask == expected).all()
    crowd = read_mask(dataset.mask_root / table.loc[("split0", "val2017/000000000012.jpg"), "mask"])
    assert crowd[:, 5].all()
    assert crowd.sum() == 20  # the elephant is normal here
    elephant = read_mask(dataset.mask_root / table.loc[("split1", "val2017/000000000012.jpg"), "mask"])
    assert elephant.sum() == 16
    assert not elephant[:, 5].any()


def test_a_hole_is_filled_and_compressed_rle_is_read() -> None:
    from pycocotools import mask as maskutils

    outer, inner = box(0, 0, 9, 9)[0], box(3, 3, 6, 6)[0]
    assert mask_of([{"segmentation": [outer, inner]}], (12, 12)).astype(bool).sum() == 100
    pixels = np.zeros((12, 12), dtype=np.uint8)
    pixels[2:4, 5:9] = 1
    rle = maskutils.encode(np.asfortranarray(pixels))
    for counts in (rle["counts"], rle["counts"].decode()):
        mask = mask_of([{"segmentation": {"size": [12, 12], "counts": counts}}], (12, 12))
        assert (mask == 255 * pixels).all()


def test_four_parts_in_either_setting(coco: Path) -> None:
    dataset = get("coco_ad", coco, classes=["split0", "split1", "split3"])
    for setting in ("multi-class", "one-per-class"):
        parts = dataset.parts(setting)  # type: ignore[arg-type]
        assert [part.classes for part in parts] == [("split0",), ("split1",), ("split3",)]


def test_nothing_is_written_into_a_read_only_root(coco: Path) -> None:
    before = sorted(coco.rglob("*"))
    for path in (coco, *(path for path in before if path.is_dir())):
        path.chmod(stat.S_IRUSR | stat.S_IXUSR)
    try:
        assert len(get("coco_ad", coco).samples) > 0
    finally:
        for path in (coco, *(path for path in before if path.is_dir())):
            path.chmod(0o755)
    assert sorted(coco.rglob("*")) == before


def test_a_killed_run_goes_on(coco: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[int] = []
    real = coco_masks.mask_of

    def dies(*args: Any) -> Any:
        drawn.append(1)
        if len(drawn) == 2:
            raise KeyboardInterrupt
        return real(*args)

    monkeypatch.setattr(coco_masks, "mask_of", dies)
    monkeypatch.setattr(coco_masks, "cores", lambda: 1)
    with pytest.raises(KeyboardInterrupt):
        make(coco)
    assert not (made_dir(coco) / "made.json").exists()
    kept = {path: path.stat().st_mtime_ns for path in made_dir(coco).rglob("*.png")}
    assert kept
    monkeypatch.setattr(coco_masks, "mask_of", real)
    make(coco)
    assert all(path.stat().st_mtime_ns == time for path, time in kept.items())
    assert len(list(made_dir(coco).rglob("*.png"))) == 4


def test_changed_annotations_are_made_anew(coco: Path) -> None:
    first = made_dir(coco)
    make(coco)
    write_coco(coco, "val2017", {11: [(PERSON, box(0, 0, 3, 3))]})
    assert made_dir(coco) != first


def test_aders_files_are_taken_when_they_are_there(coco: Path, tmp_path: Path) -> None:
    ours = get("coco_ad", coco).samples
    shutil.copytree(make(coco), coco, dirs_exist_ok=True)
    for path in coco.glob("val2017_mask_ad_20_*/*.png"):
        Image.open(path).convert("RGB").save(path)  # as cv2 writes them
    dataset = get("coco_ad", coco)
    assert dataset.found.layout.name == "ader"  # type: ignore[attr-defined]
    assert dataset.mask_root == coco
    assert dataset.samples.equals(ours)


def test_crowds_without_pycocotools_are_a_skip(coco: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import builtins

    real = builtins.__import__

    def no_coco(name: str, *args: Any, **kwargs: Any) -> Any:
        if name.startswith("pycocotools"):
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", no_coco)
    with pytest.raises(Skip, match=r"diadbench\[coco\]"):
        make(coco)


def test_sample_has_the_odd_cases(tmp_path: Path) -> None:
    make_sample("coco_ad", tmp_path / "x", size=32)
    content = json.loads((tmp_path / "x/annotations/instances_train2017.json").read_text())
    assert any(one["iscrowd"] for one in content["annotations"])
    assert len(content["images"]) > len({one["image_id"] for one in content["annotations"]})
    assert any(image["height"] != image["width"] for image in content["images"])
    assert any(Image.open(path).mode == "L" for path in (tmp_path / "x/train2017").iterdir())
