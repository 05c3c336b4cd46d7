"""The smoke grid: every method on all six datasets, the same bits on every engine."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from diadbench.reports import load_results

KEYS = ["dataset", "method", "setting", "seed", "class", "scope", "metric"]
#: Engine, and how many cells at once.
ENGINES = {
    "local, one at a time": ["--jobs", "1"],
    "local, two at a time": ["--jobs", "2"],
    "ray": ["--engine", "ray", "--jobs", "2"],
    "slurm": ["--engine", "slurm", "--jobs", "2", "engine_options.cluster=local"],
}


def smoke(run: Path, *options: str, grid: str = "smoke", cwd: Path | None = None) -> pd.DataFrame:
    """Run the grid in a process of its own; return its results, sorted."""
    command = [sys.executable, "-P", "-m", "diadbench", "run", grid, "--no-report", "--out", str(run), *options]
    cache = run.absolute().parents[1] / "cache"
    environment = {**os.environ, "DIADBENCH_CACHE": str(cache)}
    done = subprocess.run(command, env=environment, check=False, capture_output=True, text=True, cwd=cwd)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return load_results(run).sort_values(KEYS).reset_index(drop=True)


def ends(run: Path) -> dict[str, int]:
    """When each cell ended, by its place in the run directory."""
    return {str(path.relative_to(run)): path.stat().st_mtime_ns for path in run.rglob("status.json")}


@pytest.mark.slow
def test_the_smoke_grid_is_the_same_on_every_engine(tmp_path: Path) -> None:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    first = tmp_path / "calm" / "run"
    calm = smoke(first, *ENGINES["local, one at a time"])
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    minutes = (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime) / 60
    print(f"\nsmoke: {minutes:.1f} CPU minutes")
    assert set(calm["state"]) == {"done"}
    assert calm.groupby("dataset")["method"].nunique().eq(8).all()
    assert calm["dataset"].nunique() == 6
    for number, (engine, options) in enumerate(list(ENGINES.items())[1:]):
        found = smoke(tmp_path / str(number) / "run", *options)
        pd.testing.assert_frame_equal(found[[*KEYS, "value"]], calm[[*KEYS, "value"]], check_exact=True, obj=engine)
        assert found["configuration"].tolist() == calm["configuration"].tolist()
    before = ends(first)
    again = smoke(first, "--jobs", "2", grid=str(first), cwd=tmp_path)
    assert ends(first) == before, "from another working directory nothing is run again"
    pd.testing.assert_frame_equal(again, calm, check_exact=True)
    moved = first.rename(tmp_path / "calm" / "moved")
    after = smoke(moved, "--jobs", "2", grid=str(moved), cwd=tmp_path)
    assert ends(moved) == before, "after moving nothing is run again"
    places = ["run", "path"]
    pd.testing.assert_frame_equal(after.drop(columns=places), calm.drop(columns=places), check_exact=True)
