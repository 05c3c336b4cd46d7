"""Data that aren't where they are looked for: the line says what lies there and what to do, and nothing is lost."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from lists_maker import by_class, mvtec_class, paint_mask

from diadbench.common.errors import UserError
from diadbench.datasets import get
from diadbench.datasets.checking.check import check
from diadbench.datasets.samples import make_sample


def double(folder: Path) -> None:
    """Put a folder into one of its own name, as "unpack here" does with an archive that holds a folder."""
    folder.rename(folder.with_name("moved"))
    folder.mkdir()
    folder.with_name("moved").rename(folder / folder.name)


@pytest.mark.parametrize(
    ("name", "classes", "place"),
    [
        ("mvtec", ("bottle", "cable"), ""),
        ("folder", ("bottle", "cable"), ""),
        ("mvtec_ad_2", ("can", "vial"), ""),
        ("realiad", ("audiojack", "mint"), "realiad_1024/"),
    ],
)
def test_doubled_folders_are_told(name: str, classes: tuple[str, str], place: str, tmp_path: Path) -> None:
    root = tmp_path / "data"
    make_sample("mvtec" if name == "folder" else name, root, classes=list(classes), size=24)
    for one in classes:
        double(root / place / one)
    with pytest.raises(UserError, match=rf"{place}{classes[0]}/{classes[0]}.*: doubled when unpacked\? Move the inner"):
        _ = get(name, root).samples
    assert not check(name, root, size=24).ok


def test_a_folder_within_the_data_is_told(tmp_path: Path) -> None:
    make_sample("realiad", tmp_path / "data", classes=["mint"], size=24)
    with pytest.raises(UserError, match=rf"a folder within the data: give {tmp_path / 'data'} as root"):
        _ = get("realiad", tmp_path / "data/realiad_1024").samples


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("bottle", "Bottle", "Bottle is bottle in another case: rename it"),
        ("bottle/train", "bottle/Train", "expected train for bottle/Train: rename it"),
        ("bottle/train", "bottle/training", "expected train for bottle/training: rename it"),
    ],
)
def test_names_in_another_case_or_word_are_told(old: str, new: str, says: str, tmp_path: Path) -> None:
    mvtec_class(tmp_path, "bottle")
    (tmp_path / old).rename(tmp_path / new)
    if new != "Bottle":
        shutil.rmtree(tmp_path / "bottle/test")
    with pytest.raises(UserError, match=says):
        _ = get("mvtec", tmp_path).samples


def test_an_archive_is_no_folder_of_data(tmp_path: Path) -> None:
    mvtec_class(tmp_path / "data", "bottle")
    packed = shutil.make_archive(str(tmp_path / "packed"), "zip", tmp_path / "data")
    with pytest.raises(UserError, match=r"packed\.zip is a file, not a directory: unpack it"):
        _ = get("folder", packed).samples


LOST: dict[str, tuple[Callable[[Path], object], str]] = {
    "an empty folder": (lambda root: (root / "bottle/test/dent").mkdir(), "the folder bottle/test/dent is empty"),
    "masks without images": (
        lambda root: paint_mask(root / "bottle/ground_truth/dent/000_mask.png"),
        "1 image in bottle/ground_truth/dent was not read: no folder bottle/test/dent of images",
    ),
    "a class in an archive": (
        lambda root: shutil.make_archive(str(root / "cap"), "zip", root / "bottle"),
        "cap.zip is not unpacked, and was not read",
    ),
}


@pytest.mark.parametrize("kind", LOST)
def test_what_is_there_in_part_is_told_in_check_and_tables(kind: str, tmp_path: Path) -> None:
    mvtec_class(tmp_path, "bottle")
    assert not get("folder", tmp_path).flags
    lose, says = LOST[kind]
    lose(tmp_path)
    assert by_class("folder", tmp_path) == {"bottle": [5, 2, 3]}
    assert get("folder", tmp_path).flags == (says,)
    assert says in [one.what for one in check("folder", tmp_path, size=24).of("warning")]


def test_a_file_among_the_masks_of_one_image_is_refused(tmp_path: Path) -> None:
    mvtec_class(tmp_path, "bottle")
    mask = tmp_path / "bottle/ground_truth/scratch/000_mask"
    mask.mkdir()
    mask.with_suffix(".png").rename(mask / "a.png")
    assert check("folder", tmp_path, size=24).ok
    (mask / "b.npy").write_bytes(b"x")
    (finding,) = check("folder", tmp_path, size=24).of("error")
    assert f"{mask}/b.npy: not an image of a known format" in finding.line()
