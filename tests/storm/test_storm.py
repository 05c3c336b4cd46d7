"""Storms over a running grid: the same command ends it, nothing runs to its end twice, no result is lost or changed."""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
import weather as storms
import yaml
from weather import Weather, rage, results, small_disk

from diadbench.benchmark.records.store import RunDirectory

#: Over both engines. More, or fewer, by the environment.
STORMS = int(os.environ.get("DIADBENCH_STORMS", "50"))
SEED = int(os.environ.get("DIADBENCH_STORM_SEED", "0"))


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[tuple[Path, bool]]:
    with small_disk(tmp_path, 48) as found:
        yield found


def over_local_engine(tmp_path: Path, disk: tuple[Path, bool], cells: int, count: int, *, cheap: bool) -> None:
    place, mounted = disk
    weather = Weather(tmp_path, place, cells, cheap=cheap)
    try:
        assert weather.start(weather.calm_grid, weather.calm_run).wait(timeout=600) == 0, weather.log.read_text()
        calm = results(weather.calm_run)
        kinds = (*storms.ANYWHERE, *(storms.AS_ROOT if mounted else ()))
        told = rage(weather, calm, kinds, count, SEED)
    finally:
        weather.stop()
    grids = told.pop("grids")
    print(f"\n{sum(told.values())} storms over {grids} grids of {cells} cells: {dict(told)}")
    if not mounted:
        print("no tmpfs could be mounted (not root): the disk was never full, no directory read-only")


def test_a_few_storms(tmp_path: Path, disk: tuple[Path, bool]) -> None:
    over_local_engine(tmp_path, disk, cells=10, count=6, cheap=True)


def start_eight(tmp_path: Path, disk: Path, *lingers: float) -> Weather:
    """Eight cells at once that take a minute, and after a signal so many seconds to end, by their method."""
    weather = Weather(tmp_path, disk, 10, cheap=True, jobs=8)
    grid = yaml.safe_load(weather.grid.read_text())
    for place, method in enumerate(grid["methods"].values()):
        method["options"] |= {"seconds": 60.0, "lingers": lingers[place] if lingers else 0.0}
    weather.grid.write_text(yaml.safe_dump(grid))
    return weather


def wait_for_eight(weather: Weather) -> None:
    until = time.monotonic() + 120
    while len(list(weather.run.glob("cells/*/*/*/*/scratch/row"))) < 8:
        assert time.monotonic() < until, weather.log.read_text()
        time.sleep(0.1)


def test_sigterm_to_a_runner_in_the_background_ends_eight_cells_with_their_reason(
    tmp_path: Path, disk: tuple[Path, bool]
) -> None:
    weather = start_eight(tmp_path, disk[0])
    weather.background = storms.in_background
    try:
        runner = weather.start()
        wait_for_eight(weather)
        runner.send_signal(signal.SIGINT)
        runner.send_signal(signal.SIGHUP)
        time.sleep(0.5)
        assert runner.poll() is None, "in the background Ctrl-C is meant for others"
        runner.send_signal(signal.SIGTERM)
        assert runner.wait(timeout=120) == 130
        reasons = [record.status.get("reason", "") for record in RunDirectory(weather.run).cells()]
        assert sum(reason.startswith("ended by SIGTERM") for reason in reasons) == 8
        assert (weather.run / "results.csv").is_file()
    finally:
        weather.stop()


def test_sigint_to_eight_cells_is_their_reason(tmp_path: Path, disk: tuple[Path, bool]) -> None:
    weather = start_eight(tmp_path, disk[0])
    weather.background = storms.in_background
    try:
        weather.start()
        wait_for_eight(weather)
        for worker in weather.processes("diadbench.benchmark.cells.worker"):
            worker.send_signal(signal.SIGINT)
        until = time.monotonic() + 30
        while (states := weather.states())["killed"] < 8 and time.monotonic() < until:
            time.sleep(0.1)
        assert states["killed"] == 8
        reasons = {record.status.get("reason", "") for record in RunDirectory(weather.run).cells()}
        assert "ended by SIGINT; the same command goes on from here" in reasons
    finally:
        weather.stop()


