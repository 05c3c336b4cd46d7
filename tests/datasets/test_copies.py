"""Images that are there twice are found by their pixels and names, in check and in a run alike."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from lists_maker import mvtec_class
from PIL import Image

from diadbench.datasets import get
from diadbench.datasets.checking.check import check
from diadbench.datasets.decoding.data_module import DataModule


def convert(old: Path, new: Path) -> None:
    """Save an image in another format, or in the same one with other bytes."""
    Image.open(old).save(new, **({"compress_level": 1} if new.suffix == ".png" else {}))
    assert old.read_bytes() != new.read_bytes()


def said(root: Path) -> tuple[set[str], set[str]]:
    """Return what check and a run say of copies."""
    checked = {one.note for one in check("folder", root, size=24).findings if one.kind == "duplicate"}
    notes = DataModule(get("folder", root), 24).notes
    return checked, {one for one in notes if "mask" not in one}


TRAIN, TEST, BAD = (Path("bottle") / place for place in ("train/good", "test/good", "test/scratch"))
COPIES: dict[str, tuple[Callable[[Path], object], str]] = {
    "the same file": (
        lambda root: shutil.copy(root / TRAIN / "000.png", root / TEST / "000.png"),
        "1 of 5 test images",
    ),
    "other bytes": (lambda root: convert(root / TRAIN / "000.png", root / TEST / "000.png"), "1 of 5 test images"),
    "another format": (lambda root: convert(root / TRAIN / "000.png", root / TEST / "005.bmp"), "1 of 6 test images"),
    "two tests": (lambda root: convert(root / TEST / "000.png", root / TEST / "005.bmp"), "1 test image is a copy"),
    "two labels": (
        lambda root: convert(root / TEST / "000.png", root / BAD / "000.png"),
        "1 test image counts as normal and as anomalous",
    ),
    "twins": (
        lambda root: convert(root / TRAIN / "000.png", root / TRAIN / "000.jpg"),
        "2 images lie beside ones of the same names in other formats",
    ),
}


@pytest.mark.parametrize("kind", COPIES)
def test_copies_are_told_by_check_and_run(kind: str, tmp_path: Path) -> None:
    mvtec_class(tmp_path, "bottle")
    assert said(tmp_path) == (set(), set())
    copied, says = COPIES[kind]
    copied(tmp_path)
    checked, notes = said(tmp_path)
    assert any(one.startswith(says) for one in notes), notes
    assert len(checked) == len(notes)


def test_images_that_differ_in_one_pixel_are_two(tmp_path: Path) -> None:
    mvtec_class(tmp_path, "bottle")
    values = np.array(Image.open(tmp_path / TRAIN / "000.png"))
    values[0, 0, 0] ^= 1
    Image.fromarray(values).save(tmp_path / TEST / "000.png")
    assert said(tmp_path) == (set(), set())
