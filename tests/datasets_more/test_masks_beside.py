"""The traps of KolektorSDD, KolektorSDD2 and DAGM: labels from masks, training splits with defects, odd files."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from diadbench.common.errors import UserError
from diadbench.datasets import get
from diadbench.datasets.checking.check import check
from diadbench.datasets.facts.counts import published
from diadbench.datasets.facts.known_sets import CATALOG
from diadbench.datasets.samples import make_sample

SMALL = {"train": 6, "good": 4, "bad": 3, "size": 24}


def sample(name: str, root: Path) -> Path:
    make_sample(name, root, classes=list(CATALOG[name].info.classes[:2]), **SMALL)
    return root


def write(path: Path, value: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((24, 24), value, np.uint8)).save(path)


@pytest.mark.parametrize(
    ("name", "total"),
    [("kolektorsdd", (278, 69, 52)), ("kolektorsdd2", (2085, 894, 110)), ("dagm", (7004, 6996, 1054))],
)
def test_published_counts(name: str, total: tuple[int, int, int]) -> None:
    rows = published(name)[0][1]
    assert set(rows) == set(CATALOG[name].info.classes)
    assert tuple(sum(getattr(row, key) for row in rows.values()) for key in ("train", "good", "bad")) == total


@pytest.mark.parametrize("name", ["kolektorsdd", "kolektorsdd2", "dagm"])
def test_what_is_left_out_is_told_and_no_stray_file(name: str, tmp_path: Path) -> None:
    root = sample(name, tmp_path / "x")
    report = check(name, root, size=24)
    assert report.ok
    assert not [one for one in report.of("warning") if one.kind == "extra"], report.text()
    flags = " ".join(get(name, root).flags)
    assert ("drawn with seed 0" if name == "kolektorsdd" else "2 anomalous training images left out") in flags


def test_kolektorsdd_labels_come_from_the_masks(tmp_path: Path) -> None:
    root = sample("kolektorsdd", tmp_path / "x")
    before = get("kolektorsdd", root).samples
    assert set(before.query("split == 'train'")["label"]) == {0}
    bad = before.query("label == 1")["image"].iloc[0]
    mask = root / bad.replace(".jpg", "_label.bmp")
    size = Image.open(mask).size
    Image.new("L", size).save(mask)
    assert bad not in set(get("kolektorsdd", root).samples.query("label == 1")["image"])
    values = np.zeros(size[::-1], np.uint8)
    values[3, 4] = 1  # the smallest value of one pixel
    Image.fromarray(values).save(mask)
    assert bad in set(get("kolektorsdd", root).samples.query("label == 1")["image"])


def test_kolektorsdd_split_is_drawn_by_the_seed(tmp_path: Path) -> None:
    root = sample("kolektorsdd", tmp_path / "x")
    splits = [
        frozenset(get("kolektorsdd", root, seed=seed).samples.query("split == 'train'")["image"]) for seed in (0, 0, 1)
    ]
    assert splits[0] == splits[1] != splits[2]
    assert len(splits[0]) == round(10 * 0.8)
    with pytest.raises(UserError, match="seed is -1"):
        get("kolektorsdd", root, seed=-1)


def test_kolektorsdd2_copies_are_no_images(tmp_path: Path) -> None:
    root = sample("kolektorsdd2", tmp_path / "x")
    assert (root / "train/10301 (copy).png").is_file()
    assert not get("kolektorsdd2", root).samples["image"].str.contains("copy").any()
    assert len(get("kolektorsdd2", root).samples) == 13


@pytest.mark.parametrize(
    ("name", "damage", "says"),
    [
        (
            "kolektorsdd",
            lambda root: (root / "kos01/Part0_label.bmp").unlink(),
            r"Part0\.jpg: no mask; expected Part0",
        ),
        ("kolektorsdd", lambda root: write(root / "kos01/Part9_label.bmp"), r"Part9_label\.bmp: the mask of no image"),
        ("kolektorsdd", lambda root: (root / "kos02/Part0_label.bmp").write_bytes(b"?"), "Part0_label.bmp: not an im"),
        (
            "kolektorsdd",
            lambda root: write(root / "kos01/Part0.png"),
            "a second file with the stem of kos",
        ),
        ("kolektorsdd2", lambda root: write(root / "train/10300 (copy).png"), r"10300 \(copy\)\.png: not named as"),
        ("kolektorsdd2", lambda root: (root / "test/more").mkdir(), "more: a folder among the images"),
        ("kolektorsdd2", lambda root: (root / "test/x.xyz").write_bytes(b""), "x.xyz: not an image of a known format"),
        ("kolektorsdd2", lambda root: shutil.rmtree(root / "test"), "not KolektorSDD2 in a known layout"),
        ("dagm", lambda root: write(root / "Class1/Test/Label/9999_label.PNG"), "9999_label.PNG: the mask of no image"),
        ("dagm", lambda root: next((root / "Class1/Test/Label").glob("*.PNG")).unlink(), "anomalous, and has no mask"),
        ("dagm", lambda root: write(root / "Class2/Test/Label/0001_label.PNG"), "0001.PNG is normal, and has the mask"),
        ("dagm", lambda root: shutil.rmtree(root / "Class2/Test"), "Class2/Test: can't be listed"),
    ],
)
def test_damage_is_one_line_that_names_the_file(
    name: str, damage: Callable[[Path], object], says: str, tmp_path: Path
) -> None:
    root = sample(name, tmp_path / "x")
    damage(root)
    with pytest.raises(UserError, match=says) as caught:
        _ = get(name, root).samples
    assert "\n" not in str(caught.value)
    assert not check(name, root, size=24).ok


def test_dagm_without_its_list_is_read_by_its_masks(tmp_path: Path) -> None:
    root = sample("dagm", tmp_path / "x")
    before = get("dagm", root).samples
    for path in root.rglob("Labels.txt"):
        path.unlink()
    assert get("dagm", root).samples.equals(before)


def test_btad_masks_of_any_suffix(tmp_path: Path) -> None:
    make_sample("btad", tmp_path / "x", **SMALL)
    table = get("btad", tmp_path / "x").samples
    assert set(table.query("`class` == '03' and label == 1")["mask"].str[-4:]) == {".bmp"}
    assert set(table.query("`class` == '02'")["image"].str[-4:]) == {".png"}