def test_ctrl_c_ends_eight_cells_in_the_time_of_the_slowest(tmp_path: Path, disk: tuple[Path, bool]) -> None:
    """One after the other they would take 30 seconds."""
    weather = start_eight(tmp_path, disk[0], 3.0, 5.0)
    try:
        runner = weather.start()
        wait_for_eight(weather)
        start = time.time()
        runner.send_signal(signal.SIGINT)
        assert runner.wait(timeout=120) == 130
        records = [record for record in RunDirectory(weather.run).cells() if record.state == "killed"]
        assert sum(record.status["reason"].startswith("ended by ") for record in records) == 8
        took = sorted(record.status["finished"] - start for record in records)
        assert took[-1] < 1.5 * 5.0, took
        assert took[0] > 2.9, "they had something to do"
    finally:
        weather.stop()


def test_two_runners_while_the_results_are_rebuilt(tmp_path: Path, disk: tuple[Path, bool]) -> None:
    """One runs everything again, so figures come and go; another helps; a third rebuilds the results all the time."""
    weather = Weather(tmp_path, disk[0], 10, cheap=True)
    try:
        assert weather.start(weather.calm_grid, weather.calm_run).wait(timeout=600) == 0, weather.log.read_text()
        weather.finish()
        before = {str(path): path.stat().st_mtime_ns for path in weather.run.glob("cells/*/*/*/*/status.json")}
        runners = [weather.start(None, None, "--overwrite", "always"), weather.start()]
        rebuilt = 0
        while any(runner.poll() is None for runner in runners):
            shutil.rmtree(weather.run / "results", ignore_errors=True)
            RunDirectory(weather.run).write_results()
            assert len(results(weather.run)), "there is a row for each cell, whatever its state"
            rebuilt += 1
        assert [runner.returncode for runner in runners] == [0, 0], weather.log.read_text()[-3000:]
        assert rebuilt > 3
        assert weather.all_done(), weather.states()
        after = {str(path): path.stat().st_mtime_ns for path in weather.run.glob("cells/*/*/*/*/status.json")}
        assert not {path for path, date in after.items() if date == before[path]}, "every cell has run again"
        pd.testing.assert_frame_equal(results(weather.run), results(weather.calm_run), check_exact=True)
    finally:
        weather.stop()


@pytest.mark.slow
def test_storms_over_the_local_engine(tmp_path: Path, disk: tuple[Path, bool]) -> None:
    over_local_engine(tmp_path, disk, cells=30, count=STORMS, cheap=True)


@pytest.mark.slow
def test_storms_over_a_ray_cluster(tmp_path: Path, disk: tuple[Path, bool]) -> None:
    pytest.importorskip("ray")
    from ray_weather import RayNodes, kill_node, kill_ray_worker

    place, mounted = disk
    weather = Weather(tmp_path, place, cells=30, cheap=True)
    with RayNodes(weather.environment) as nodes:
        weather.on_ray(nodes)
        try:
            assert weather.start(weather.calm_grid, weather.calm_run).wait(timeout=600) == 0, weather.log.read_text()
            calm = results(weather.calm_run)
            kinds = (*storms.ANYWHERE, *(storms.AS_ROOT if mounted else ()), kill_ray_worker, kill_node)
            told = rage(weather, calm, kinds, max(STORMS // 2, 8), SEED + 1)
        finally:
            weather.stop()
    grids = told.pop("grids")
    print(f"\n{sum(told.values())} storms over {grids} grids of 30 cells on a Ray cluster: {dict(told)}")
    assert nodes.killed
    assert told["kill_ray_worker"]


@pytest.mark.slow
def test_storms_over_real_cells(tmp_path: Path, disk: tuple[Path, bool]) -> None:
    over_local_engine(tmp_path, disk, cells=5, count=max(STORMS // 10, 3), cheap=False)
