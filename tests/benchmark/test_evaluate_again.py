"""``evaluate``: by class, on several cores, going on where a killed one stopped; the same figures as the cell's own."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pandas as pd
import pytest

from diadbench.benchmark.records.store import RunDirectory, load_results
from diadbench.benchmark.reuse import reevaluate
from diadbench.benchmark.reuse.reevaluate import Task, compute_class, evaluate_run
from diadbench.common.errors import UserError

sys.path.insert(0, str(Path(__file__).parents[1] / "helpers"))
from real_run import make_run

COLUMNS = ["class", "scope", "metric", "value", "reason", "n_normal", "n_anomalous", "n_defined", "n_classes"]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    folder = tmp_path_factory.mktemp("evaluate")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DIADBENCH_CACHE", str(folder / "cache"))
        return make_run(
            folder / "run", methods=["DiAD"], datasets={"visa": ["candle", "cashew"]}, seeds=(0,), images=4,
            keep_maps="float32",
        )  # fmt: skip


def silent(done: int, total: int, what: str) -> None:
    """Say nothing."""


@pytest.mark.parametrize("cores", [1, 2])
def test_the_same_figures_on_any_number_of_cores(
    run: RunDirectory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cores: int
) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda process: set(range(cores)))
    again, left_out = evaluate_run(run.path, "exact", tmp_path / "again", silent)
    assert left_out == []
    pd.testing.assert_frame_equal(load_results(again.path)[COLUMNS], load_results(run.path)[COLUMNS])
    [cell] = again.cells()
    assert "every figure is the run's own" in cell.status["notes"]
    assert cell.curves().keys() == {"candle", "cashew"}
    assert not (cell.directory / "evaluating").exists()


def test_a_killed_evaluation_goes_on_with_the_next_class(
    run: RunDirectory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    [cell] = run.cells()
    target = tmp_path / "again"
    assert compute_class(Task(cell.directory, target, "exact"), "candle") == ""  # and then it was killed
    computed = []
    original = reevaluate._result

    def evaluation(task: Task, name: str) -> object:
        computed.append(name)
        return original(task, name)

    monkeypatch.setattr(reevaluate, "_result", evaluation)
    monkeypatch.setattr("os.sched_getaffinity", lambda process: {0})
    for _ in range(2):  # the second time there is nothing left to do
        made, _ = evaluate_run(run.path, "exact", target, silent)
        assert computed == ["cashew"]
    pd.testing.assert_frame_equal(load_results(made.path)[COLUMNS], load_results(run.path)[COLUMNS])


def test_another_run_is_not_evaluated_over(run: RunDirectory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda process: {0})
    other = shutil.copytree(run.path, tmp_path / "other")
    before = (other / "grid.yaml").read_bytes()
    with pytest.raises(UserError, match="other: a run, which would be overwritten; choose another directory"):
        evaluate_run(run.path, "ader", other, silent)
    assert (other / "grid.yaml").read_bytes() == before
    evaluate_run(run.path, "ader", tmp_path / "made", silent)
    with pytest.raises(UserError, match="made: holds an evaluation of run by ader; choose another"):
        evaluate_run(run.path, "exact", tmp_path / "made", silent)
    shutil.rmtree(next(other.rglob("maps")))
    with pytest.raises(UserError, match="no maps were kept"):
        evaluate_run(other, "ader", tmp_path / "nothing", silent)
    assert not (tmp_path / "nothing").exists()
