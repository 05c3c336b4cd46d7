"""A run directory over its life: other labels, other options, other jobs, other places. Real cells, small ones."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from PIL import Image

import diadbench
from diadbench.benchmark.planning.grid import load_grid
from diadbench.benchmark.planning.plan import make_plan
from diadbench.benchmark.records.identity import Wanted
from diadbench.benchmark.records.store import RunDirectory, results_of
from diadbench.benchmark.runs.cell_writing import write_cell
from diadbench.benchmark.runs.directory_opening import open_directory
from diadbench.benchmark.runs.status import left_over_note, states
from diadbench.common.errors import UserError
from tests.helpers.real_run import local_engine_in_process

HELPERS = Path(__file__).parents[1] / "helpers"
KEYS = ["dataset", "method", "setting", "seed", "class", "scope", "metric"]


def write_data(root: Path) -> None:
    generator = np.random.default_rng(0)
    for folder, count in (("train/good", 3), ("test/good", 2), ("test/hole", 2)):
        for place in range(count):
            path = root / "nut" / folder / f"{place}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            pixels = generator.integers(90, 120, (32, 32, 3), dtype=np.uint8)
            if folder == "test/hole":
                pixels[4:12, 6:14] = 150
                truth = root / "nut" / "ground_truth" / "hole" / f"{place}_mask.png"
                truth.parent.mkdir(parents=True, exist_ok=True)
                mask = np.zeros((32, 32), dtype=np.uint8)
                mask[4:12, 6:14] = 255
                Image.fromarray(mask).save(truth)
            Image.fromarray(pixels).save(path)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a grid file, a method and data, all named by relative paths."""
    monkeypatch.setenv("DIADBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("DIADBENCH_TEST_LOG", str(tmp_path / "log"))
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    home = tmp_path / "home"
    home.mkdir()
    shutil.copy(HELPERS / "pixel_mean.py", home)
    write_data(home / "data")
    write_grid(home)
    return home


def write_grid(home: Path, **changes: Any) -> Path:
    raw = {
        "methods": {"mean": {"method": "pixel_mean.py:PixelMean"}},
        "datasets": {"parts": {"dataset": "folder", "root": "data"}},
        "image_size": 32,
        "device": "cpu",
        **changes,
    }
    (home / "g.yaml").write_text(yaml.safe_dump(raw))
    return home / "g.yaml"


def fits(home: Path) -> int:
    log = home.parent / "log"
    return sum(line.startswith("fit ") for line in log.read_text().splitlines()) if log.exists() else 0


def run(home: Path, *, overwrite: Any = "failed", processes: bool = False, **changes: Any) -> RunDirectory:
    path = write_grid(home, **changes)
    with contextlib.nullcontext() if processes else local_engine_in_process():
        found = diadbench.run(path, home / "run", overwrite=overwrite, quiet=True)
    assert not found.failed
    return RunDirectory(found.path)


def read_again(run: RunDirectory) -> pd.DataFrame:
    """Return what a report reads of a run: the results from the present state of its cells."""
    return results_of([(run.name, run)])


def figures(directory: RunDirectory | Path) -> pd.DataFrame:
    table = diadbench.load_results(directory.path if isinstance(directory, RunDirectory) else directory)
    return table.sort_values(KEYS).reset_index(drop=True)[[*KEYS, "value"]]


MEAN = {"method": "pixel_mean.py:PixelMean"}
TWICE = {**MEAN, "options": {"scale": 2.0}}


def test_another_label_finds_its_cells(home: Path) -> None:
    first = run(home, methods={"a": MEAN, "b": TWICE})
    before = figures(first)
    checkpoint = first.cell("parts", "a", "multi-class", 0).directory / "checkpoint"
    saved = {path.name: path.read_bytes() for path in checkpoint.rglob("*") if path.is_file()}
    dataset = {"other": {"dataset": "folder", "root": "data"}}
    swapped = run(home, methods={"b": MEAN, "c/d": TWICE}, datasets=dataset)
    assert fits(home) == 2
    assert set(diadbench.load_results(swapped.path)["state"]) == {"done"}
    names = {"a": "b", "b": "c/d"}
    expected = before.assign(dataset="other", method=before["method"].map(names))
    pd.testing.assert_frame_equal(figures(swapped), expected.sort_values(KEYS).reset_index(drop=True))
    cell = swapped.cell("other", "b", "multi-class", 0)
    assert (cell.config["dataset_label"], cell.config["method_label"]) == ("other", "b")
    moved = {path.name: path.read_bytes() for path in (cell.directory / "checkpoint").rglob("*") if path.is_file()}
    assert moved == saved
    assert not (swapped.path / "cells" / "parts").exists()
    assert not (swapped.path / "moving").exists()
    back = run(home, methods={"c/d": MEAN, "b": TWICE}, datasets=dataset)
    assert fits(home) == 2, "labels that are swapped"
    assert {cell.method: cell.config["method_options"]["scale"] for cell in back.cells()} == {"c/d": 1.0, "b": 2.0}


def test_two_labels_of_one_configuration_are_two_cells(home: Path) -> None:
    run(home, methods={"a": MEAN})
    both = run(home, methods={"a": MEAN, "b": MEAN})
    assert fits(home) == 2
    values = figures(both).set_index("method")["value"]
    np.testing.assert_array_equal(values.loc["a"], values.loc["b"])
    assert diadbench.load_results(both.path)["configuration"].nunique() == 1


def test_what_a_kill_left_on_the_way_is_found(home: Path) -> None:
    first = run(home, methods={"a": MEAN})
    record = first.cell("parts", "a", "multi-class", 0)
    place = first.path / "moving" / record.status["identity"]
    place.parent.mkdir()
    record.directory.rename(place)
    again = run(home, methods={"new": MEAN})
    assert fits(home) == 1
    assert again.cell("parts", "new", "multi-class", 0).config["method_label"] == "new"
    assert not place.parent.exists()


def test_a_stale_cell_says_so_and_shows_no_figures(home: Path) -> None:
    run(home)
    assert (home / "run" / "results.csv").is_file()
    changed = run(home, overwrite="never", methods={"mean": TWICE})
    assert fits(home) == 1
    [row] = diadbench.load_results(changed.path).to_dict("records")
    assert row["state"] == "stale"
    assert row["reason"] == "done with another configuration: method_options.scale 1.0 -> 2.0"
    assert np.isnan(row["value"])
    wanted = changed.wanted["parts", "mean", "multi-class", 0]
    assert (row["configuration"], row["identity"]) == (wanted.configuration, wanted.identity)
    pd.testing.assert_frame_equal(read_again(changed), diadbench.load_results(changed.path))
    [state] = states(changed)
    assert (state["state"], state["reason"]) == ("stale", row["reason"])
    fresh = run(home, methods={"mean": TWICE})
    assert set(diadbench.load_results(fresh.path)["state"]) == {"done"}


def test_another_protocol_runs_every_cell_again(home: Path) -> None:
    """No identity holds the protocol, so a cell's process must not take the result that is there for the wanted one."""
    run(home)
    for runs, protocol in enumerate(("uniad", "exact"), 2):
        again = run(home, protocol=protocol)
        (record,) = again.cells()
        assert (record.state, record.status["protocol"], record.config["protocol"]) == ("done", protocol, protocol)
        assert figures(again).set_index(["class", "metric"])["value"].notna()["nut", "i_auroc"]
        assert fits(home) == runs


def test_a_kill_before_a_cells_process_leaves_no_result_beside_another_configuration(home: Path) -> None:
    """The runner writes cell.yaml seconds before the cell's process reads it; the grid may be set back meanwhile."""
    run(home, methods={"mean": MEAN})
    grid = load_grid(write_grid(home, methods={"mean": TWICE}))
    plan = open_directory(make_plan(grid, RunDirectory(home / "run")))
    write_cell(plan.cells[0])  # and the machine is switched off
    back = run(home, methods={"mean": MEAN})
    (record,) = back.cells()
    assert (record.state, record.config["identity"]) == ("done", record.status["identity"])
    assert record.config["method_options"]["scale"] == 1.0


def test_cells_out_of_the_grid_or_removed_are_in_no_table(home: Path) -> None:
    first = run(home, methods={"a": MEAN, "b": TWICE})
    assert left_over_note(first) == ""
    left = run(home, methods={"b": TWICE})
    assert set(diadbench.load_results(left.path)["method"]) == set(read_again(left)["method"]) == {"b"}
    assert [record.method for record in left.left_over()] == ["a"]
    assert left_over_note(left) == "1 cell on disk is not in the grid; no table shows it"
    assert [state["method"] for state in states(left)] == ["b"]
    both = run(home, methods={"a": MEAN, "b": TWICE})
    assert fits(home) == 2, "it is there again"
    assert read_again(both)["method"].nunique() == 2
    shutil.rmtree(both.cell("parts", "a", "multi-class", 0).directory)
    assert not both.results_are_current()
    assert set(read_again(both)["method"]) == {"b"}


def test_a_directory_without_a_plan_shows_all_that_it_holds(home: Path) -> None:
    first = run(home, methods={"a": MEAN, "b": TWICE})
    run(home, methods={"b": TWICE})
    (first.path / "plan.json").unlink()
    assert set(diadbench.load_results(first.path)["method"]) == {"a", "b"}


def make_old(directory: RunDirectory, threads: int) -> None:
    """Turn a run directory into what a version without a plan has left behind."""
    (directory.path / "plan.json").unlink()
    for cell in directory.on_disk():
        status, config = dict(cell.status), dict(cell.config)
        for key in ("decides", "configuration", "earlier"):
            status.pop(key, None)
        status["identity"] = config["earlier"]
        status["environment"] = {**status["environment"], "threads": threads}
        config = {**config, "identity": config["earlier"], "run_directory": str(directory.path)}
        for key in ("decides", "configuration", "earlier", "threads"):
            config.pop(key)
        (cell.directory / "cell.yaml").write_text(yaml.safe_dump(config))
        (cell.directory / "status.json").write_text(json.dumps(status))
    text = (directory.path / "grid.yaml").read_text()
    home = str(directory.path.parent)
    assert home in text
    (directory.path / "grid.yaml").write_text(text.replace(f"{home}/", ""))  # it kept them as they were written


def test_a_directory_of_an_earlier_version_goes_on(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = run(home)
    before = figures(first)
    make_old(first, threads=3)
    monkeypatch.chdir(home.parent)
    found = diadbench.run(home / "run", home / "run", quiet=True)
    assert fits(home) == 1
    pd.testing.assert_frame_equal(figures(found.path), before)
    flags = set(diadbench.load_results(found.path)["flags"])
    assert flags == {"identity of an older version of diadbench; it doesn't say which code it was made with"}
    assert found.directory.kept["compute"]["threads"] == 3


# -- the same numbers everywhere ------------------------------------------------------------------------------------


def command(*words: str, cwd: Path) -> None:
    line = [sys.executable, "-P", "-m", "diadbench", "run", *words, "--no-report", "--quiet"]
    done = subprocess.run(line, cwd=cwd, env={**os.environ}, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]


def test_the_same_bits_for_any_jobs_from_anywhere_and_after_moving(home: Path, tmp_path: Path) -> None:
    write_grid(home, methods={"mean": MEAN, "knn": {"method": "pixel-knn"}})
    command("g.yaml", "--out", str(home / "run"), "--jobs", "1", cwd=home)
    one = figures(home / "run")
    assert fits(home) == 1
    command("home/g.yaml", "--out", "two", "--jobs", "2", cwd=tmp_path)
    pd.testing.assert_frame_equal(figures(tmp_path / "two"), one, check_exact=True)
    assert fits(home) == 2
    identities = [set(diadbench.load_results(path)["identity"]) for path in (home / "run", tmp_path / "two")]
    assert identities[0] == identities[1]
    stamps = {path: path.stat().st_mtime_ns for path in (home / "run").rglob("status.json")}
    command("home/run", "--jobs", "2", cwd=tmp_path)
    assert fits(home) == 2
    assert {path: path.stat().st_mtime_ns for path in (home / "run").rglob("status.json")} == stamps
    (home / "run").rename(tmp_path / "moved")
    command("../moved", cwd=home)
    assert fits(home) == 2
    pd.testing.assert_frame_equal(figures(tmp_path / "moved"), one, check_exact=True)


def test_what_lies_inside_a_run_directory_moves_along(home: Path, tmp_path: Path) -> None:
    inside = tmp_path / "run"
    inside.mkdir()
    for name in ("data", "pixel_mean.py"):
        shutil.move(home / name, inside / name)
    write_grid(
        home,
        methods={"mean": {"method": "../run/pixel_mean.py:PixelMean"}},
        datasets={"parts": {"dataset": "folder", "root": "../run/data"}},
    )
    command("g.yaml", "--out", "../run", cwd=home)
    assert fits(home) == 1
    moved = inside.rename(tmp_path / "other")
    shutil.rmtree(home)
    cell = RunDirectory(moved).cell("parts", "mean", "multi-class", 0)
    assert cell.config["root"] == str(moved / "data")
    code = Path(cell.config["method"].rpartition(":")[0])
    assert code.is_relative_to(moved / "code")
    assert code.read_bytes() == (moved / "pixel_mean.py").read_bytes()
    assert cell.config["run_directory"] == str(moved)
    command("other", "seeds=[0,1]", cwd=tmp_path)
    assert fits(home) == 2
    assert set(diadbench.load_results(moved)["state"]) == {"done"}


def test_relative_paths_are_relative_to_the_file_they_stand_in(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (home / "weights.pth").write_bytes(b"")
    write_grid(home, methods={"m": {**MEAN, "options": {"trouble": "weights.pth"}}, "pixel_mean.py:PixelMean": None})
    grid = load_grid("home/g.yaml")
    assert grid.datasets["parts"].root == str(home / "data")
    assert grid.methods["m"].method == f"{home / 'pixel_mean.py'}:PixelMean"
    assert grid.methods["m"].options == {"trouble": str(home / "weights.pth")}
    assert grid.methods["pixel_mean.py:PixelMean"].method == f"{home / 'pixel_mean.py'}:PixelMean"
    over = load_grid("home/g.yaml", {"datasets.parts.root": "home/data", 'methods."x"': {"method": "a.py:X"}})
    assert over.datasets["parts"].root == str(home / "data")
    assert over.methods["x"].method == f"{tmp_path / 'a.py'}:X"
    (tmp_path / "only_here").mkdir()
    write_grid(home, datasets={"parts": {"dataset": "folder", "root": "only_here"}})
    with pytest.raises(UserError, match=r"datasets\.parts\.root: only_here: not found in .*home; a relative path in"):
        load_grid("home/g.yaml")


def test_a_changed_helper_runs_the_cell_again(home: Path) -> None:
    (home / "scaling.py").write_text("FACTOR = 1.0\n")
    text = (home / "pixel_mean.py").read_text()
    text = text.replace("import numpy as np\n", "import numpy as np\nimport scaling\n").replace(
        "self.scale = scale\n", "self.scale = scale * scaling.FACTOR\n"
    )
    (home / "pixel_mean.py").write_text(text)
    before = run(home, processes=True)
    threshold = before.results().set_index(["class", "metric"])["value"]
    (home / "scaling.py").write_text('"""How much."""\nFACTOR = 1.0  # still\n')
    run(home, processes=True)
    assert fits(home) == 1
    (home / "scaling.py").write_text("FACTOR = 3.0\n")
    after = run(home, processes=True)
    assert fits(home) == 2
    assert Wanted.of(after.cell("parts", "mean", "multi-class", 0).config).decides["code"]["scaling"]
    assert after.results().set_index(["class", "metric"])["value"].index.equals(threshold.index)
