"""The smallest and a very wide report: everything is made, and each format says what results.csv says."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from openpyxl import load_workbook

from diadbench.reports import build


@pytest.fixture(scope="module", params=["one of all", "forty methods"])
def report(
    request: pytest.FixtureRequest,
    make_run: Callable[..., Any],
    make_scaled: Callable[..., Any],
    tmp_path_factory: pytest.TempPathFactory,
) -> dict[str, Path]:
    place = tmp_path_factory.mktemp("extremes")
    if request.param == "one of all":
        run = make_run(place / "run", methods=["Lone"], datasets={"one": ["only"]}, seeds=(0,), images=8)
    else:
        real = make_run(place / "real", methods=["A", "B"], datasets={"few": ["a", "b", "c"]}, seeds=(0,), images=8)
        methods = [f"M{number:02d}" for number in range(40)]
        run = make_scaled(place / "run", real, methods=methods, datasets={"wide": "few"}, seeds=(0, 1))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DIADBENCH_PUBLISHED", str(place / "none.csv"))
        return build(run.path, out=place / "report")


@pytest.fixture(scope="module")
def truth(report: dict[str, Path]) -> dict[str, str]:
    """Return the mean over classes and seeds of the image AU-ROC of each method, as printed."""
    rows = pd.read_csv(report["results.csv"])
    chosen = rows[(rows["class"] == "mean") & (rows["metric"] == "i_auroc")]
    return {str(name): f"{100 * value:.1f}" for name, value in chosen.groupby("method")["value"].mean().items()}


def test_everything_is_there(report: dict[str, Path]) -> None:
    assert {"results.xlsx", "index.html", "main.tex", "macros.tex", "tables/summary.md"} <= set(report)
    assert any(name.startswith("figures/") for name in report)
    assert [name for name, path in report.items() if not path.stat().st_size] == []


def test_each_format_agrees(report: dict[str, Path], truth: dict[str, str]) -> None:
    with report["tables/summary.csv"].open(encoding="utf-8", newline="") as file:
        assert {line["method"]: line["i_auroc"] for line in csv.DictReader(file)} == truth
    sheet = load_workbook(report["results.xlsx"])["Summary"]
    lines = {line[0]: line[2] for line in sheet.iter_rows(min_row=5, values_only=True) if line[0] in truth}
    assert {name: f"{value:.1f}" for name, value in lines.items()} == truth
    marked = re.compile(r"\*\*|</?u>|~\\cite\{.*?\}|\\textbf\{|\\underline\{|[{}]")
    for name, separator, at in (("tables/summary.md", " | ", 1), ("tables/summary.tex", " & ", 0)):
        found: dict[str, str] = {}
        for line in report[name].read_text(encoding="utf-8").splitlines():
            cells = [marked.sub("", cell).strip(" |") for cell in line.split(separator)]
            if len(cells) > at + 1 and cells[at] in truth:  # the first panel begins with the image AU-ROC
                found.setdefault(cells[at], cells[at + 1].split(" ")[0].split("\\")[0])
        assert found == truth, name
    page = report["index.html"].read_text(encoding="utf-8")
    assert all(name in page and value in page for name, value in truth.items())
