"""Few-shot, shares of the training images, and contaminated ones: chosen by the data's seed, stated and kept."""

from __future__ import annotations

import csv
import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
import pytest
from openpyxl import load_workbook

from diadbench import datasets
from diadbench.benchmark.cells.cell import TRAIN_IMAGES
from diadbench.benchmark.planning.grid import load_grid, parse_grid
from diadbench.benchmark.planning.plan import make_plan
from diadbench.benchmark.records.store import RunDirectory
from diadbench.benchmark.runs.runner import run_grid
from diadbench.common.errors import UserError
from diadbench.datasets.decoding.train_subset import TrainSubset
from diadbench.reports import build
from diadbench.reports.figures.few_shot import shots
from diadbench.reports.figures.style import style
from diadbench.reports.tables.cut import cut
from diadbench.reports.tables.source import Source

TOY: dict[str, Any] = {"train": 6, "test_good": 2, "test_bad": 2, "size": 32}


def _helper() -> ModuleType:
    path = Path(__file__).resolve().parents[1] / "helpers" / "real_run.py"
    spec = importlib.util.spec_from_file_location("real_run_few_shot", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    """A small grid, really run: two methods, all images and 2 or 6 of each class, with and without contamination."""
    place = tmp_path_factory.mktemp("few")
    raw = {
        "name": "few",
        "methods": {"mean-image": None, "pixel-knn": {"options": {"size": 8}}},
        "datasets": {
            "toy": {"options": TOY},
            "dirty": {"dataset": "toy", "options": TOY, "contamination": 0.25},
        },
        "settings": ["multi-class", "few-shot"],
        "shots": [2, 6],
        "data_seed": 3,
        "image_size": 32,
        "device": "cpu",
        "keep_maps": "float32",
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DIADBENCH_CACHE", str(place / "cache"))
        run_grid(parse_grid(raw), place / "run", engine=_helper().InProcess(), quiet=True)
    return RunDirectory(place / "run")


def test_every_cell_is_done_and_shots_are_settings(run: RunDirectory) -> None:
    cells = run.cells()
    assert {cell.state for cell in cells} == {"done"}
    assert {cell.setting for cell in cells} == {"multi-class", "few-shot-2", "few-shot-6"}
    assert len(cells) == 2 * 2 * 3


def test_every_method_gets_the_same_images_and_they_are_kept(run: RunDirectory) -> None:
    for dataset in ("toy", "dirty"):
        first, second = (
            pd.read_csv(run.cell(dataset, method, "few-shot-2", 0).directory / TRAIN_IMAGES)
            for method in ("mean-image", "pixel-knn")
        )
        pd.testing.assert_frame_equal(first, second)
        normal = first[first["label"] == 0]
        assert normal.groupby("class").size().eq(2).all()
        assert len(first) - len(normal) == (0 if dataset == "toy" else 4), "a quarter: one of three a class"
        notes = run.cell(dataset, "mean-image", "few-shot-2", 0).status["notes"]
        assert any(f"trained on {len(first)} images" in note and "data seed 3" in note for note in notes)
    assert not (run.cell("toy", "mean-image", "multi-class", 0).directory / TRAIN_IMAGES).exists()


@pytest.mark.parametrize("method", ["mean-image", "pixel-knn"])
def test_as_many_shots_as_images_are_the_full_setting_bit_for_bit(run: RunDirectory, method: str) -> None:
    full, all_shots = (run.cell("toy", method, setting, 0) for setting in ("multi-class", "few-shot-6"))
    assert full.metrics() == all_shots.metrics()
    scores = [pd.read_parquet(cell.directory / "scores.parquet") for cell in (full, all_shots)]
    pd.testing.assert_frame_equal(*scores, check_exact=True)
    for path in sorted((full.directory / "maps").glob("*.npy")):
        assert np.array_equal(np.load(path), np.load(all_shots.directory / "maps" / path.name))
    few = run.cell("toy", method, "few-shot-2", 0)
    assert few.metrics() != full.metrics()


def test_contaminated_images_are_out_of_the_test(run: RunDirectory) -> None:
    clean, dirty = (run.cell(name, "pixel-knn", "few-shot-2", 0) for name in ("toy", "dirty"))
    train = pd.read_csv(dirty.directory / TRAIN_IMAGES)
    anomalous = set(train.loc[train["label"] == 1, "image"])
    assert anomalous
    tested = set(pd.read_parquet(dirty.directory / "scores.parquet")["image"])
    assert anomalous & tested == set()
    assert anomalous | tested == set(pd.read_parquet(clean.directory / "scores.parquet")["image"])
    assert dirty.status["n_test"] == clean.status["n_test"] - len(anomalous)
    assert any("of the training images are anomalous (contamination 0.25)" in n for n in dirty.status["notes"])


def test_tables_tell_shots_apart(run: RunDirectory) -> None:
    source = Source.load(run.path)
    names = list(source.results["method"].unique())
    assert any("few-shot-2" in name for name in names)
    assert any("few-shot-6" in name for name in names)
    assert not any("train_subset" in name for name in names), names


@pytest.mark.parametrize(
    ("rows", "columns"),
    [(["method"], ["dataset", "shots"]), (["dataset", "method"], ["shots"]), (["shots", "method"], ["dataset"])],
)
def test_shots_are_a_dimension_of_tables(run: RunDirectory, rows: list[str], columns: list[str]) -> None:
    table = cut(Source.load(run.path).results, rows=rows, columns=columns, metrics=["p_auroc"])
    labels = {"Mean image": "mean-image", "Pixel kNN": "pixel-knn"}
    settings = {"2 shots": "few-shot-2", "6 shots": "few-shot-6", "all images": "multi-class"}
    seen: dict[tuple[str, str], list[tuple[float, int]]] = {}
    for row, entries in zip(table.rows, table.entries, strict=True):
        for column, entry in zip(table.columns, entries, strict=True):
            texts = [head.text for head in (*row, *column)]
            at = dict(zip([*table.row_names, *table.column_names], texts, strict=True))
            cell = run.cell(at["dataset"].lower(), labels[at["method"]], settings[at["shots"]], 0)
            own = next(r for r in cell.metrics() if (r["class"], r["metric"]) == ("mean", "p_auroc"))
            assert entry.value == float(own["value"])
            seen.setdefault((at["dataset"], at["shots"]), []).append((round(100 * entry.value, 1), entry.rank))
    assert len(seen) == 2 * 3
    for among in seen.values():  # the two methods of one number of shots
        assert len(among) == 2
        assert [rank for value, rank in sorted(among, reverse=True)] in ([1, 2], [1, 1])
    few = [text for _, text in table.notes if "with 2 shots: " in text]
    assert any("data seed 3" in text for text in few)
    assert not any("with all" in text and "data seed" in text for _, text in table.notes)
    heads = [head.text for lines in (table.rows, table.columns) for line in lines for head in line]
    assert [*dict.fromkeys(text for text in heads if text in settings)] == [*settings]


def test_a_report_groups_by_shots(run: RunDirectory, tmp_path: Path) -> None:
    build(run.path, ["csv", "xlsx", "latex"], tmp_path)
    (row,) = (
        r
        for r in run.cell("toy", "pixel-knn", "few-shot-2", 0).metrics()
        if (r["class"], r["metric"]) == ("mean", "p_auroc")
    )
    expected = f"{100 * float(row['value']):.1f}"
    lines = list(csv.DictReader((tmp_path / "tables" / "shots_p_auroc.csv").open(encoding="utf-8", newline="")))
    line = next(line for line in lines if (line["dataset"], line["method"]) == ("Toy", "Pixel kNN"))
    assert expected in line.values()
    assert any("2 shots" in head for head in line)
    sheet = load_workbook(tmp_path / "results.xlsx")["Shots"]
    cells = list(sheet.iter_rows(values_only=True))
    heads = next(line for line in cells if line[0] == "Dataset")
    assert heads[2:5] == ("2 shots", "6 shots", "all images")
    rows = [line for line in cells if str(line[0]).startswith("Toy") and str(line[1]).startswith("Pixel kNN")]
    assert len(rows) == 3
    shown = [f"{line[2]:.1f}" for line in rows if isinstance(line[2], float)]
    assert expected in shown
    latex = (tmp_path / "tables" / "shots_p_auroc.tex").read_text(encoding="utf-8")
    assert expected in latex
    assert "2 shots" in latex
    assert r"\input{tables/shots_p_auroc}" in (tmp_path / "main.tex").read_text(encoding="utf-8")


def test_a_figure_sets_methods_against_shots(run: RunDirectory) -> None:
    source = Source.load(run.path)
    with style():
        figure = shots(source, "p_auroc")
    assert figure is not None
    assert [axes.get_title() for axes in figure.axes] == source.datasets
    for axes, dataset in zip(figure.axes, ("toy", "dirty"), strict=True):
        lines = {
            tuple(round(float(y), 6) for y in line.get_ydata()) for line in axes.lines if len(line.get_ydata()) == 2
        }
        for method in ("mean-image", "pixel-knn"):
            values = [
                100 * float(row["value"])
                for setting in ("few-shot-2", "few-shot-6")
                for row in run.cell(dataset, method, setting, 0).metrics()
                if (row["class"], row["metric"]) == ("mean", "p_auroc")
            ]
            assert tuple(round(value, 6) for value in values) in lines


def test_a_grid_is_the_same_after_it_was_written(tmp_path: Path, run: RunDirectory) -> None:
    again = load_grid(run.path)
    assert (again.shots, again.data_seed) == ([2, 6], 3)
    assert again.datasets["dirty"].contamination == 0.25
    assert {planned.why for planned in make_plan(again, run).cells} == {"done"}


# -- the choice -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    return datasets.get("toy", tmp_path_factory.mktemp("toy") / "t", **{**TOY, "test_bad": 3}).samples


def images(samples: pd.DataFrame, **rule: Any) -> set[str]:
    table = TrainSubset(**rule).apply(samples)
    return set(table.loc[table["split"] == "train", "image"])


def test_larger_choices_hold_smaller_ones_and_the_seed_decides(samples: pd.DataFrame) -> None:
    assert images(samples, shots=1) < images(samples, shots=2) < images(samples, shots=4) < images(samples, shots=9)
    assert images(samples, shots=2) == images(samples.sample(frac=1.0, random_state=1), shots=2)
    assert images(samples, shots=2) != images(samples, shots=2, seed=1)
    assert images(samples, fraction=0.5) == images(samples, shots=3)
    one = samples[samples["class"] == "weave"]
    assert images(one, shots=2) == {path for path in images(samples, shots=2) if path.startswith("weave/")}


def test_the_whole_is_the_table_itself(samples: pd.DataFrame) -> None:
    for rule in (TrainSubset(shots=6), TrainSubset(shots=99), TrainSubset(fraction=1.0)):
        pd.testing.assert_frame_equal(rule.apply(samples), samples)
    assert "washer has only 6" in " ".join(TrainSubset(shots=99).notes(samples))


def test_views_of_a_trained_sample_leave_the_test(samples: pd.DataFrame) -> None:
    twin = samples.copy()
    bad = twin.index[(twin["split"] == "test") & (twin["label"] == 1)]
    twin.loc[bad, "sample_id"] = twin.loc[bad, "class"] + (np.arange(len(bad)) // 2 % 6).astype(str)
    table = TrainSubset(contamination=0.3).apply(twin)
    train, test = (table[table["split"] == split] for split in ("train", "test"))
    drawn = train[train["label"] == 1]
    assert len(drawn) > 0
    assert set(zip(drawn["class"], drawn["sample_id"])) & set(zip(test["class"], test["sample_id"])) == set()


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"settings": ["few-shot"]}, "needs numbers"),
        ({"shots": [1]}, "needs numbers"),
        ({"settings": ["few-shot"], "shots": [0]}, "shots"),
        ({"settings": ["few-shot"], "shots": [1, 1]}, "without repeats"),
        ({"datasets": {"toy": {"options": TOY, "contamination": 1.0}}}, "contamination: expected"),
        ({"datasets": {"toy": {"options": TOY, "contamination": 0.9}}}, "anomalous images to train on"),
        ({"datasets": {"toy": {"options": TOY, "contamination": 0.01}}}, "no image in any class"),
        ({"datasets": {"toy": {"options": TOY, "train_fraction": 0.0}}}, "train_fraction: expected"),
        (
            {"settings": ["few-shot"], "shots": [1], "datasets": {"toy": {"options": TOY, "train_fraction": 0.5}}},
            "leave one of them out",
        ),
    ],
)
def test_what_cannot_be_is_one_line(
    changes: dict[str, Any], text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DIADBENCH_CACHE", str(tmp_path / "cache"))
    raw = {"name": "g", "methods": ["mean-image"], "datasets": {"toy": {"options": TOY}}, "device": "cpu", **changes}
    with pytest.raises(UserError, match=text):
        make_plan(parse_grid(raw), RunDirectory(tmp_path / "run", must_exist=False))
