"""Runs as people type them: without a grid, beside one, a part of it, before the data are there."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
import yaml

from diadbench import datasets
from diadbench.benchmark.planning.grid import load_grid, parse_grid
from diadbench.benchmark.planning.plan import make_plan
from diadbench.benchmark.planning.planned import summary
from diadbench.benchmark.planning.typed_grid import Typed, typed_grid
from diadbench.benchmark.records.store import RunDirectory
from diadbench.cli import main
from diadbench.common.errors import UserError
from diadbench.datasets.table import limited
from tests.helpers.real_run import make_run, write_images

pytestmark = pytest.mark.usefixtures("cells_in_this_process")
MINE = """
import torch
from diadbench.methods.base import Method, MethodInfo, Prediction

class Mine(Method):
    info = MethodInfo("mine", "Mine", "Brightness.", batch_invariant=True)
    def __init__(self, gain: float = 1.0) -> None:
        self.gain = gain
    def fit(self, train, run):
        pass
    def predict(self, images):
        maps = images.mean(1) * self.gain
        return Prediction(maps, maps.amax((1, 2)))
    def save(self, directory):
        (directory / "none").touch()
    def load(self, directory, run):
        pass
"""
TOY = {"options": {"size": 32, "train": 4, "test_good": 4, "test_bad": 1}}


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DIADBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("DIADBENCH_DATA", raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.chdir(tmp_path)
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        for name in ("first", "second"):
            (tmp_path / folder / f"{name}.py").write_text(MINE)
    return tmp_path


def words(*typed: str, methods: tuple[str, ...] = (), data: tuple[str, ...] = ()) -> tuple[list[str], list[str]]:
    told: list[str] = []
    grid = typed_grid(Typed(typed, methods, data), told.append)
    return list(grid.methods), told


# -- the grid ------------------------------------------------------------------------------------------------


def test_methods_and_datasets_are_a_grid() -> None:
    grid = typed_grid(Typed([], ["mean-image", "a/first.py:Mine"], ["toy"], {"seeds": [0, 1, 2]}), pytest.fail)
    assert list(grid.methods) == ["mean-image", "Mine"]
    assert (list(grid.datasets), grid.seeds, grid.name) == (["toy"], [0, 1, 2], "mean-image+Mine-on-toy")
    assert grid.methods["Mine"].method == str(Path("a/first.py:Mine").absolute())


def test_without_a_grid_both_must_be_there(capsys: pytest.CaptureFixture[str]) -> None:
    for given in ([], ["--method", "mean-image"], ["--dataset", "toy"], ["seeds=[0]"]):
        assert main(["run", *given]) == 2
        assert "no grid: name one" in capsys.readouterr().err


def test_beside_a_grid_methods_are_added_and_never_replaced() -> None:
    before = load_grid("demo").methods
    told: list[str] = []
    grid = typed_grid(Typed(["demo"], ["patchcore", "pixel-knn", "a/first.py:Mine"], ["toy", "mvtec"]), told.append)
    assert {label: grid.methods[label] for label in before} == before
    assert list(grid.methods) == [*before, "Mine"]
    assert list(grid.datasets) == ["toy", "elpv", "mvtec"]
    assert told == [f"{one} is in the grid already, as {one.split()[1]}; it stays as it is there" for one in
                    ("method patchcore", "method pixel-knn", "dataset toy")]  # fmt: skip


def test_options_of_what_is_added_can_be_typed() -> None:
    grid = typed_grid(Typed(["demo", "methods.Mine.options.gain=3"], ["a/first.py:Mine"]), pytest.fail)
    assert grid.methods["Mine"].options == {"gain": 3}
    assert grid.methods["Mine"].method.endswith("a/first.py:Mine")


def test_classes_of_one_name_are_told_apart() -> None:
    grid = typed_grid(Typed([], ["a/first.py:Mine", "b/second.py:Mine"], ["toy"]), pytest.fail)
    assert {label: Path(spec.method).name for label, spec in grid.methods.items()} == {
        "first.Mine": "first.py:Mine",
        "second.Mine": "second.py:Mine",
    }
    three, _ = words(methods=("a/first.py:Mine", "b/first.py:Mine", "b/second.py:Mine"), data=("toy",))
    assert len(set(three)) == 3
    Path("grid.yaml").write_text("methods: {Mine: {method: 'a/first.py:Mine'}}\ndatasets: [toy]\n")
    assert words("grid.yaml", methods=("b/first.py:Mine",))[0] == ["Mine", "first.Mine"]
    labels, told = words("grid.yaml", methods=("a/first.py:Mine",))
    assert labels == ["Mine"]
    assert told == ["method a/first.py:Mine is in the grid already, as Mine; it stays as it is there"]


# -- what isn't there ------------------------------------------------------------------------------------------


def grid_file(**more: object) -> Path:
    path = Path("grid.yaml")
    values = {"methods": ["mean-image", "pixel-knn"], "datasets": {"toy": TOY, "mvtec": None, "visa": None}}
    path.write_text(yaml.safe_dump({**values, "image_size": 32, "threads": 1, "device": "cpu", **more}))
    return path


def test_a_dry_run_needs_no_data(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", str(grid_file()), "--dry-run", "--data-root", "a"]) == 0
    text = capsys.readouterr().out
    assert "3,629 + 1,725" in text  # MVTec AD's published images
    assert "8,659 + 2,162" in text  # VisA's
    assert text.count("not found in") == 2  # each once, below the table
    assert not Path("runs").exists()


def test_all_that_is_missing_is_told_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", str(grid_file()), "--data-root", "a"]) == 2
    error = capsys.readouterr().err
    assert "2 things stand in the way:\n  (1) dataset 'mvtec'" in error
    assert "(2) dataset 'visa'" in error
    assert error.count("\n") == 4  # a line each, and what --skip-missing does
    assert max(map(len, error.splitlines())) <= 300
    assert not Path("runs").exists()


def test_what_is_wrong_is_not_passed_over(capsys: pytest.CaptureFixture[str]) -> None:
    grid = grid_file(methods={"mean-image": {"options": {"sise": 3}}})
    assert main(["run", str(grid), "--skip-missing", "--data-root", "a"]) == 2
    assert "unknown option 'sise'" in capsys.readouterr().err


def test_a_missing_package_costs_its_dataset_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pycocotools", None)
    grid = parse_grid({"methods": ["mean-image"], "name": "x", "threads": 1, "device": "cpu", "image_size": 32,
                       "datasets": {"toy": TOY, "coco_ad": {"root": "sample"}}})  # fmt: skip
    plan = make_plan(grid, RunDirectory("run", must_exist=False), missing="show")
    assert [planned.run for planned in plan.cells] == [True, False]
    assert "pip install 'diadbench[coco]'" in plan.missing[0]


def test_what_is_there_runs_and_tables_say_what_is_not(capsys: pytest.CaptureFixture[str]) -> None:
    run = make_run(Path("r"), methods=["One"], datasets={"here": ["nut"]}, seeds=[0])
    more = run.grid["datasets"] | {"visa": {"dataset": "visa", "root": "nowhere"}}
    Path("grid.yaml").write_text(yaml.safe_dump({**run.grid, "datasets": more}))
    assert main(["run", "grid.yaml", "--out", "r", "--skip-missing", "--no-report"]) == 0
    assert "left out: 1 cell: dataset 'visa'" in capsys.readouterr().err
    states = {cell.dataset: cell.state for cell in RunDirectory("r").cells()}
    assert states == {"here": "done", "visa": "skipped"}
    assert main(["table", "r", "--metrics", "i_auroc"]) == 0
    assert "no result: skipped: dataset 'visa'" in " ".join(capsys.readouterr().out.split())
    # a result whose data have gone since is still a result
    root = Path(next(iter(run.grid["datasets"].values()))["root"])
    root.rename(root.with_name("gone"))
    assert main(["run", "grid.yaml", "--out", "r", "--skip-missing", "--no-report"]) == 0
    assert {cell.dataset: cell.state for cell in RunDirectory("r").cells()} == states


# -- a part of it --------------------------------------------------------------------------------------------------


def test_only_runs_a_part_and_the_rest_waits() -> None:
    grid = parse_grid({"methods": ["mean-image", "pixel-knn"], "name": "x", "threads": 1, "device": "cpu",
                       "image_size": 32, "datasets": {"toy": TOY, "mvtec": {"root": "nowhere"}}})  # fmt: skip
    directory = RunDirectory("run", must_exist=False)
    plan = make_plan(grid, directory, only=["pixel-knn", "toy"])  # mvtec isn't needed, so it may be away
    assert [(planned.cell.key[:2], planned.run) for planned in plan.cells if planned.run] == [
        (("toy", "pixel-knn"), True)
    ]
    assert len(plan.to_keep()["cells"]) == 4
    assert len(make_plan(grid, directory, only=["toy"]).pending) == 2
    with pytest.raises(UserError, match=r"--only: unknown method or dataset 'toi'; did you mean toy\?"):
        make_plan(grid, directory, only=["toi"])


def test_what_waits_is_not_called_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    toy, mean = {"dataset": "toy", **TOY}, {"method": "mean-image"}
    methods = {"a": mean, "b": {"method": "pixel-knn"}}
    grid = {"methods": methods, "datasets": {"toy": toy, "two": {**toy}}, "name": "x",
            "threads": 1, "device": "cpu", "image_size": 32, "seeds": [0, 1]}  # fmt: skip
    (tmp_path / "grid.yaml").write_text(yaml.safe_dump(grid))
    words = ["run", "grid.yaml", "--out", "r", "--no-report"]

    def said(*more: str) -> str:
        assert main([*words, *more]) == 0
        return " ".join("".join(capsys.readouterr()).split())

    assert "r: 2 cells to run, 0 kept, 6 not in --only" in said("--only", "a", "toy", "--dry-run")
    assert "2 cells to run, 0 kept, 6 not in --only, in r" in said("--only", "a", "toy")
    again = said("--only", "toy", "--dry-run")
    assert "r: 2 cells to run, 2 kept, 4 not in --only" in again
    assert "wait" in again
    plan = make_plan(load_grid("grid.yaml"), RunDirectory("r"))
    assert summary(plan.cells, plan.pending[:1]) == "1 cell to run, 2 kept, 5 over the budget"
    (tmp_path / "grid.yaml").write_text(yaml.safe_dump({**grid, "methods": {"c": mean, **methods}}))
    said("--only", "c", "toy")
    states = {(cell.dataset, cell.method, cell.seed): cell.state for cell in RunDirectory("r").cells()}
    assert states["toy", "a", 0] == states["toy", "c", 0] == "done", "a result in its place is no other label's source"


def test_a_limit_keeps_both_kinds_and_every_defect() -> None:
    rows = [("a", "train", 0, "good")] * 9 + [("a", "test", 0, "good")] * 9
    rows += [("a", "test", 1, "hole")] * 6 + [("a", "test", 1, "scratch")] * 6 + [("b", "train", 0, "good")] * 2
    rows += [("b", "test", 0, "good")] * 1 + [("b", "test", 1, "hole")] * 6
    table = pd.DataFrame(rows, columns=["class", "split", "label", "defect"])
    table["image"] = table["sample_id"] = [f"{place}.png" for place in range(len(table))]
    few = limited(table, 4)
    counts = few.groupby(["class", "split", "defect"]).size().to_dict()
    assert counts == {
        ("a", "train", "good"): 4, ("a", "test", "good"): 2, ("a", "test", "hole"): 1, ("a", "test", "scratch"): 1,
        ("b", "train", "good"): 2, ("b", "test", "good"): 1, ("b", "test", "hole"): 3,
    }  # fmt: skip
    pd.testing.assert_frame_equal(limited(table, 100), table)


def test_views_of_a_sample_stay_together() -> None:
    table = pd.DataFrame({
        "class": "a", "split": ["train"] * 6 + ["test"] * 12, "label": [0] * 6 + ([0] * 2 + [1]) * 2 + [0] * 6,
        "defect": "x", "image": [f"{place}.png" for place in range(18)],
        "sample_id": [f"s{place // 3}" for place in range(18)],
    })  # fmt: skip
    few = limited(table, 2)
    assert set(few.groupby("sample_id").size()) == {3}
    assert few[few["split"] == "test"].groupby("sample_id")["label"].max().tolist() == [1, 0]


def test_a_limit_is_noted_and_decides_the_result(tmp_path: Path) -> None:
    write_images(tmp_path / "data", ["nut"], 16)
    values = {"methods": ["mean-image"], "name": "x", "threads": 1, "device": "cpu", "image_size": 32,
              "datasets": {"d": {"dataset": "folder", "root": str(tmp_path / "data")}}}  # fmt: skip
    directory = RunDirectory("run", must_exist=False)
    whole, few, more = (make_plan(parse_grid({**values, **limit}), directory).cells[0]
                        for limit in ({}, {"limit": 4}, {"limit": 99}))  # fmt: skip
    assert (few.images, whole.images) == ((3, 4), (3, 16))
    assert few.config["identity"] != whole.config["identity"] == more.config["identity"]
    assert "a quick look: at most 4 training and test samples of each class" in few.config["dataset_info"]["flags"]
    again = datasets.get("folder", tmp_path / "data", **few.config["dataset_options"])
    assert len(again.samples) == 7
    with pytest.raises(UserError, match="limit: expected at least 2"):
        parse_grid({**values, "limit": 1})
