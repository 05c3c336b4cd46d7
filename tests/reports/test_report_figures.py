"""Figures show what they say: the area under each drawn curve is the table's figure, and what is left out is said."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from diadbench.benchmark.metrics import curves as makers
from diadbench.benchmark.records.store import CURVES, METRICS, CellRecord, RunDirectory
from diadbench.common.errors import UserError
from diadbench.reports.figures import behaviour
from diadbench.reports.figures.curve_plots import MeanCurve, column_means, curves, mean_curve
from diadbench.reports.tables.source import Source

#: an area moves by less than this when a curve is thinned to 2000 columns and kept as float32
THINNED = 1e-3
DATASETS = {"all": ["a", "b"], "hole": ["a", "b", "c"], "no masks": ["a", "b"]}


@pytest.fixture(scope="module")
def run(make_run: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    """Two methods, two seeds; one dataset has a class without anomalies, one has no masks."""
    found = make_run(
        tmp_path_factory.mktemp("curves") / "run",
        methods=["A", "B"],
        datasets=DATASETS,
        seeds=(0, 1),
        undefined={"hole": ["c"]},
        without_masks=["no masks"],
        settings=["one-per-class"],
    )
    assert isinstance(found, RunDirectory)
    return found


@pytest.fixture(scope="module")
def source(run: RunDirectory) -> Source:
    return Source.load(run.path)


def _lines(figure: Figure) -> Iterator[tuple[str, str, np.ndarray[Any, Any], np.ndarray[Any, Any], str]]:
    """Yield ``(key of the kind, method, x, y, title of the panel)`` of each drawn curve, from matplotlib's artists."""
    for axes in figure.axes:
        for line in axes.lines:
            if line.get_gid() in CURVES:
                x, y = (np.asarray(values, float) for values in line.get_data())
                yield str(line.get_gid()), str(line.get_label()), x, y, axes.get_title()


def _expected(run: RunDirectory, dataset: str, method: str, metric: str, only: str | None) -> float:
    """Return the mean over seeds, straight from the cells' ``metrics.csv``."""
    tables = [
        pd.read_csv(run.cell(dataset, method, "one-per-class", seed).directory / "metrics.csv") for seed in (0, 1)
    ]
    rows = pd.concat(tables)
    rows = rows[(rows["metric"] == metric) & (rows["scope"] == ("class" if only else "mean"))]
    return float(rows.loc[rows["class"] == (only or "mean"), "value"].mean(skipna=False))


@pytest.mark.parametrize("only", [None, "a", "b"])
def test_the_area_under_each_drawn_curve_is_the_tables_figure(
    run: RunDirectory, source: Source, only: str | None
) -> None:
    figure = curves(source, "all", only)
    assert figure is not None
    seen = set()
    for kind, method, x, y, title in _lines(figure):
        metric = CURVES[kind].metric
        expected = _expected(run, "all", method, metric, only)
        limit = 0.3 if metric == "aupro" else 1.0
        assert (x[0], x[-1]) == (0, pytest.approx(limit))
        assert np.trapezoid(y, x) / limit == pytest.approx(expected, abs=THINNED), (kind, method)
        assert title.startswith(CURVES[kind].label)
        assert f"_{{{METRICS[metric].label.partition('_')[2]}}}" in title  # the level is the metric's own
        seen.add((kind, method))
    assert seen == {(kind, method) for kind in CURVES for method in ("A", "B")}
    assert "the area is not" not in figure.get_suptitle()


def test_image_and_pixel_curves_are_different_curves(source: Source) -> None:
    figure = curves(source, "all", "a")
    assert figure is not None
    heights = {kind: y for kind, method, _, y, _ in _lines(figure) if method == "A"}
    assert not np.allclose(heights["image_roc"], heights["roc"])
    assert not np.allclose(heights["image_pr"], heights["pr"])


def test_a_mean_over_a_hole_is_withheld_and_said(source: Source) -> None:
    assert curves(source, "hole") is None  # as the table, which says 2/3
    figure = curves(source, "hole", "b")
    assert figure is not None
    assert {kind for kind, *_ in _lines(figure)} == set(CURVES)


def test_undefined_kinds_are_said_and_never_replaced(source: Source) -> None:
    figure = curves(source, "no masks")
    assert figure is not None
    assert {kind for kind, *_ in _lines(figure)} == {"image_roc", "image_pr"}
    assert "undefined: ROC, pixels / PR, pixels / PRO, regions" in figure.get_suptitle()


def test_another_rule_of_a_protocol_is_said(make_run: Callable[..., Any], tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", methods=["A"], datasets={"d": ["a", "b"]}, seeds=(0,), protocol="adeval50")
    figure = curves(Source.load(run.path), "d")
    assert figure is not None
    assert "PR, pixels: the area is not the table's mAP$_{P}$ of A" in figure.get_suptitle()
    assert "protocol (adeval50)" in figure.get_suptitle()


def test_writer_and_readers_share_the_kinds(run: RunDirectory, tmp_path: Path) -> None:
    cell = run.cell("all", "A", "one-per-class", 0)
    assert set(cell.curves()) == {"a", "b"}
    assert set(cell.curves()["a"]) == set(CURVES) == set(makers._MAKERS)
    assert {info.metric for info in CURVES.values()} <= set(METRICS)
    assert all(info.level == METRICS[info.metric].level for info in CURVES.values())
    other = CellRecord(tmp_path / "cell")
    other.directory.mkdir()
    (other.directory / "metrics.csv").touch()
    other.write_status(state="done")
    np.savez(other.directory / "curves.npz", **{"classes": np.array(["a"]), "0/rock/x": [0.0], "0/rock/y": [0.0]})
    with pytest.raises(UserError, match="unknown kind of curve 'rock'"):
        other.curves()


def test_column_means_keep_the_area_of_steps_ramps_and_ties() -> None:
    generator = np.random.default_rng(0)
    for _ in range(20):
        x = np.sort(np.append(generator.random(30).round(1), [0, 1]))
        y = np.sort(generator.random(32))
        heights = column_means(CURVES["roc"], x, y, 1.0)
        assert heights.mean() == pytest.approx(np.trapezoid(y, x), abs=1e-12)
        recall = np.unique(x)[1:]
        precision = generator.random(len(recall))
        heights = column_means(CURVES["pr"], recall, precision, 1.0)
        assert heights.mean() == pytest.approx(np.sum(np.diff(recall, prepend=0) * precision), abs=1e-12)


def test_a_missing_curve_of_one_seed_withholds_the_mean() -> None:
    one = {"a": {"roc": (np.array([0.0, 1.0]), np.array([0.0, 1.0]))}}
    whole = mean_curve([(0.3, one), (0.3, one)], CURVES["roc"])
    assert isinstance(whole, MeanCurve)
    assert whole.area == pytest.approx(0.5)
    assert mean_curve([(0.3, one), (0.3, {"a": {}})], CURVES["roc"]) == "1/2 curves"
    assert mean_curve([(0.3, one)], CURVES["image_roc"]) == "undefined"


def test_figures_of_one_seed_say_which(demo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = Source.load(demo)
    for draw in (behaviour.histograms, behaviour.training):
        figure = draw(source, "mvtec")
        assert figure is not None
        assert "seed 0" in figure.get_suptitle()
    monkeypatch.setattr(behaviour, "MOST", 2)
    figure = behaviour.histograms(source, "mvtec")
    assert figure is not None
    assert "first 2 of 5 methods" in figure.get_suptitle()
