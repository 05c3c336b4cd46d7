"""What surrounds a run: nothing to do, the notification, status, forecasts and the budget. Cheap cells."""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image
from rich.console import Console

from diadbench.benchmark.cells.worker import Progress
from diadbench.benchmark.planning import forecast
from diadbench.benchmark.planning.grid import load_grid
from diadbench.benchmark.planning.plan import make_plan
from diadbench.benchmark.records.store import RunDirectory
from diadbench.benchmark.runs.presence import at_work, somebody_is_at_work
from diadbench.benchmark.runs.status import states, table
from diadbench.cli import main
from diadbench.common.errors import UserError
from diadbench.common.files import cache_dir, write_json

CHEAP = Path(__file__).resolve().parents[1] / "storm" / "cheap"


@pytest.fixture
def write_grid(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, [str(CHEAP), os.environ.get("PYTHONPATH")])))
    monkeypatch.setenv("DIADBENCH_CACHE", str(tmp_path / "cache"))
    for value, name in enumerate(("train/good", "test/good")):
        path = tmp_path / "data" / "thing" / name / "0.png"
        path.parent.mkdir(parents=True)
        Image.fromarray(np.full((8, 8, 3), value, dtype=np.uint8)).save(path)

    def write(**changes: Any) -> str:
        method = {"method": f"{CHEAP / 'storm_method.py'}:StormMethod", "options": {"seconds": 0.0}}
        grid = {
            "methods": {"nothing": method},
            "datasets": {"thing": {"dataset": "folder", "root": str(tmp_path / "data")}},
            "threads": 1,
            "device": "cpu",
            **changes,
        }
        (tmp_path / "grid.yaml").write_text(yaml.safe_dump(grid))
        return str(tmp_path / "grid.yaml")

    return write


def run(grid: str, out: Path, *more: str) -> int:
    return main(["run", grid, "--out", str(out), "--no-report", *more])


def test_a_run_with_nothing_to_do_leaves_the_results_alone(write_grid: Any, tmp_path: Path) -> None:
    grid, out = write_grid(seeds=[0, 1]), tmp_path / "run"
    assert run(grid, out) == 0
    results = out / "results.csv"
    before, text = results.stat().st_ino, results.read_text()
    assert run(grid, out) == 0
    assert results.stat().st_ino == before
    cell = RunDirectory(out).cell("thing", "nothing", "multi-class", 1)
    metrics = (cell.directory / "metrics.csv").read_text()
    (cell.directory / "metrics.csv").write_text(metrics.replace("mean,mean,mAD,", "mean,mean,mAD,1"))
    assert run(grid, out) == 0
    assert results.read_text() != text
    results.unlink()
    assert run(grid, out) == 0
    assert results.is_file()


@pytest.mark.parametrize(("state", "event"), [("done", "done"), ("timeout", "failed")])
def test_the_notification_says_how_it_ended(write_grid: Any, tmp_path: Path, state: str, event: str) -> None:
    method = {"method": f"{CHEAP / 'storm_method.py'}:StormMethod", "options": {"seconds": 0.0}}
    if state == "timeout":
        method = {**method, "options": {"seconds": 60.0}, "time_limit": "1s"}
    told = tmp_path / "told"
    notify = f'echo "$DIADBENCH_EVENT $DIADBENCH_FAILED $DIADBENCH_RUN" > {told}'
    code = run(write_grid(methods={"nothing": method}, notify=notify), tmp_path / "run")
    assert told.read_text().split() == [event, "0" if event == "done" else "1", str(tmp_path / "run")]
    assert (code == 0) == (event == "done")


def test_the_first_failure_is_told_while_the_others_run(write_grid: Any, tmp_path: Path) -> None:
    method = {"method": f"{CHEAP / 'storm_method.py'}:StormMethod", "options": {"seconds": 60.0}, "time_limit": "1s"}
    told = tmp_path / "told"
    notify = f'echo "$DIADBENCH_EVENT $DIADBENCH_FAILED $DIADBENCH_REASON" >> {told}'
    assert run(write_grid(methods={"slow": method}, seeds=[0, 1], notify=notify), tmp_path / "run") == 1
    assert told.read_text().splitlines() == ["cell_failed 1 over its time limit of 1 s", "failed 2 "]


