"""Thresholds and the classes as one set, in every artefact, from cells that were really run."""

from __future__ import annotations

import importlib.util
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from openpyxl import load_workbook

from diadbench.benchmark.metrics.decisions.threshold_rules import DECISION_RULES
from diadbench.benchmark.metrics.names import ORACLE
from diadbench.benchmark.planning.grid import parse_grid
from diadbench.benchmark.runs.runner import run_grid
from diadbench.cli import main
from diadbench.reports import build
from diadbench.reports.tables.threshold_table import RULE_WORDS

HELPERS = Path(__file__).resolve().parents[1] / "helpers"


@pytest.fixture(scope="module")
def run(make_run: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two methods, one data set of three classes, two seeds."""
    path = tmp_path_factory.mktemp("thresholds") / "run"
    make_run(path, methods=("DiAD", "UniAD"), datasets={"parts": ["bolt", "nut", "gear"]}, seeds=(0, 1), images=8)
    return path


def decisions(run: Path) -> list[pd.DataFrame]:
    return [pd.read_csv(path) for path in sorted((run / "cells").glob("*/DiAD/*/seed*/decisions.csv"))]


def test_each_cell_keeps_what_thresholds_do(run: Path) -> None:
    tables = decisions(run)
    assert len(tables) == 2
    for table in tables:
        assert set(table["rule"]) == {*(rule.name for rule in DECISION_RULES), ORACLE} == set(RULE_WORDS)
        assert set(table["scope"]) == {"own", "one"}
        assert table[table["kind"] == "pooled"]["f1"].notna().all()
    for path in (run / "cells").glob("*/*/*/seed*/pooled.csv"):
        assert list(pd.read_csv(path)["metric"]) == ["i_auroc", "i_ap", "p_auroc", "p_ap"]


def test_the_tables_are_in_every_artefact(run: Path, tmp_path: Path) -> None:
    build(run, formats=["xlsx", "latex", "html"], out=tmp_path)
    expected = 100 * np.mean([_f1(table) for table in decisions(run)])
    sheet = load_workbook(tmp_path / "results.xlsx")["Thresholds"]
    rows = list(sheet.iter_rows(min_row=4, values_only=True))
    line = next(row for row in rows if row[1:4] == ("DiAD", "Images", "1 % of normal above"))
    assert line[rows[0].index("F1, one threshold")] == pytest.approx(expected)
    latex = (tmp_path / "tables" / "thresholds.tex").read_text(encoding="utf-8")
    assert f"${expected:.1f}$" in latex
    assert "oracle" in latex
    assert r"\input{tables/pooled}" in (tmp_path / "main.tex").read_text(encoding="utf-8")
    page = (tmp_path / "index.html").read_text(encoding="utf-8")
    assert 'id="thresholds"' in page
    assert f'<td class="n">{expected:.1f}</td>' in page
    assert "All classes as one set" in page


def _f1(table: pd.DataFrame) -> float:
    wanted = (table["level"] == "image") & (table["scope"] == "one") & (table["rule"] == "q0.99")
    return float(table[wanted & (table["kind"] == "mean")]["f1"].iloc[0])


@pytest.mark.parametrize("form", ["terminal", "markdown", "csv", "latex"])
def test_the_command_prints_them(run: Path, form: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["table", str(run), "--thresholds", "--format", form]) == 0
    shown = capsys.readouterr().out
    assert "UniAD" in shown
    assert "oracle" in shown
    if form == "terminal":
        assert max(map(len, shown.splitlines())) <= 80
        assert "Thresholds are set on training images of a class" in shown
    assert main(["table", str(run), "--thresholds", "--format", "xlsx"]) == 2


def _real_run() -> Any:
    spec = importlib.util.spec_from_file_location("real_run", HELPERS / "real_run.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _grid(name: str, root: Path, **keys: Any) -> dict[str, Any]:
    return {
        "name": name,
        "methods": {"mean": {"method": f"{HELPERS / 'pixel_mean.py'}:PixelMean"}},
        "datasets": {"parts": {"dataset": "folder", "root": str(root)}},
        "image_size": 32,
        "device": "cpu",
        "threads": 1,
        **keys,
    }


@pytest.mark.parametrize("what", [[], ["--thresholds"]])
def test_a_printed_table_can_be_written(run: Path, tmp_path: Path, what: list[str]) -> None:
    assert main(["table", str(run), *what, "--out", str(tmp_path / "table.txt")]) == 0
    assert "DiAD" in (tmp_path / "table.txt").read_text(encoding="utf-8")


def test_cells_of_earlier_versions_are_said(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    old = tmp_path / "old"
    shutil.copytree(run, old)
    for path in (old / "cells").glob("*/*/*/seed*/decisions.csv"):
        path.unlink()
    assert main(["table", str(old), "--thresholds"]) == 2
    assert "no cell of these runs has tried thresholds" in capsys.readouterr().err
    build(old, formats=["xlsx"], out=tmp_path / "report")
    assert "Thresholds" not in load_workbook(tmp_path / "report" / "results.xlsx").sheetnames


def test_swapped_test_labels_leave_every_threshold_but_the_oracle(
    make_run: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DIADBENCH_CACHE", str(tmp_path / "cache"))
    module = _real_run()
    found = []
    module.write_images(tmp_path / "plain", ["bolt", "nut"], 8)
    shutil.copytree(tmp_path / "plain", tmp_path / "swapped")
    for name in ("bolt", "nut"):
        place = tmp_path / "swapped" / name / "test"
        (place / "good").rename(place / "was")
        (place / "hole").rename(place / "good")
        (place / "was").rename(place / "hole")
    for kind in ("plain", "swapped"):
        grid = _grid(kind, tmp_path / kind)
        run_grid(parse_grid(grid), tmp_path / f"run-{kind}", engine=module.InProcess(), quiet=True)
        found.append(pd.read_csv(next((tmp_path / f"run-{kind}" / "cells").glob("*/*/*/seed0/decisions.csv"))))
    own = found[0]["rule"] != ORACLE
    assert found[0][own]["threshold"].equals(found[1][own]["threshold"])
    assert not found[0][own]["recall"].equals(found[1][own]["recall"])
    assert not found[0][~own]["threshold"].equals(found[1][~own]["threshold"])


def test_a_grid_turns_them_off_and_no_other_figure_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DIADBENCH_CACHE", str(tmp_path / "cache"))
    module = _real_run()
    module.write_images(tmp_path / "parts", ["bolt", "nut"], 8)
    cells: dict[bool, Path] = {}
    for on in (True, False):
        run = tmp_path / f"run-{on}"
        grid = parse_grid(_grid("parts", tmp_path / "parts", thresholds=on))
        run_grid(grid, run, engine=module.InProcess(), quiet=True)
        cells[on] = next((run / "cells").glob("*/*/*/seed0"))
    for name in ("metrics.csv", "scores.parquet"):
        assert (cells[True] / name).read_bytes() == (cells[False] / name).read_bytes(), name
    tables = {
        on: [len(pd.read_csv(cell / f"{name}.csv")) for name in ("decisions", "pooled")] for on, cell in cells.items()
    }
    assert min(tables[True]) > 0
    assert tables[False] == [0, 0]
    status = {on: json.loads((cell / "status.json").read_text()) for on, cell in cells.items()}
    assert status[False]["thresholds_from"] == ""
    assert status[True]["thresholds_from"].startswith("training images")
    assert status[True]["identity"] == status[False]["identity"]
    assert main(["table", str(tmp_path / "run-False"), "--thresholds"]) == 2
    assert "thresholds: false" in capsys.readouterr().err
    assert main(["table", str(tmp_path / "run-True"), "--thresholds"]) == 0
    assert "scoring them took" in " ".join(capsys.readouterr().out.split())
