"""What `datasets check` finds in a data set stands under every table of a cell that was run on it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import diadbench
from diadbench.benchmark.planning.grid import parse_grid
from diadbench.benchmark.records.store import load_results
from diadbench.benchmark.reuse.reevaluate import evaluate_run
from diadbench.cli import main
from diadbench.datasets import get
from diadbench.datasets.checking.check import check
from diadbench.datasets.decoding import data_module, decoder
from diadbench.datasets.samples import make_sample

pytestmark = pytest.mark.usefixtures("cells_in_this_process")
SIZE = 16


def mask(root: Path, change: Callable[[np.ndarray], np.ndarray], number: int = 0) -> None:
    path = sorted(root.glob("bottle/ground_truth/*/*.png"))[number]
    Image.fromarray(change(np.array(Image.open(path)))).save(path)


def one_pixel(pixels: np.ndarray) -> np.ndarray:
    pixels[:] = 0
    pixels[0, 0] = 255
    return pixels


def soft(pixels: np.ndarray) -> np.ndarray:
    rows, columns = np.nonzero(pixels)
    pixels[rows[0], columns[0]] = 100
    return pixels


def train_in_test(root: Path) -> None:
    shutil.copy(root / "bottle/train/good/000.png", root / "bottle/test/good/000.png")
    shutil.copy(root / "bottle/train/good/001.png", root / "bottle/test/good/001.png")


def one_twice(root: Path) -> None:
    shutil.copy(root / "bottle/train/good/000.png", root / "bottle/train/good/001.png")


def no_normal(root: Path) -> None:
    shutil.rmtree(root / "bottle/test/good")


def no_marker(root: Path) -> None:
    (root / ".diadbench-sample").unlink()


#: Damage, the note under the table, and the kind of finding that says the same in `datasets check`.
DAMAGE: dict[str, tuple[Callable[[Path], Any], str, str]] = {
    "leak": (train_in_test, "2 of 5 test images are also training images", "duplicate"),
    "twice": (one_twice, "1 training image is a copy of another", "duplicate"),
    "empty": (lambda root: mask(root, np.zeros_like), "1 mask of an anomalous image is empty", "empty-mask"),
    "gone": (lambda root: [mask(root, one_pixel, i) for i in (0, 1)], "2 masks vanish at 16x16", "vanished-mask"),
    "grey": (lambda root: mask(root, soft), "1 mask has grey values, thresholded at half", "grey-mask"),
    "onesided": (no_normal, "1 class has no normal test images", "one-sided-class"),
    "cut": (no_marker, "copy cut down: 8 of 292 published images", "counts"),
}


@pytest.fixture(scope="module")
def roots(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    base = tmp_path_factory.mktemp("damaged")
    for name, damage in {**DAMAGE, "whole": (lambda root: None, "", "")}.items():
        make_sample("mvtec", base / name, classes=["bottle"], train=3, good=2, bad=3, size=48)
        damage[0](base / name)
    return {name: base / name for name in (*DAMAGE, "whole")}


@pytest.fixture(scope="module")
def run(roots: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("run")
    grid = {
        "name": "notes",
        "methods": {"mean-image": {}},
        "datasets": {name: {"dataset": "mvtec", "root": str(root)} for name, root in roots.items()},
        "image_size": SIZE,
        "device": "cpu",
        "keep_maps": "float32",
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DIADBENCH_CACHE", str(place / "cache"))
        done = diadbench.run(parse_grid(grid, "notes"), place / "run", quiet=True)
    assert not done.failed
    return place / "run"


def flags_of(run: Path, dataset: str) -> list[str]:
    rows = load_results(run)
    (flags,) = rows[rows["dataset"] == dataset]["flags"].unique()
    return str(flags).split("; ")


@pytest.mark.parametrize("name", DAMAGE)
def test_a_cell_says_what_the_check_finds(name: str, run: Path, roots: dict[str, Path]) -> None:
    _, note, kind = DAMAGE[name]
    flags = flags_of(run, name)
    assert note in flags
    whole = flags_of(run, "whole")
    assert [flag for flag in flags if flag not in whole] == [note]  # and nothing else
    report = check("mvtec", roots[name], size=SIZE)
    assert kind in {finding.kind for finding in report.findings}
    if name != "gone":  # the check counts all mask rules, a cell its own
        assert note in report.notes()


def test_a_whole_set_has_no_note_of_damage(run: Path, roots: dict[str, Path]) -> None:
    assert flags_of(run, "whole") == ["1 of 15 classes", "synthetic sample data"]
    assert check("mvtec", roots["whole"], size=SIZE).notes() == ()


@pytest.mark.parametrize("format", ["terminal", "csv", "markdown", "latex"])
def test_the_notes_stand_under_the_printed_table(format: str, run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["table", str(run), "--format", format]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    for _, note, _ in DAMAGE.values():
        assert note in printed


def test_another_protocol_says_what_its_own_rule_does_to_masks(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, one_core: None
) -> None:
    """A mask of one pixel is gone by nearest neighbour; DiAD's rule lets it grow. The old note must not stay."""
    monkeypatch.setenv("DIADBENCH_CACHE", str(tmp_path / "cache"))
    again, left_out = evaluate_run(run, "diad+max", tmp_path / "again", lambda done, total, what: None)
    assert not left_out
    assert "2 masks vanish at 16x16" not in flags_of(again.path, "gone")
    assert "1 mask has grey values, thresholded at half" in flags_of(again.path, "grey")
    assert len(flags_of(again.path, "grey")) == len(set(flags_of(again.path, "grey")))


def test_a_second_run_opens_no_file_for_the_notes(
    roots: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = data_module.DataModule(get("mvtec", roots["grey"]), SIZE, cache_dir=tmp_path)
    first.prepare()
    again = data_module.DataModule(get("mvtec", roots["grey"]), SIZE, cache_dir=tmp_path)
    again.prepare()

    def refuse(*_: Any) -> None:
        raise AssertionError("a file was opened")

    for module, names in ((decoder, ("read_bytes", "read_resized")), (data_module, ("read_mask", "read_image"))):
        for name in names:
            monkeypatch.setattr(module, name, refuse)
    assert again.notes == first.notes
    assert "1 mask has grey values, thresholded at half" in again.notes
