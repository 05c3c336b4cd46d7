"""A run is handed over: its code is in it and used from there, and an archive is all that another machine needs."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tarfile
import time
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "helpers"))
from real_run import InProcess, write_images

from diadbench.benchmark.planning.grid import load_grid, parse_grid
from diadbench.benchmark.records.store import RunDirectory, load_results
from diadbench.benchmark.reuse.predict import predict_images
from diadbench.benchmark.reuse.rerun import rerun_cell
from diadbench.benchmark.runs.runner import run_grid
from diadbench.benchmark.sharing.pack import pack
from diadbench.cli import main
from diadbench.common.errors import UserError

FIGURES = ["dataset", "method", "seed", "class", "scope", "metric", "value", "state"]
METHOD = Path(__file__).parents[1] / "helpers" / "pixel_mean.py"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A method of two files, and data."""
    monkeypatch.setenv("DIADBENCH_CACHE", str(tmp_path / "cache"))
    home = tmp_path / "home"
    write_images(home / "data", ["nut"], 4)
    text = METHOD.read_text(encoding="utf-8").replace("* self.scale", "* self.scale * FACTOR")
    text = text.replace("import numpy as np\n", "import numpy as np\nfrom factor_of_mine import FACTOR\n")
    (home / "mine.py").write_text(text, encoding="utf-8")
    (home / "factor_of_mine.py").write_text("FACTOR = 2.0\n", encoding="utf-8")
    return home


def run(home: Path, **changes: Any) -> RunDirectory:
    values = {
        "name": "mine",
        "methods": {"mine": {"method": f"{home / 'mine.py'}:PixelMean"}},
        "datasets": {"parts": {"dataset": "folder", "root": str(home / "data")}},
        "image_size": 32,
        "device": "cpu",
        "threads": 1,
        **changes,
    }
    found = run_grid(parse_grid(values), home / "run", engine=InProcess(), quiet=True)
    assert not found.failed
    return found.directory


def scores(cell: Path, home: Path, out: str) -> pd.DataFrame:
    return pd.read_csv(predict_images(cell, home / "data" / "nut" / "test" / "hole", home.parent / out).scores)


def as_a_new_process(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Forget what this process has imported from the method's own place."""
    monkeypatch.setattr(sys, "path", [place for place in sys.path if place != str(home)])
    for name in [name for name in sys.modules if name == "factor_of_mine"]:
        monkeypatch.delitem(sys.modules, name)


def test_a_cell_keeps_its_code(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    [cell] = run(home).cells()
    as_a_new_process(home, monkeypatch)
    assert "method: ./code/" in (cell.directory / "cell.yaml").read_text(encoding="utf-8")
    copies = {path.name: path.read_bytes() for path in (home / "run" / "code").rglob("*.py")}
    assert copies == {path.name: path.read_bytes() for path in home.glob("*.py")}
    before = scores(cell.directory, home, "before")
    (home / "factor_of_mine.py").write_text("FACTOR = 1000.0\n", encoding="utf-8")
    pd.testing.assert_frame_equal(scores(cell.directory, home, "after"), before)
    copy = next((home / "run" / "code").rglob("factor_of_mine.py"))
    copy.write_text("FACTOR = 1000.0\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"is no longer that of the cell \(changed: factor_of_mine\)"):
        predict_images(cell.directory, home / "data" / "nut" / "test" / "hole", home.parent / "never")


def test_a_file_that_looks_beside_itself_is_used_where_it_is(home: Path) -> None:
    with open(home / "mine.py", "a", encoding="utf-8") as file:
        file.write("\nHERE = Path(__file__).parent\n")
    directory = run(home)
    [cell] = directory.cells()
    assert cell.config["method"] == f"{home / 'mine.py'}:PixelMean"
    assert list((directory.path / "code").rglob("mine.py")), "it is kept all the same"


def test_an_archive_is_all_that_another_machine_needs(home: Path, tmp_path: Path) -> None:
    first = run(home, seeds=[0, 1])
    figures = load_results(first.path)[FIGURES]
    before = scores(first.cell("parts", "mine", "multi-class", 0).directory, home, "before")
    archive = pack(first.path, tmp_path / "mine.tar.gz")
    other = tmp_path / "other"
    with tarfile.open(archive) as tar:
        assert {(entry.uid, entry.uname) for entry in tar} == {(0, "")}
        tar.extractall(other, filter="data")
    (home / "data").rename(tmp_path / "data there")
    (home / "data").mkdir()
    for gone in (home / "run", home / "mine.py", home / "factor_of_mine.py", tmp_path / "cache"):
        shutil.rmtree(gone) if gone.is_dir() else gone.unlink()
    there = RunDirectory(other / "run")
    pd.testing.assert_frame_equal(load_results(there.path)[FIGURES], figures)
    cell = there.cell("parts", "mine", "multi-class", 0)
    images = tmp_path / "data there" / "nut" / "test" / "hole"
    pd.testing.assert_frame_equal(
        pd.read_csv(predict_images(cell.directory, images, tmp_path / "after").scores), before
    )

    grid = load_grid(there.path, {"datasets.parts.root": str(tmp_path / "data there")})
    assert not run_grid(grid, there.path, engine=InProcess(), quiet=True).failed
    pd.testing.assert_frame_equal(load_results(there.path)[FIGURES], figures)
    shutil.rmtree(there.cell("parts", "mine", "multi-class", 1).directory)
    run_grid(grid, there.path, engine=InProcess(), quiet=True)
    pd.testing.assert_frame_equal(load_results(there.path)[FIGURES], figures)


def test_a_cell_is_repeated_exactly(home: Path) -> None:
    [cell] = run(home).cells()
    found = rerun_cell(cell.directory)
    assert found.same()
    assert found.text().endswith("every figure is the same")
    assert (found.differences()["difference"].dropna() == 0).all()
    table = pd.read_csv(cell.directory / "metrics.csv")
    table.loc[table["metric"] == "i_auroc", "value"] -= 0.25
    table.to_csv(cell.directory / "metrics.csv", index=False)
    assert not found.same()
    [line] = [line for line in found.text().splitlines() if line.startswith("i_auroc")]
    assert line.split()[3] == "0.25"


def test_pack_refuses_another_ending(home: Path) -> None:
    directory = run(home)
    with pytest.raises(UserError, match=r"ends with \.tar, \.tar\.gz or \.tar\.xz"):
        pack(directory.path, home / "run.zip")
    made = subprocess.run(
        [sys.executable, "-m", "diadbench", "pack", str(directory.path)], capture_output=True, text=True, check=False
    )
    assert made.returncode == 0, made.stderr
    assert (home / "run.tar").is_file()


def test_nothing_is_left_of_a_repetition_that_fails(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    [cell] = run(home).cells()
    (home / "data").rename(home / "away")
    assert main(["rerun", str(cell.directory), "--out", str(home / "reruns" / "first")]) == 2
    assert "its repetition ended as error: " in capsys.readouterr().err
    assert not (home / "reruns").exists()


def test_a_pack_that_is_ended_leaves_nothing(home: Path) -> None:
    directory = run(home)
    with open(directory.cells()[0].directory / "checkpoint" / "large.bin", "wb") as file:
        file.truncate(1 << 30)
    command = [sys.executable, "-m", "diadbench", "pack", str(directory.path), "--out", str(home / "p" / "run.tar.xz")]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    while process.poll() is None and not any((home / "p").glob(".*")):
        time.sleep(0.02)
    process.terminate()
    assert process.communicate()[1] == "diadbench: interrupted\n"
    assert process.returncode == 130
    assert not list((home / "p").iterdir())
