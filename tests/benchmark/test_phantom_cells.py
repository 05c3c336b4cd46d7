"""The cells that a run directory names are those of its grid, no more: also where a method is kept to some datasets."""

from __future__ import annotations

from pathlib import Path

import pytest

from diadbench.benchmark.planning.grid import grid_names, load_grid, parse_grid
from diadbench.benchmark.records.store import RunDirectory
from diadbench.benchmark.runs.status import states

METHODS = {"mean-image": {}, "patchcore": {"datasets": ["toy"], "by_dataset": {"toy": {"coreset_ratio": 0.5}}}}
DATASETS = {"toy": {}, "other": {"dataset": "toy"}}


def directory_of(grid: object, path: Path) -> RunDirectory:
    """A run directory of an earlier version: it has no ``plan.json``."""
    path.mkdir()
    (path / "grid.yaml").write_text(grid.to_yaml(path), encoding="utf-8")  # type: ignore[attr-defined]
    return RunDirectory(path)


@pytest.mark.parametrize("name", sorted(grid_names()))
def test_every_packaged_grid_has_the_cells_that_its_directory_names(name: str, tmp_path: Path) -> None:
    grid = load_grid(name)
    assert list(directory_of(grid, tmp_path / "run").planned()) == [cell.key for cell in grid.cells()]


def test_a_method_kept_to_a_dataset_has_no_cell_on_another(tmp_path: Path) -> None:
    grid = parse_grid({"name": "g", "methods": METHODS, "datasets": DATASETS, "seeds": [0, 1]})
    directory = directory_of(grid, tmp_path / "run")
    assert [cell.key for cell in grid.cells()] == list(directory.planned())
    assert ("other", "patchcore") not in {(entry["dataset"], entry["method"]) for entry in states(directory)}
    assert len(states(directory)) == 6
