"""What is undefined in one seed, for one class or on one dataset: no mean hides it, and every dash says why."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from diadbench.benchmark.planning.grid import parse_grid
from diadbench.benchmark.runs.runner import run_grid
from diadbench.cli import main
from diadbench.reports import cut, load_results, prepare
from diadbench.reports.published.published_files import as_published, load_published
from diadbench.reports.tables.source import Source
from diadbench.reports.tables.threshold_table import threshold_notes, threshold_rows

HELPERS = Path(__file__).resolve().parents[1] / "helpers"
METHOD = '''
import torch
from pixel_mean import PixelMean
from diadbench.methods.base import Prediction


class Doubtful(PixelMean):
    """Has no score for an image that is dark where the first class is, in one seed."""

    def fit(self, train, run):
        self.odd = run.seed == 1
        super().fit(train, run)

    def predict(self, images):
        found = super().predict(images)
        lost = self.odd & (images.mean((1, 2, 3)) < 0.305)
        return Prediction(found.anomaly_map, torch.where(lost, torch.nan, found.score))
'''


@pytest.fixture(scope="module")
def run(make_run: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One method on two classes; in one of three seeds the scores of one class are NaN."""
    spec = importlib.util.spec_from_file_location("real_run", HELPERS / "real_run.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    place = tmp_path_factory.mktemp("undefined")
    (place / "doubtful.py").write_text(METHOD, encoding="utf-8")
    (place / "pixel_mean.py").write_text((HELPERS / "pixel_mean.py").read_text(encoding="utf-8"), encoding="utf-8")
    module.write_images(place / "parts", ["bolt", "nut"], 8)
    grid = {
        "name": "undefined",
        "methods": {"doubtful": {"method": f"{place / 'doubtful.py'}:Doubtful"}},
        "datasets": {"parts": {"dataset": "folder", "root": str(place / "parts")}},
        "seeds": [0, 1, 2], "image_size": 32, "device": "cpu", "threads": 1,
    }  # fmt: skip
    run_grid(parse_grid(grid), place / "run", engine=module.InProcess(), quiet=True)
    return place / "run"


def test_a_mean_of_fewer_seeds_says_why(run: Path) -> None:
    results = load_results(run)
    lost = results[(results["metric"] == "i_auroc") & (results["scope"] == "class") & results["value"].isna()]
    assert set(lost["seed"]) == {1}
    table = cut(prepare(results), rows=["method"], columns=["class"], metrics=["i_auroc"])
    notes = " ".join(text for _, text in table.notes)
    assert "undefined in 1 of 3 seeds and are means of the rest (NaN or infinity in" in notes


def test_thresholds_for_all_classes_are_no_mean_of_the_seeds_that_have_one(run: Path) -> None:
    source = Source.load(run)
    table = threshold_rows(source)
    kept = [pd.read_csv(path) for path in sorted((run / "cells").glob("*/*/*/seed*/decisions.csv"))]
    assert [int(((one["kind"] == "pooled") & (one["level"] == "image")).sum()) > 0 for one in kept] == [
        True,
        False,
        True,
    ]
    images = table[table["level"] == "Images"]
    assert (images["seeds"] == 3).all()
    assert images[["own", "f1", "recall", "fpr"]].isna().all(axis=None)
    assert any("in a seed there is no threshold for all classes" in note for note in threshold_notes(source))


def test_a_method_that_lacks_a_dataset_is_sorted_after_those_that_have_it(
    make_run: Callable[..., Any], tmp_path: Path
) -> None:
    make_run(
        tmp_path / "run", methods=["DiAD", "UniAD"], datasets={"easy": ["a"], "hard": ["b"]}, seeds=[0], images=8,
        ends={("hard", "DiAD", 0): {"raises": "it fails"}},
    )  # fmt: skip
    results = load_results(tmp_path / "run")
    results.loc[results["dataset"] == "hard", "value"] *= 0.5
    table = cut(prepare(results, show={"sort": "p_ap"}), rows=["method"], columns=["dataset"], metrics=["p_ap"])
    assert [row[0].text for row in table.rows] == ["UniAD", "DiAD"]


def test_published_figures_keep_their_decimals(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["published", "list", "--dataset", "mvtec", "--setting", "multi-class"]) == 0
    shown = capsys.readouterr().out
    assert max(map(len, shown.partition("Percent, as printed there")[0].splitlines())) <= 80
    rows = load_published()
    row = rows[(rows["method"] == "Dinomaly (ViT-L)") & (rows["source"] == "Dinomaly paper")].iloc[0]
    texts = [as_published(float(row[key])) for key in ("i_auroc", "p_ap", "aupro")]
    assert json.loads(f"[{', '.join(texts)}]") == [row["i_auroc"], row["p_ap"], row["aupro"]]
    assert all(text in shown for text in texts)
    assert as_published(97.0) == "97.0"
