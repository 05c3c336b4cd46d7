"""Images in folders among images, folders of something else among them, and folders that are not read."""

from __future__ import annotations

from pathlib import Path

import pytest
from lists_maker import by_class, deeper, mvtec_class, paint

from diadbench.common.errors import UserError
from diadbench.datasets import get
from diadbench.datasets.checking.check import check


@pytest.mark.parametrize("some", [None, ["000.png", "000_mask.png"]])
@pytest.mark.parametrize("place", ["lot2", "2024-05-01", "cam 1/left", "050"])
@pytest.mark.parametrize("folders", [("train/good",), ("test/good",), ("test/scratch", "ground_truth/scratch")])
def test_images_in_folders_among_images_are_indexed(
    folders: tuple[str, ...], place: str, some: list[str] | None, tmp_path: Path
) -> None:
    mvtec_class(tmp_path / "data", "bottle")
    for folder in folders:
        deeper(tmp_path / "data/bottle", folder, place, some)
    for name in ("folder", "mvtec"):
        assert by_class(name, tmp_path / "data") == {"bottle": [5, 2, 3]}
        table = get(name, tmp_path / "data").samples
        assert all((tmp_path / "data" / path).is_file() for path in table["image"])
        for image, mask in zip(table["image"], table["mask"]):
            assert not mask or Path(mask).name == f"{Path(image).stem}_mask.png"
    assert check("folder", tmp_path / "data", size=24).ok


def test_masks_of_nested_images_may_lie_flat(tmp_path: Path) -> None:
    mvtec_class(tmp_path, "bottle")
    deeper(tmp_path / "bottle", "test/scratch", "lot1")
    assert by_class("folder", tmp_path) == {"bottle": [5, 2, 3]}
    paint(tmp_path / "bottle/test/scratch/lot2/000.png", 7, defect=True)  # whose mask is 000_mask.png now?
    with pytest.raises(UserError, match=r"lot1/000\.png: anomalous test image without a mask"):
        _ = get("folder", tmp_path).samples


@pytest.mark.parametrize("name", ["gt", "mask", "ground_truth", "xyz", "Labels", "test"])
@pytest.mark.parametrize("folder", ["train/good", "test/good", "test/scratch"])
def test_folders_of_something_else_among_images_are_refused(folder: str, name: str, tmp_path: Path) -> None:
    mvtec_class(tmp_path, "bottle")
    paint(tmp_path / "bottle" / folder / name / "000.png", 7)
    with pytest.raises(UserError, match=rf"{folder}/{name}: a folder {name} among images"):
        _ = get("folder", tmp_path).samples
    assert not check("folder", tmp_path, size=24).ok


@pytest.mark.parametrize(
    ("folder", "name"), [("test/good", "bad"), ("test/scratch", "good"), ("train/good", "defective")]
)
def test_folders_that_say_another_label_are_refused(folder: str, name: str, tmp_path: Path) -> None:
    mvtec_class(tmp_path, "bottle")
    paint(tmp_path / "bottle" / folder / name / "000.png", 7)
    with pytest.raises(UserError, match=rf"{folder}/{name}: a folder whose name says a label"):
        _ = get("folder", tmp_path).samples


@pytest.mark.parametrize("place", ["train", "test"])
def test_loose_images_beside_folders_are_refused(place: str, tmp_path: Path) -> None:
    mvtec_class(tmp_path, "bottle")
    paint(tmp_path / f"bottle/{place}/009.png", 7)
    for name in ("folder", "mvtec"):
        with pytest.raises(UserError, match=rf"{place}/009\.png: an image beside folders; expected it in .*good"):
            _ = get(name, tmp_path).samples


@pytest.mark.parametrize("place", ["extra", "bottle/test2", "bottle/val/good", "bottle/new images/day 1"])
def test_folders_that_are_not_read_are_told_in_check_and_in_tables(place: str, tmp_path: Path) -> None:
    mvtec_class(tmp_path, "bottle")
    paint(tmp_path / place / "000.png", 7)
    for name in ("folder", "mvtec"):
        assert any("1 image in" in line and "was not read" in line for line in get(name, tmp_path).flags)
        report = check(name, tmp_path, size=24)
        assert [one.kind for one in report.of("warning") if "was not read" in one.what] == ["unread"]


def test_a_link_into_itself_ends(tmp_path: Path) -> None:
    mvtec_class(tmp_path, "bottle")
    (tmp_path / "bottle/train/good/again").symlink_to(tmp_path / "bottle/train/good")
    with pytest.raises(UserError, match=r"again.*nested more than 6 deep"):
        _ = get("folder", tmp_path).samples
