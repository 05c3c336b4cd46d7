"""Storms over a running grid: the same command ends it, nothing runs to its end twice, no result is lost or changed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import weather as storms
from weather import Weather, rage, results, small_disk

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