def test_a_notification_that_hangs_costs_its_limit_and_no_result(
    write_grid: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("diadbench.benchmark.runs.notify.LIMIT", 0.5)
    assert run(write_grid(seeds=[0], notify="sleep 60"), tmp_path / "run") == 0
    assert "notify: the command took more than 0.5 s and was ended" in capfd.readouterr().err
    assert (tmp_path / "run" / "results.csv").is_file()


def test_a_result_that_vanishes_ends_nothing_and_is_made_again(
    write_grid: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As another runner does it that clears the cell, between the look at its state and the look into its file."""
    grid = write_grid(seeds=[0, 1])
    assert run(grid, tmp_path / "run") == 0
    directory = RunDirectory(tmp_path / "run")
    first, second = directory.cells()
    assert first.state == "done"
    (first.directory / "metrics.csv").unlink()
    assert first.metrics() == []
    assert (first.state, second.state) == ("killed", "done")
    assert "metrics.csv is gone" in first.status["reason"]
    directory.write_results()
    assert set(directory.results()["state"]) == {"killed", "done"}
    assert run(grid, tmp_path / "run") == 0
    assert set(directory.results()["state"]) == {"done"}


def test_status_for_programs_and_until_all_is_over(
    write_grid: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(write_grid(seeds=[0, 1]), tmp_path / "run") == 0
    capsys.readouterr()
    assert main(["status", str(tmp_path / "run"), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [(entry["seed"], entry["state"]) for entry in found] == [(0, "done"), (1, "done")]
    assert main(["status", str(tmp_path / "run"), "--follow"]) == 0
    assert "2 done" in capsys.readouterr().out


def test_following_ends_when_nothing_runs_and_nobody_is_there_to_go_on(
    write_grid: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    assert run(write_grid(seeds=[0, 1]), out) == 0
    (RunDirectory(out).cell("thing", "nothing", "multi-class", 1).directory / "status.json").unlink()
    ended = threading.Event()
    following = threading.Thread(
        target=lambda: (main(["status", str(out), "--follow", "--interval", "0.1"]), ended.set())
    )
    with at_work(out):
        assert somebody_is_at_work(out)
        following.start()
        assert not ended.wait(1), "a runner is there, and a cell waits for it"
    assert ended.wait(30)
    following.join()
    assert somebody_is_at_work(out) is False
    assert "nothing runs any more; 1 cell is left" in " ".join(capsys.readouterr().out.split())


def test_many_cells_are_cut_to_the_screen_the_interesting_ones_first(
    write_grid: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(write_grid(seeds=[0, 1, 2, 3]), tmp_path / "run") == 0
    directory = RunDirectory(tmp_path / "run")
    found = states(directory)
    found[2]["state"], found[3]["state"] = "oom", "running"
    capsys.readouterr()
    Console().print(table(directory, found, 2))
    out = capsys.readouterr().out
    assert [line.split()[3:5] for line in out.splitlines() if "nothing" in line] == [["3", "running"], ["2", "oom"]]
    assert "and 2 more" in out


def test_the_time_left_counts_from_the_start_of_the_step_and_from_where_it_resumed(
    write_grid: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run(write_grid(seeds=[0]), tmp_path / "run") == 0
    directory = RunDirectory(tmp_path / "run")
    (record,) = directory.cells()
    write_json(record.directory / "status.json", {**record.status, "state": "running", "started": 0.0})
    clock = iter([1000.0, 1010.0, 1020.0])
    monkeypatch.setattr("diadbench.benchmark.cells.worker.time.time", lambda: next(clock))
    told = Progress(record.directory)
    told(5, 5, "autoencoder")
    told(60, 100, "diffusion")
    with record.lock():
        assert states(directory)[0]["eta"] is None
        told(70, 100, "diffusion")
        monkeypatch.undo()
        assert states(RunDirectory(tmp_path / "run"))[0]["eta"] == pytest.approx(30.0)


def test_past_costs_order_cells_fill_the_budget_and_are_shown(
    write_grid: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    base = {"method": f"{CHEAP / 'storm_method.py'}:StormMethod"}
    methods = {
        name: {**base, "options": {"scale": scale}} for name, scale in (("short", 1.0), ("long", 2.0), ("new", 3.0))
    }
    grid = write_grid(methods=methods)
    plan = make_plan(load_grid(grid), RunDirectory(tmp_path / "run", must_exist=False))
    costs = {"short": 60.0, "long": 7200.0}
    for planned in plan.cells:
        if planned.cell.method.label in costs:
            seen = {"seconds": costs[planned.cell.method.label]}
            write_json(cache_dir() / "costs" / f"{forecast._key(planned.config)}.json", seen)
    names = [planned.cell.method.label for planned in forecast.in_turn(plan.pending)]
    assert names == ["new", "long", "short"]

    def chosen(budget: str, at_once: int | None = 1) -> list[str]:
        return [planned.cell.method.label for planned in forecast.within_budget(plan.pending, budget, at_once)]

    assert chosen("30s") == []
    assert chosen("1h") == ["short"]
    assert chosen("3h") == ["short", "long"]
    assert chosen("2h", at_once=1) == ["short"]
    assert chosen("2h", at_once=2) == ["short", "long"], "beside each other"
    assert chosen("65m", at_once=100_000) == ["short"], "no number of machines makes the long cell shorter"
    with pytest.raises(UserError, match="the cluster decides how many cells run at once; say how many: --jobs"):
        chosen("2h", at_once=None)
    assert run(grid, tmp_path / "run", "--dry-run", "--budget", "1h") == 0
    shown = capsys.readouterr().out
    assert "2:00:00" in shown
    assert "1 never timed here" in shown
    assert not (tmp_path / "run").exists()


def test_a_method_in_a_file_is_timed_like_any_other(
    write_grid: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(write_grid(), tmp_path / "run") == 0
    assert main(["run", write_grid(seeds=[0, 1]), "--dry-run", "--out", str(tmp_path / "other")]) == 0
    said = capsys.readouterr().out
    assert "for 2 cells; 0 never timed here" in " ".join(said.split())


def test_what_a_waiting_cell_lacks_is_not_told(
    write_grid: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    here = {"dataset": "folder", "root": str(tmp_path / "data")}
    grid = write_grid(datasets={"thing": here, "gone": {"dataset": "folder", "root": str(tmp_path / "nowhere")}})
    assert main(["run", grid, "--dry-run", "--only", "thing", "--out", str(tmp_path / "run")]) == 0
    said = capsys.readouterr().out
    assert "1 cell to run, 0 kept, 1 not in --only" in said
    assert "nowhere" not in "".join(said.split())
    assert "missing" not in said


def test_seed_lists_are_read_as_they_are_and_wrong_ones_refused(write_grid: Any) -> None:
    assert load_grid(write_grid(seeds=list(range(2000)))).seeds == list(range(2000))
    for wrong in ([0, 1.5], [0, "one"]):
        with pytest.raises(UserError, match="seeds"):
            load_grid(write_grid(seeds=wrong))
