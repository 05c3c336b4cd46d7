"""Damaged folders and files of MVTec-AD: one clear line that names the file, or handled and counted."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.helpers.damage import Case, told


def mask(root: Path) -> Path:
    return root / "bottle/ground_truth/broken/000_mask.png"


def resave(path: Path, change: Callable[[np.ndarray], np.ndarray]) -> None:
    Image.fromarray(change(np.array(Image.open(path)))).save(path)


def link_out(root: Path) -> None:
    outside = root.parent / "outside.png"
    shutil.move(root / "bottle/test/good/000.png", outside)
    (root / "bottle/test/good/000.png").symlink_to(outside)


def copy_train_to_test(root: Path) -> None:
    shutil.copy(root / "bottle/train/good/000.png", root / "bottle/test/good/000.png")


def rename(old: str, new: str) -> Callable[[Path], None]:
    def damage(root: Path) -> None:
        for folder, suffix in (("test", ".png"), ("ground_truth", "_mask.png")):
            home = root / "bottle" / folder / "broken"
            (home / f"{old}{suffix}").rename(home / f"{new}{suffix}")

    return damage


def unlink_all(pattern: str) -> Callable[[Path], None]:
    def damage(root: Path) -> None:
        found = list(root.glob(pattern))
        assert found
        for path in found:
            path.unlink()

    return damage


CASES = [
    Case(
        "zero-byte image",
        "mvtec",
        "owner",
        "files",
        r"bottle/test/good/000.png.*0 bytes",
        lambda root: (root / "bottle/test/good/000.png").write_bytes(b""),
    ),
    Case(
        "truncated image",
        "mvtec",
        "owner",
        "files",
        r"bottle/train/good/001.png.*damaged",
        lambda root: os.truncate(root / "bottle/train/good/001.png", 400),
    ),
    Case(
        "a text called png",
        "mvtec",
        "owner",
        "files",
        r"good/000.png.*not an image",
        lambda root: (root / "bottle/test/good/000.png").write_text("hello"),
    ),
    Case(
        "mask of another size",
        "mvtec",
        "owner",
        "files",
        r"000_mask.png.*mask of \d+x\d+ for an image of",
        lambda root: resave(mask(root), lambda values: values[:-4]),
    ),
    Case(
        "empty mask",
        "mvtec",
        "owner",
        "handled",
        r"000_mask.png.*no positive pixel",
        lambda root: resave(mask(root), lambda values: values * 0),
    ),
    Case(
        "truncated mask", "mvtec", "owner", "files", r"000_mask.png.*damaged", lambda root: os.truncate(mask(root), 60)
    ),
    Case("name with spaces", "mvtec", "owner", "handled", "", rename("000", "no 1 (copy)")),
    Case("unicode name", "mvtec", "owner", "handled", "", rename("000", "Prüfling-試料")),
    Case("leading =", "mvtec", "owner", "handled", "", rename("000", "=1+1")),
    Case(
        "mask of no image",
        "mvtec",
        "owner",
        "handled",
        r"ground_truth/broken.*belongs to no sample: 099_mask.png",
        lambda root: shutil.copy(mask(root), mask(root).with_name("099_mask.png")),
    ),
    Case("symlink out of the root", "mvtec", "owner", "files", r"good/000.png.*leaves the data root", link_out),
    Case(
        "test image in training",
        "mvtec",
        "owner",
        "handled",
        r"test/good/000.png.*same image as the training image",
        copy_train_to_test,
    ),
    Case(
        "grey mask",
        "mvtec",
        "owner",
        "handled",
        r"masks with grey values",
        lambda root: resave(
            mask(root), lambda values: np.where(values > 0, np.linspace(9, 255, values.shape[1]), 0).astype(np.uint8)
        ),
    ),
    Case(
        "mask missing",
        "mvtec",
        "owner",
        "index",
        r"broken/000.png.*no? mask|mask.*000",
        lambda root: mask(root).unlink(),
    ),
    Case(
        "class without anomalies",
        "mvtec",
        "owner",
        "handled",
        r"bottle has no anomalous test images",
        lambda root: [shutil.rmtree(path) for path in (root / "bottle/test").iterdir() if path.name != "good"],
    ),
    Case(
        "class without normals",
        "mvtec",
        "owner",
        "handled",
        r"bottle has no normal test images",
        lambda root: shutil.rmtree(root / "bottle/test/good"),
    ),
    Case(
        "class without training images",
        "mvtec",
        "owner",
        "index",
        r"bottle.*no training images",
        unlink_all("bottle/train/good/*.png"),
    ),
    Case(
        "class without test images",
        "mvtec",
        "owner",
        "index",
        r"bottle.*no test images",
        lambda root: shutil.rmtree(root / "bottle/test"),
    ),
    Case(
        "stray files of the system",
        "mvtec",
        "owner",
        "handled",
        "",
        lambda root: [
            (mask(root).parent / name).write_bytes(b"x") for name in (".DS_Store", "Thumbs.db", "._000_mask.png")
        ],
    ),
    Case(
        "symlink loop",
        "mvtec",
        "owner",
        "index",
        r"train/loop|good/loop",
        lambda root: (root / "bottle/train/loop").symlink_to(root / "bottle/train"),
    ),
    Case(
        "symlink to itself",
        "mvtec",
        "owner",
        "index",
        r"good/self.png",
        lambda root: (root / "bottle/test/good/self.png").symlink_to(root / "bottle/test/good/self.png"),
    ),
    Case(
        "unknown class",
        "mvtec",
        "owner",
        "index",
        r"botle.*did you mean bottle",
        lambda root: shutil.copytree(root / "bottle", root / "botle"),
    ),
    Case(
        "anomalies in training",
        "mvtec",
        "owner",
        "index",
        r"train/broken.*must be normal",
        lambda root: shutil.copytree(root / "bottle/test/broken", root / "bottle/train/broken"),
    ),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.name}: {case.about}")
def test_damage(case: Case, whole: Callable[[str, str], Path], tmp_path: Path) -> None:
    told(case, whole(case.name, case.layout), tmp_path / "data")
