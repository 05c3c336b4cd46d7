"""What differs in a name is told, composed or decomposed; a name that is no UTF-8 is one line; a huge image is huge."""

from __future__ import annotations

import os
import shutil
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from lists_maker import by_class, deeper, lines, mvtec_class, paint, paint_mask, records, write_lists
from PIL import Image

from diadbench.common.errors import UserError
from diadbench.datasets import get
from diadbench.datasets.checking.check import check
from diadbench.datasets.decoding.data_module import DataModule
from diadbench.datasets.decoding.images import read_image


def test_what_differs_in_a_name_is_told(tmp_path: Path) -> None:
    mvtec_class(tmp_path, "bottle")
    home = tmp_path / "bottle/test/good"
    for there, listed, says in (
        (unicodedata.normalize("NFD", "prüf.png"), "prüf.png", r"composed \(NFC\) where it is listed"),
        ("Image.PNG", "image.png", "upper and lower case"),
        ("image .png", "image.png", "a space"),
    ):
        (home / "001.png").rename(home / there)
        train, test = records()
        test[1]["filename"] = f"bottle/test/good/{listed}"
        write_lists(tmp_path, lines(train), lines(test))
        with pytest.raises(UserError, match=rf"file not found; there is .*differs in .*{says}"):
            DataModule(get("mvtec", tmp_path), 16).prepare()
        (home / there).rename(home / "001.png")


def test_letters_of_an_image_and_its_mask_may_be_composed_or_not(tmp_path: Path) -> None:
    mvtec_class(tmp_path, "bottle", bad=0)
    paint(tmp_path / "bottle/test/scratch" / unicodedata.normalize("NFD", "käfer.png"), 1, defect=True)
    paint_mask(tmp_path / "bottle/ground_truth/scratch" / unicodedata.normalize("NFC", "käfer_mask.png"))
    assert by_class("folder", tmp_path) == {"bottle": [5, 2, 1]}
    assert check("folder", tmp_path, size=24).ok


@pytest.mark.parametrize("place", ["bottle/test/good/{}.png", "bottle/test/{}/000.png", "{}/train/good/000.png"])
def test_names_that_are_no_utf8_are_one_line(place: str, tmp_path: Path) -> None:
    mvtec_class(tmp_path, "bottle")
    path = os.path.join(os.fsencode(tmp_path), *(os.fsencode(place).replace(b"{}", "正常".encode("gbk")).split(b"/")))
    os.makedirs(os.path.dirname(path), exist_ok=True)
    shutil.copy(tmp_path / "bottle/test/good/000.png", path)
    with pytest.raises(UserError, match=r"\\xd5\\xfd\\xb3\\xa3.* is not UTF-8 \(gbk reads it as 正常") as caught:
        _ = get("folder", tmp_path).samples
    str(caught.value).encode("utf-8")
    report = check("folder", tmp_path, size=24)
    assert not report.ok
    report.text().encode("utf-8")


def test_a_huge_image_is_called_huge(tmp_path: Path) -> None:
    path = tmp_path / "huge.png"
    Image.fromarray(np.zeros((14_200, 14_200), np.uint8)).save(path, compress_level=1)
    with pytest.raises(UserError, match=r"huge\.png: too large \(.*pixels") as caught:
        read_image(path)
    assert "damaged" not in str(caught.value)


MASKS = "bottle/ground_truth/scratch"
#: What a user did to the masks, where they lie now, and what the error says of it.
ASTRAY: dict[str, tuple[str, str]] = {
    "another case": ("bottle/ground_truth/Scratch", r"found the folder 'Scratch' \(rename it to 'scratch'\)"),
    "a space": ("bottle/ground_truth/scratch ", r"found the folder 'scratch ' \(rename it to 'scratch'\)"),
    "a suffix": ("bottle/ground_truth/scratch_mask", r"found the folder 'scratch_mask' \(rename it to 'scratch'\)"),
    "another name": ("bottle/ground_truth/dent", r"found dent in .*ground_truth: add it"),
    "no folder": ("bottle/ground_truth", r"found 000_mask\.png in .*ground_truth \(move it into a folder scratch"),
    "beside images": ("bottle/test/scratch", r"000_mask\.png: by its name the mask of 000 beside it; expected images"),
}


@pytest.mark.parametrize("kind", ASTRAY)
def test_masks_that_lie_elsewhere_are_told(kind: str, tmp_path: Path) -> None:
    mvtec_class(tmp_path, "bottle")
    place, says = ASTRAY[kind]
    (tmp_path / place).mkdir(exist_ok=True)
    for path in sorted((tmp_path / MASKS).iterdir()):
        path.rename(tmp_path / place / path.name)
    (tmp_path / MASKS).rmdir()
    for name in ("folder", "mvtec"):
        with pytest.raises(UserError, match=says):
            _ = get(name, tmp_path).samples
    if kind == "beside images":  # Without masks, they would count as anomalous images.
        with pytest.raises(UserError, match=says):
            _ = get("folder", tmp_path, masks=False).samples


@pytest.mark.parametrize("name", ["mask_000.png", "00_mask.png", "A00_mask.png"])
def test_masks_of_other_names_are_told(name: str, tmp_path: Path) -> None:
    mvtec_class(tmp_path, "bottle", bad=1)
    (tmp_path / MASKS / "000_mask.png").rename(tmp_path / MASKS / name)
    with pytest.raises(UserError, match=rf"expected .*000_mask\.png; found {name} in .*{MASKS}: add it"):
        _ = get("folder", tmp_path).samples


def test_folders_of_images_and_of_masks_may_be_composed_or_not(tmp_path: Path) -> None:
    mvtec_class(tmp_path, "bottle", kind="Größe")
    deeper(tmp_path, unicodedata.normalize("NFC", "bottle/test/Größe"), "für")
    deeper(tmp_path, unicodedata.normalize("NFC", "bottle/ground_truth/Größe"), unicodedata.normalize("NFD", "für"))
    masks = tmp_path / "bottle/ground_truth"
    (masks / unicodedata.normalize("NFC", "Größe")).rename(masks / unicodedata.normalize("NFD", "Größe"))
    assert by_class("folder", tmp_path) == {"bottle": [5, 2, 3]}
    assert check("folder", tmp_path, size=24).ok


def test_a_class_in_other_letters_is_told(tmp_path: Path) -> None:
    mvtec_class(tmp_path, unicodedata.normalize("NFD", "Größe"))
    with pytest.raises(UserError, match=r"unknown class 'Größe'; its letters are decomposed \(NFD\) in .*: copy that"):
        _ = get("folder", tmp_path, classes=[unicodedata.normalize("NFC", "Größe")]).samples
