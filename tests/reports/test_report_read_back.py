"""Every format, read back, says what results.csv says, to the printed digit; names from outside stay names."""

from __future__ import annotations

import csv
import html
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from openpyxl import load_workbook

from diadbench.reports import build, cut, prepare, to_latex, to_markdown
from diadbench.reports.tables.escape import latex, markdown

METHODS = ("DiAD", r"a_b&c%d#e$f~g^h\i<j=k", "=cmd|' /C calc'!A0", "方法一", "+1 <b>|x|</b>")
SEVEN = ("i_auroc", "i_ap", "i_f1max", "p_auroc", "p_ap", "p_f1max", "aupro", "mad")
NAMES = ("mAU-ROC_I", "mAP_I", "mF1-max_I", "mAU-ROC_P", "mAP_P", "mF1-max_P", "mAU-PRO_R", "mAD")


@pytest.fixture(scope="module")
def report(make_run: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("hostile")
    run = make_run(
        folder / "run",
        methods=METHODS,
        datasets={"mv_tec": ["x_1 & y", "瓶子", "=1+1"], "no masks": ["only"]},
        seeds=(0, 1),
        without_masks=["no masks"],
        ends={("mv_tec", "方法一", 1): {"raises": "=out of_memory & 100%"}},
        images=12,
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DIADBENCH_PUBLISHED", str(folder / "none.csv"))
        written = build(run.path, ["xlsx", "latex", "markdown", "csv"], folder / "report")
        from diadbench.reports.page.html import (  # without figures: test_report_build draws them
            page_context,
            write_page,
        )
        from diadbench.reports.tables.source import Source

        source = Source.load(run.path)
        context = page_context(source, pd.DataFrame(), pd.DataFrame())
        written["index.html"] = write_page(source, folder / "report" / "index.html", context, {})
    return written


@pytest.fixture(scope="module")
def truth(report: dict[str, Path]) -> dict[tuple[str, str, str, str], tuple[str, str]]:
    """Return ``{(dataset, method, class, metric): (mean, std as printed)}``, computed here from results.csv alone."""
    rows = pd.read_csv(report["results.csv"], keep_default_na=False, na_values={"value": [""]})
    rows = rows[rows["metric"] != ""]
    found = {}
    for key, values in rows.groupby(["dataset", "method", "class", "metric"])["value"]:
        values = values.dropna()
        mean = f"{100 * values.mean():.1f}" if len(values) else "–"
        found[key] = (mean, f"{100 * values.std(ddof=1):.1f}" if len(values) > 1 else "")
    return found


def test_the_run_is_worth_reading_back(truth: dict[tuple[str, str, str, str], tuple[str, str]]) -> None:
    assert len(truth) == 5 * 9 * (3 + 1 + 1 + 1)
    assert truth["no masks", "DiAD", "mean", "aupro"] == ("–", "")
    assert truth["mv_tec", "方法一", "mean", "i_auroc"][1] == ""
    assert truth["mv_tec", "DiAD", "mean", "i_auroc"][1] != ""


def _printed(value: object) -> str:
    """Return what a spreadsheet shows for a cell of the format 0.0: halves rounded up."""
    return f"{np.floor(round(value * 10, 8) + 0.5) / 10:.1f}" if isinstance(value, (int, float)) else str(value)


def _plain(text: object) -> str:
    return re.sub(r" \([a-z,]+\)$", "", str(text))


def test_excel_summary_and_datasets(report: dict[str, Path], truth: dict[Any, Any]) -> None:
    book = load_workbook(report["results.xlsx"])
    lines = list(book["Summary"].iter_rows(min_row=3, values_only=True))
    datasets = pd.Series([_plain(text) if text else None for text in lines[0][2:]]).ffill()
    shown = {_plain(line[0]): line[2:] for line in lines[2 : 2 + len(METHODS)]}
    assert set(shown) == set(METHODS)
    seen = 0
    for method, values in shown.items():
        for dataset, name, value in zip(datasets, lines[1][2:], values):
            assert _plain(_printed(value)) == truth[dataset, method, "mean", SEVEN[NAMES.index(name)]][0]
            seen += 1
    assert seen == len(METHODS) * 2 * 8
    lines = list(book["mv_tec"].iter_rows(min_row=4, values_only=True))
    classes = lines[0][3:]
    assert set(classes) == {"mean", "x_1 & y", "瓶子", "=1+1"}
    block = [line for line in lines[1:] if line[0] == "AU-ROC_P"]
    assert len(block) == len(METHODS)
    for line in block:
        for name, value in zip(classes, line[3:]):
            assert _plain(_printed(value)) == truth["mv_tec", _plain(line[1]), name, "p_auroc"][0]


def test_excel_holds_no_formula_and_no_link(report: dict[str, Path]) -> None:
    book = load_workbook(report["results.xlsx"])
    texts = 0
    for sheet in book:
        for line in sheet.iter_rows():
            for cell in line:
                assert cell.data_type != "f", (sheet.title, cell.coordinate)
                assert cell.hyperlink is None
                texts += isinstance(cell.value, str) and cell.value.startswith(("=", "+"))
    assert texts > 10  # the hostile names are there, as text


def test_markdown(report: dict[str, Path], truth: dict[Any, Any]) -> None:
    text = report["tables/summary.md"].read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if line.startswith("| ")][2:]
    assert len(lines) == 2 * len(METHODS)
    escaped = {markdown(method): method for method in METHODS}
    for line in lines:
        parts = re.split(r" (?<!\\)\| ", line.strip("| "))
        dataset, name = (re.sub(r"<sup>.*?</sup>", "", part) for part in parts[:2])
        for metric, value in zip(SEVEN, parts[2:]):
            plain = re.sub(r"<sup>.*?</sup>|</?u>|\*\*", "", value)
            mean, std = truth[dataset.replace("\\", ""), escaped[name], "mean", metric]
            assert plain == (f"{mean} ± {std}" if std else mean)


def test_csv(report: dict[str, Path], truth: dict[Any, Any]) -> None:
    with report["tables/summary.csv"].open(encoding="utf-8", newline="") as file:
        lines = list(csv.DictReader(file))
    assert len(lines) == 2 * len(METHODS)
    assert not any(cell.startswith(("=", "+", "@")) for line in lines for cell in line.values())
    for line in lines:
        method = line["method"].removeprefix("'")
        for metric, name in zip(SEVEN, SEVEN):
            assert (line[name], line[f"{name} std"]) == truth[line["dataset"], method, "mean", metric]


def test_latex(report: dict[str, Path], truth: dict[Any, Any]) -> None:
    names = {latex(name): name for name in (*METHODS, "mv_tec", "no masks")}
    text = report["tables/summary.tex"].read_text(encoding="utf-8")
    found = _latex_figures(text, names)
    assert len(found) == 2 * len(METHODS) * 8
    for (dataset, method, metric), plain in found.items():
        mean, std = truth[dataset, method, "mean", metric]
        assert plain == mean.replace("–", "--") + (rf"\diadstd{{{std}}}" if std else "")


def _latex_figures(text: str, names: dict[str, str]) -> dict[tuple[str, str, str], str]:
    """Return ``{(dataset, method, metric): figure}`` of all panels of a summary."""
    found = {}
    for panel in text.split(r"\toprule")[1:]:
        head, _, body = panel.partition(r"\midrule")
        line = next(line for line in head.splitlines() if line.startswith("Method & "))
        spans = re.findall(r"\\multicolumn\{(\d)\}\{c\}\{(\w*)\}", head)
        blocks = [name for count, name in spans for _ in range(int(count))] or [""]
        heads = line.removesuffix(r" \\").split(" & ")[1:]
        keys = [
            "mad" if name == "mAD" else SEVEN[NAMES.index(f"{name}_{block[0]}")]
            for name, block in zip(heads, blocks, strict=True)
        ]
        dataset = ""
        for line in body.split(r"\bottomrule")[0].splitlines():
            group = re.search(r"@\{\}l\}\{\\textit\{(.*)\}\} \\\\$", line)
            if group:
                dataset = names[_unmarked(group[1])]
            elif line.endswith(r" \\"):
                method, *values = line.removesuffix(r" \\").split(" & ")
                for key, value in zip(keys, values, strict=True):
                    plain = re.sub(r"\\(?:textbf|underline)\{([^}]*)\}", r"\1", _unmarked(value))
                    found[dataset, names[_unmarked(method.removeprefix("\\raggedright "))], key] = plain
    return found


def _unmarked(text: str) -> str:
    text = re.sub(r"\\diadmark\{[^{}]*(\{\})?\}|~\\cite\{.*?\}", "", text)
    return text.replace(r"\allowbreak{}", "")


def test_macros(report: dict[str, Path], truth: dict[Any, Any]) -> None:
    text = report["macros.tex"].read_text(encoding="utf-8")
    values = dict(re.findall(r"\\newcommand\{\\([A-Za-z]+)\}\{(.*)\}", text))
    assert values["diadMvTecIAuroc"] == truth["mv_tec", "DiAD", "mean", "i_auroc"][0]
    assert values["diadMvTecIAurocStd"] == truth["mv_tec", "DiAD", "mean", "i_auroc"][1]
    assert values["diadNoMasksAupro"] == "--"
    assert len(values) == len(re.findall("newcommand", text))


def test_html(report: dict[str, Path], truth: dict[Any, Any]) -> None:
    page = report["index.html"].read_text(encoding="utf-8")
    body = re.search(r'id="summary-table".*?<tbody>(.*?)</tbody>', page, re.DOTALL)
    assert body is not None
    lines = re.findall(r"<tr.*?</tr>", body[1], re.DOTALL)
    assert len(lines) == 2 * len(METHODS)
    for line in lines:
        dataset, method, *values = (
            html.unescape(re.sub(r"<sup>.*?</sup>|<[^>]+>", "", cell)).strip()
            for cell in re.findall(r"<t[dh].*?</t[dh]>", line, re.DOTALL)
        )
        for metric, value in zip(SEVEN, values):
            mean, std = truth[dataset, method, "mean", metric]
            assert value == (f"{mean} ± {std}" if std else mean)
    assert "<b>|x|" not in page
    assert "<script>alert" not in page
    data = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    assert data is not None
    assert json.loads(data[1])


def _frame(values: dict[str, list[float]], seed: int = 0) -> pd.DataFrame:
    """Return results of one dataset with classes c0, c1, ... and their means."""
    rows = []
    for method, figures in values.items():
        defined = int(np.isfinite(figures).sum())
        mean = float(np.mean(figures))
        for name, value in [*((f"c{i}", v) for i, v in enumerate(figures)), ("mean", mean)]:
            rows.append({
                "run": "r", "dataset": "d", "method": method, "setting": "multi-class", "seed": seed,
                "protocol": "exact", "class": name, "scope": "mean" if name == "mean" else "class",
                "metric": "i_auroc", "value": value, "state": "done",
                "reason": "" if np.isfinite(value) else "no anomalies", "identity": method, "flags": "",
                "n_defined": defined if name == "mean" else np.nan,
                "n_classes": len(figures) if name == "mean" else np.nan,
            })  # fmt: skip
    return prepare(pd.DataFrame(rows))


def _marks(frame: pd.DataFrame) -> dict[str, tuple[str, int]]:
    table = cut(frame, rows=["method"], columns=["dataset"])
    return {row[0].text: (entries[0].text, entries[0].rank) for row, entries in zip(table.rows, table.entries)}


def test_ties_share_by_the_printed_digit() -> None:
    found = _marks(_frame({"a": [0.9004, 0.9], "b": [0.9, 0.9], "c": [0.8, 0.8], "d": [0.7, 0.7]}))
    assert found == {"a": ("90.0", 1), "b": ("90.0", 1), "c": ("80.0", 2), "d": ("70.0", 0)}


def test_a_mean_over_a_hole_is_withheld() -> None:
    frame = _frame({"a": [0.9, float("nan"), 0.7], "b": [0.6, 0.6, 0.6]})
    assert _marks(frame) == {"a": ("2/3", 0), "b": ("60.0", 0)}  # one value alone is not the best
    for text in (to_markdown(cut(frame, rows=["method"])), to_latex(cut(frame, rows=["method"]))):
        assert "2/3: defined for 2 of 3 classes" in text
        assert "nan" not in text.lower()


def test_one_method_one_class_one_seed() -> None:
    frame = _frame({"a": [0.9]})
    assert _marks(frame) == {"a": ("90.0", 0)}  # nothing to be better than
    text = to_markdown(cut(frame, rows=["method"]))
    assert "One seed." in text
    assert "±" not in text
    assert r"\pm" not in to_latex(cut(frame, rows=["method"]))


def test_a_method_of_one_dataset_has_its_notes_on_its_name_and_not_on_each_figure() -> None:
    both, one = _frame({"A": [0.5, 0.6], "B": [0.4, 0.7]}), _frame({"A": [0.5, 0.6]})
    results = pd.concat([both, one.assign(dataset="e")], ignore_index=True)
    results.loc[results["method"] == "B", "flags"] = "small"
    text = to_markdown(cut(results, rows=["method"], columns=["dataset"], metrics=["i_auroc"]))
    line = next(line for line in text.splitlines() if line.startswith("| B"))
    assert line.count("<sup>") == 1
    assert line.index("<sup>") < line.index("55.0")
