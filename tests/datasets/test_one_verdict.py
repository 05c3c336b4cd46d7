"""Check, prepare and run give one verdict on people's folders, and a run says what it read."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lists_maker import lines, mvtec_class, paint, paint_mask, records, write_lists
from PIL import Image

from diadbench.benchmark.planning.grid import load_grid
from diadbench.benchmark.planning.plan import make_plan
from diadbench.benchmark.records.store import RunDirectory
from diadbench.cli import main
from diadbench.common.errors import UserError
from diadbench.datasets import get
from diadbench.datasets.checking.check import check
from diadbench.datasets.checking.prepare import prepare
from diadbench.datasets.decoding.data_module import DataModule


def _empty(root: Path) -> None:
    paint_mask(root / "bottle/ground_truth/scratch/001_mask.png", empty=True)


def _mask_of_normal(root: Path) -> None:
    paint_mask(root / "bottle/ground_truth/good/000_mask.png")


def _zero_mask_of_normal(root: Path) -> None:
    paint_mask(root / "bottle/ground_truth/good/000_mask.png", empty=True)


def _leak(root: Path) -> None:
    shutil.copy(root / "bottle/train/good/000.png", root / "bottle/test/good/000.png")


def _broken_list(root: Path) -> None:
    write_lists(root, *map(lines, records()))
    (root / "test.json").write_text("{")


def _listed_missing(root: Path) -> None:
    write_lists(root, *map(lines, records()))
    (root / "bottle/test/good/001.png").unlink()


def _stray_link(root: Path) -> None:
    (root / "bottle/elsewhere.txt").symlink_to(root / "nowhere")


def _resave(root: Path, name: str, **options: Any) -> None:
    path = root / name
    Image.open(path).save(path, **options)


def _pages(root: Path) -> None:
    first = Image.open(root / "bottle/test/good/000.png")
    first.save(root / "bottle/test/good/000.tif", save_all=True, append_images=[first])
    (root / "bottle/test/good/000.png").unlink()


def _deep(root: Path) -> None:
    for path in root.rglob("*/good/*.png"):
        Image.fromarray(np.asarray(Image.open(path).convert("L")).astype(np.uint16) * 4).save(path)


def _inverted(root: Path) -> None:
    for path in root.rglob("*_mask.png"):
        Image.fromarray(255 - np.asarray(Image.open(path))).save(path)


VERDICTS: dict[str, tuple[Callable[[Path], object], bool]] = {
    "whole": (lambda root: None, True),
    "an empty mask": (_empty, True),
    "a mask with defects for a normal image": (_mask_of_normal, False),
    "a zero mask for a normal image": (_zero_mask_of_normal, True),
    "no ground truth": (lambda root: shutil.rmtree(root / "bottle/ground_truth"), False),
    "no anomalies": (lambda root: shutil.rmtree(root / "bottle/test/scratch"), True),
    "a test image in training": (_leak, True),
    "a broken list": (_broken_list, False),
    "a listed image is missing": (_listed_missing, False),
    "a folder of something else": (lambda root: paint(root / "bottle/test/good/gt/0.png", 1), False),
    "a stray link": (_stray_link, True),
    "JPEG masks": (lambda root: _resave(root, "bottle/ground_truth/scratch/000_mask.png", format="JPEG"), True),
    "inverted masks": (_inverted, True),
    "10 bits in 16-bit files": (_deep, True),
    "pages": (_pages, False),
    "a mask of another size": (lambda root: paint_mask(root / "bottle/ground_truth/scratch/000_mask.png", 40), False),
    "a second mask of another name": (lambda root: paint_mask(root / "bottle/ground_truth/scratch/000.png"), True),
    "a nested zip": (lambda root: (root / "bottle/data.zip").write_bytes(b"PK"), True),
    "a folder of macOS": (lambda root: paint(root / "__MACOSX/bottle/train/good/000.png", 1), True),
    "a broken image": (lambda root: (root / "bottle/test/good/000.png").write_bytes(b"x"), False),
}


@pytest.mark.parametrize("kind", VERDICTS)
def test_check_prepare_and_run_give_one_verdict(kind: str, tmp_path: Path) -> None:
    root = tmp_path / "data"
    mvtec_class(root, "bottle")
    damage, well = VERDICTS[kind]
    damage(root)
    assert check("folder", root, size=24).ok == well
    assert _passes(lambda: prepare("folder", root, size=24)) == well
    assert _passes(lambda: _as_a_run_does(root, tmp_path)) == well


def _passes(call: Callable[[], object]) -> bool:
    try:
        call()
    except UserError as error:
        return "\n" in str(error)
    return True


def write_grid(tmp_path: Path, root: Path) -> Path:
    grid = tmp_path / "grid.yaml"
    mine = f"  mine: {{dataset: folder, root: '{root}'}}"
    grid.write_text(f"methods: {{mean-image: }}\ndatasets:\n{mine}\nimage_size: 24\ndevice: cpu\n")
    return grid


def _as_a_run_does(root: Path, tmp_path: Path) -> None:
    """Plan the run, then open the data as its cells do."""
    grid = write_grid(tmp_path, root)
    make_plan(load_grid(str(grid), {}), RunDirectory(tmp_path / "run", must_exist=False))
    DataModule(get("folder", root), 24).prepare()


@pytest.mark.usefixtures("cells_in_this_process")
def test_a_run_says_what_it_read_and_which_masks_are_empty(tmp_path: Path) -> None:
    root = tmp_path / "data"
    mvtec_class(root, "bottle")
    _empty(root)
    write_lists(root, *map(lines, records()))
    paint(root / "bottle/train/good/lot9/000.png", 5)  # not listed: the list decides
    grid = write_grid(tmp_path, root)
    assert main(["run", str(grid), "--out", str(tmp_path / "run"), "--quiet", "--no-report"]) == 0
    (status,) = (tmp_path / "run/cells").rglob("status.json")
    found = json.loads(status.read_text())
    assert found["n_train"] == 3
    assert "train.json" in found["dataset_info"]["source"]
    assert "1 mask of an anomalous image is empty" in found["notes"]
    logs = [path.read_text() for path in status.parent.glob("log.txt")]
    assert any("8 samples, list " in text and "train.json" in text for text in logs), list(status.parent.iterdir())
