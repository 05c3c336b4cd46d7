"""What differs in a name is told, composed or decomposed; a name that is no UTF-8 is one line; a huge image is huge."""

from __future__ import annotations

import os
import shutil
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from lists_maker import by_class, lines, mvtec_class, paint, paint_mask, records, write_lists
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
