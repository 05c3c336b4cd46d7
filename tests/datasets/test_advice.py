"""Data that aren't where they are looked for: the line says what lies there and what to do, and nothing is lost."""

from __future__ import annotations

import json
import re
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
        ("visa", ("candle", "pcb1"), ""),
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
    "a link to nowhere": (
        lambda root: (root / "cap").symlink_to(root / "moved"),
        "cap is a link that leads nowhere, and was not read",
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


@pytest.mark.parametrize(
    ("name", "classes", "place"),
    [
        ("mvtec_ad_2", ("can", "vial"), ""),
        ("dagm", ("Class1", "Class2"), ""),
        ("realiad", ("mint", "toy"), "realiad_1024/"),
    ],
)
def test_a_class_in_another_case_is_told(name: str, classes: tuple[str, str], place: str, tmp_path: Path) -> None:
    make_sample(name, tmp_path, classes=list(classes), size=24)
    other = classes[0].swapcase()
    (tmp_path / place / classes[0]).rename(tmp_path / place / other)
    dataset = get(name, tmp_path)
    assert dataset.classes == classes[1:]
    assert f"{other} is {classes[0]} in another case, and was not read" in dataset.flags


def test_folders_of_mvtec_3d_that_are_not_read_are_told_or_refused(tmp_path: Path) -> None:
    make_sample("mvtec3d", tmp_path, classes=["bagel"], size=24)
    shutil.copytree(tmp_path / "bagel/test/good/rgb", tmp_path / "bagel/test/extra")
    assert any("images in bagel/test/extra were not read" in line for line in get("mvtec3d", tmp_path).flags)
    (tmp_path / "bagel/test/good").rename(tmp_path / "bagel/test/Good")  # They would count as anomalous.
    with pytest.raises(UserError, match=r"bagel/test/Good: by its name normal images; expected a folder good"):
        _ = get("mvtec3d", tmp_path).samples


@pytest.mark.parametrize(
    ("where", "says"),
    [
        ("images/val2017", "there is 'images/val2017', one folder deeper: move it up"),
        ("val2017/val2017", "there is 'val2017/.*jpg', one folder deeper: move it up"),
        ("val2017.zip", r"there is 'val2017\.zip', an archive: unpack it"),
    ],
)
def test_files_that_lie_deeper_or_in_an_archive_are_told(where: str, says: str, tmp_path: Path) -> None:
    make_sample("coco_ad", tmp_path, size=24)
    (tmp_path / "val2017").rename(tmp_path / "moved")
    (tmp_path / where).parent.mkdir(exist_ok=True)
    if where.endswith(".zip"):
        shutil.make_archive(str(tmp_path / "val2017"), "zip", tmp_path / "moved")
        shutil.rmtree(tmp_path / "moved")
    else:
        (tmp_path / "moved").rename(tmp_path / where)
    (first, *_) = [one for one in check("coco_ad", tmp_path, size=24).of("error") if "val2017" in one.what]
    assert re.search(says, first.line())


def test_labels_of_realiad_that_are_no_text_are_told(tmp_path: Path) -> None:
    make_sample("realiad", tmp_path, classes=["mint"], size=24)
    file = tmp_path / "realiad_jsons/mint.json"
    whole = json.loads(file.read_text())
    for key in ("category", "anomaly_class"):
        content = json.loads(json.dumps(whole))
        content["test"][3][key] = None
        file.write_text(json.dumps(content))
        with pytest.raises(UserError, match=rf"mint\.json: test\[3\]: {key} None; expected text"):
            _ = get("realiad", tmp_path).samples


def test_links_are_told_by_what_they_are(tmp_path: Path) -> None:
    mvtec_class(tmp_path / "data", "bottle")
    image = tmp_path / "data/bottle/train/good/009.png"
    image.symlink_to("moved.png")
    (finding,) = check("folder", tmp_path / "data", size=24).of("error")
    assert f"{image}: file not found; a link to 'moved.png', which isn't there" in finding.line()
    image.unlink()
    mvtec_class(tmp_path / "else", "cap")
    (tmp_path / "data/cap").symlink_to(tmp_path / "else/cap")
    with pytest.raises(UserError, match=r"data/cap: a symlink that leaves the data root .*: copy what it leads to"):
        _ = get("folder", tmp_path / "data").samples
