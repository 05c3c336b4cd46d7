"""Folders as people have them: what is passed over is told, and a wrong root with the right one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from diadbench.datasets import get
from diadbench.datasets.samples import make_sample
from diadbench.datasets.samples.paint import Record
from diadbench.datasets.sets import realiad
from tests.helpers.brought import ALL, first_train, read, some_mask, write_lists


@pytest.mark.parametrize("name", ["Good", "OK", "normal"])
@pytest.mark.parametrize("dataset", ["mvtec", "folder"])
@pytest.mark.parametrize("splits", [("train", "test"), ("test",)])
def test_normal_images_under_another_name_are_not_anomalous(
    name: str, dataset: str, splits: Sequence[str], brought: tuple[Path, list[Record]], tmp_path: Path
) -> None:
    root, _ = brought
    for split in splits:
        for cls in ("bottle", "cable"):
            (root / cls / split / "good").rename(root / cls / split / name)
    options: dict[str, Any] = {"masks": False} if dataset == "folder" else {}
    found = read(dataset, root, tmp_path / "cache", **options)
    assert f"{splits[0]}/{name}: by its name normal images; expected a folder good" in found.error
    assert (f"set normal={name}" in found.error) == (dataset == "folder")


@pytest.mark.parametrize("name", ["000_mask_2.png", "000.png"])
def test_a_second_mask_is_told(name: str, brought: tuple[Path, list[Record]], tmp_path: Path) -> None:
    root, _ = brought
    some_mask(root).with_name(name).write_bytes(some_mask(root).read_bytes())
    found = read("mvtec", root, tmp_path / "cache")
    assert found.numbers == ALL
    assert f"broken/{name}, a second mask of an image, was not read" in found.flags


@pytest.mark.parametrize(
    ("suffix", "said"), [(".npy", "000_mask.npy, not an image of a known format"), ("_1.png", "000_mask_1")]
)
def test_a_mask_of_another_name_or_format_is_shown(
    suffix: str, said: str, brought: tuple[Path, list[Record]], tmp_path: Path
) -> None:
    root, _ = brought
    some_mask(root).rename(some_mask(root).with_name(f"000_mask{suffix}"))
    assert said in read("mvtec", root, tmp_path / "cache").error


@pytest.mark.parametrize("place", ["bottle", "bottle/train", ""])
def test_a_wrong_root_is_told_where_the_data_lie(
    place: str, brought: tuple[Path, list[Record]], tmp_path: Path
) -> None:
    root, _ = brought
    if place:
        assert f"give {root} as root" in read("mvtec", root / place, tmp_path / "cache").error
    else:
        assert f"the data lie in {root}" in read("folder", tmp_path, tmp_path / "cache").error


def test_folders_without_splits_are_told_with_their_options(brought: tuple[Path, list[Record]], tmp_path: Path) -> None:
    root, _ = brought
    (root / "bottle/train/good").rename(tmp_path / "good")
    flat = tmp_path / "flat"
    flat.mkdir()
    (tmp_path / "good").rename(flat / "ok")
    (root / "bottle/test/broken").rename(flat / "broken")
    error = read("folder", flat, tmp_path / "cache").error
    assert "normal_dir=ok, abnormal_dir=[broken]" in error
    assert read("folder", flat, tmp_path / "cache", normal_dir="ok", abnormal_dir=["broken"], masks=False).numbers


@pytest.mark.parametrize("kind", ["archive", "link"])
def test_a_class_that_is_an_archive_or_a_dead_link_is_told(
    kind: str, brought: tuple[Path, list[Record]], tmp_path: Path
) -> None:
    root, _ = brought
    (root / "cable").rename(root / ".cable")
    if kind == "archive":
        (root / "cable.tar.xz").write_bytes(b"\xfd7zXZ\0")
    else:
        (root / "cable").symlink_to("nowhere")
    flags = read("mvtec", root, tmp_path / "cache").flags
    assert ("cable.tar.xz is not unpacked" if kind == "archive" else "cable is a link that leads nowhere") in flags


def test_an_archive_is_to_be_unpacked(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data/mvtec_anomaly_detection.tar.xz").write_bytes(b"\xfd7zXZ\0")
    assert "unpack mvtec_anomaly_detection.tar.xz" in read("mvtec", tmp_path / "data", tmp_path / "cache").error


def test_own_classes_of_a_list_are_checked_as_they_are_run(brought: tuple[Path, list[Record]], tmp_path: Path) -> None:
    root, records = brought
    (root / "bottle").rename(root / "my_part")
    mine = [
        one._replace(
            image=one.image.replace("bottle", "my_part"),
            mask=one.mask.replace("bottle", "my_part"),
            cls=one.cls.replace("bottle", "my_part"),
        )
        for one in records
    ]
    write_lists(root, mine)
    assert "'my_part'" in read("mvtec", root, tmp_path / "cache").error
    found = read("mvtec", root, tmp_path / "cache", classes=["cable", "my_part"])
    assert found.numbers == ALL
    assert "1 class that the published set has not" in found.flags


def test_folders_that_no_option_names_and_second_masks_are_told(
    brought: tuple[Path, list[Record]], tmp_path: Path
) -> None:
    root, _ = brought
    mask = root / "bottle/ground_truth/broken/000_mask.png"
    mask.with_name("000_mask-2.png").write_bytes(mask.read_bytes())
    found = read(
        "folder",
        root / "bottle",
        tmp_path / "cache",
        normal_dir="train/good",
        abnormal_dir="test/broken",
        mask_dir="ground_truth/broken",
        normal_test_dir="test/good",
    )
    assert found.numbers is not None
    assert "broken/000_mask-2.png, a second mask of an image, was not read" in found.flags


def test_control_characters_of_a_name_stay_out_of_messages(brought: tuple[Path, list[Record]], tmp_path: Path) -> None:
    root, _ = brought
    first_train(root).with_name("a\x1b[31m\nb.png").write_bytes(b"x")
    assert "a\\x1b[31m\\nb.png" in read("mvtec", root, tmp_path / "cache").error


def test_files_of_systems_are_no_data(brought: tuple[Path, list[Record]], tmp_path: Path) -> None:
    root, _ = brought
    good = first_train(root).parent
    for name in ("Icon\r", "ehthumbs.db", "Desktop.ini"):
        (good / name).write_bytes(b"x")
    (good / "@eaDir").mkdir()
    (good / "@eaDir/thumbnail.png").write_bytes(first_train(root).read_bytes())
    assert read("mvtec", root, tmp_path / "cache").numbers == ALL


def test_classes_of_realiad_come_one_by_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DIADBENCH_CACHE", str(tmp_path / "cache"))
    root = tmp_path / "data"
    records = make_sample("realiad", root, classes=["mint", "zipper"], train=2, good=1, bad=1, size=16)
    (root / "realiad_1024/zipper").rename(root / ".zipper")
    found = read("realiad", root, tmp_path / "cache")
    assert found.numbers is not None
    assert found.numbers[0] == sum(one.cls == "mint" and one.split == "train" for one in records)
    assert "1 class is listed and has no folder in realiad_1024: zipper" in found.flags
    assert "no such folder" in read("realiad", root, tmp_path / "cache", classes=["mint", "zipper"]).error
    path = root / next(one.image for one in records if one.cls == "mint")
    path.unlink()
    assert "mint.json: train[0]" in read("realiad", root, tmp_path / "cache").error


def test_the_list_of_a_class_is_read_once_for_all_its_missing_images(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "data"
    records = make_sample("realiad", root, classes=["mint"], train=4, good=2, bad=2, size=16)
    dataset = get("realiad", root)
    images = dataset.samples["image"].tolist()
    loads: list[Path] = []
    load = realiad.load_json

    def counted(path: Path) -> Any:
        loads.append(path)
        return load(path)

    monkeypatch.setattr(realiad, "load_json", counted)
    places = [dataset.place_of(path) for path in images]
    assert len(set(places)) == len(images) == len(records)
    assert all("mint.json: t" in place for place in places)
    assert len(loads) == 1
