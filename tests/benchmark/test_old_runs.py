"""A run directory that an early version (commit 19bebfa) left is still read, reported on and used for predictions.

``tests/kept/run-19bebfa.tar.xz`` was made by that version: four methods on small toy images, two seeds, maps kept as
float16; the cells of one method failed.
"""

from __future__ import annotations

import csv
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from diadbench.benchmark.planning.grid import load_grid
from diadbench.benchmark.records.store import RunDirectory, load_results
from diadbench.benchmark.reuse.predict import predict_images
from diadbench.benchmark.reuse.reevaluate import evaluate_run
from diadbench.cli import main
from diadbench.reports import build

ARCHIVE = Path(__file__).parents[1] / "kept" / "run-19bebfa.tar.xz"
METHODS = {"mean-image", "pixel-knn", "mine", "failing"}


@pytest.fixture
def old_run(tmp_path: Path) -> Path:
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(tmp_path, filter="data")
    return tmp_path / "kept-19bebfa"


def mean_of(cell: Path, metric: str) -> float:
    with open(cell / "metrics.csv", newline="") as file:
        return next(
            float(row["value"]) for row in csv.DictReader(file) if (row["scope"], row["metric"]) == ("mean", metric)
        )


def test_results_are_the_cells_figures(old_run: Path) -> None:
    results = load_results(old_run)
    assert set(results["method"]) == METHODS
    assert set(results.loc[results["method"] == "failing", "state"]) == {"error"}
    rows = results[(results["method"] == "mine") & (results["scope"] == "mean") & (results["metric"] == "i_auroc")]
    for seed, value in zip(rows["seed"], rows["value"], strict=True):
        assert value == mean_of(old_run / f"cells/toy/mine/multi-class/seed{seed}", "i_auroc")


def test_a_report_prints_the_mean_over_its_seeds(old_run: Path) -> None:
    build(old_run, ["markdown"])
    values = [mean_of(old_run / f"cells/toy/mean-image/multi-class/seed{seed}", "p_auroc") for seed in (0, 1)]
    text = (old_run / "report" / "tables" / "summary.md").read_text()
    assert f"{100 * np.mean(values):.1f}" in next(line for line in text.splitlines() if "Mean image" in line)


def test_its_grid_is_read(old_run: Path) -> None:
    grid = load_grid(old_run)
    assert set(grid.methods) == METHODS
    assert grid.seeds == [0, 1]
    assert len(RunDirectory(old_run).cells()) == 8


def test_kept_maps_are_evaluated_again(old_run: Path, one_core: None) -> None:
    made, _ = evaluate_run(old_run, "exact", None, lambda done, total, what: None)
    for seed in (0, 1):
        cell = f"cells/toy/mean-image/multi-class/seed{seed}"
        assert mean_of(made.path / cell, "p_auroc") == pytest.approx(mean_of(old_run / cell, "p_auroc"), abs=1e-3)


def test_its_fitted_model_predicts(old_run: Path, tmp_path: Path) -> None:
    Image.new("RGB", (48, 48), (90, 120, 60)).save(tmp_path / "a.png")
    scores = predict_images(old_run / "cells/toy/mean-image/multi-class/seed0", tmp_path / "a.png", tmp_path / "out")
    assert len(scores.scores.read_text().splitlines()) == 2


def test_verify_says_once_of_a_cell_what_it_lacks(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", str(ARCHIVE)]) == 1
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("found: toy / ")]
    assert len(lines) == 8
    assert all("as earlier versions left it; nothing else of the cell was checked" in line for line in lines)
