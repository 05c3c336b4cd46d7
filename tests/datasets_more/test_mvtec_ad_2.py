"""MVTec AD 2: what is trained on, tested and held out; private images without labels; damage."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from diadbench.common.errors import UserError
from diadbench.datasets import get
from diadbench.datasets.base import SAMPLE_MARKER
from diadbench.datasets.checking.check import check
from diadbench.datasets.facts.counts import mvtec_ad_2_unlabelled, published
from diadbench.datasets.facts.known_sets import info
from diadbench.datasets.samples import make_sample
from diadbench.datasets.sets.mvtec_ad_2 import HELD_OUT, MvtecAd2

SMALL = {"train": 3, "good": 2, "bad": 3, "size": 24}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    make_sample("mvtec_ad_2", tmp_path / "x", classes=["can", "vial"], **SMALL)
    return tmp_path / "x"


def test_published_counts_sum_to_the_published_total() -> None:
    rows = published("mvtec_ad_2")[0][1]
    held = [mvtec_ad_2_unlabelled(cls, split) for cls in info("mvtec_ad_2").classes for split in HELD_OUT]
    assert sum(row.train for row in rows.values()) == 2528
    assert sum(row.total for row in rows.values()) + sum(held) == 8004


def test_no_held_out_image_is_trained_on_or_tested(root: Path) -> None:
    dataset = get("mvtec_ad_2", root)
    assert isinstance(dataset, MvtecAd2)
    tables = {split: dataset.held_out(split) for split in HELD_OUT}
    assert {split: len(table) for split, table in tables.items()} == {
        "validation": 4,
        "test_private": 6,
        "test_private_mixed": 6,
    }
    for split, table in tables.items():
        assert list(table.columns) == ["image", "class", "split"]  # nobody here knows a label
        assert set(table["split"]) == {split}
        assert not set(table["image"]) & set(dataset.samples["image"])
        assert all((dataset.root / path).is_file() for path in table["image"])
    assert tables["test_private"]["image"].iloc[0] == "can/test_private/000_regular.png"
    assert "tested on test_public" in " ".join(dataset.flags)
    assert set(dataset.samples["lighting"]) == {"regular", "underexposed", "overexposed"}
    with pytest.raises(UserError, match="did you mean test_private"):
        dataset.held_out("test_privat")


def test_classes_choose_held_out_images_too(root: Path) -> None:
    dataset = get("mvtec_ad_2", root.parent, classes=["vial"])  # one folder deeper
    assert isinstance(dataset, MvtecAd2)
    assert set(dataset.held_out("validation")["image"]) == {
        f"x/vial/validation/good/{i:03d}_regular.png" for i in range(2)
    }


def test_check_opens_and_counts_what_is_held_out(root: Path) -> None:
    report = check("mvtec_ad_2", root, size=24)
    assert report.ok, report.text()
    assert report.files == len(list(root.rglob("*.png")))
    assert not report.of("warning")
    (root / SAMPLE_MARKER).unlink()
    assert "can: 3 test_private images; published: 321" in check("mvtec_ad_2", root, size=24).text()
    (root / "can/test_private/001_regular.png").write_bytes(b"cut")
    shutil.rmtree(root / "vial/validation")
    text = check("mvtec_ad_2", root, size=24).text()
    assert "001_regular.png: not an image of a known format" in text
    assert "validation/good: not there; expected the validation images of vial" in text


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (
            lambda root: (root / "can/test_public/ground_truth/bad/000_regular_mask.png").unlink(),
            r"000_regular\.png: anomalous test image without a mask; expected .*000_regular_mask\.png",
        ),
        (
            lambda root: (root / "can/test_public/bad/000_regular.png").unlink(),
            "000_regular_mask.png: the mask of no im",
        ),
        (lambda root: (root / "can/train/good/more").mkdir(), "more: a folder among the images"),
        (lambda root: (root / "can/train/good/x.png").write_bytes(b""), "x.png: not named as the owner names"),
        (lambda root: shutil.rmtree(root / "vial/train"), "vial/train/good: can't be listed"),
    ],
)
def test_damage_is_one_line(root: Path, damage: Callable[[Path], object], says: str) -> None:
    damage(root)
    with pytest.raises(UserError, match=says) as caught:
        _ = get("mvtec_ad_2", root).samples
    assert "\n" not in str(caught.value)
