"""Each display option alone: CSV, Markdown, LaTeX, the page and the workbook print the same rows to the last digit."""

from __future__ import annotations

import csv
import html
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from openpyxl import load_workbook

from diadbench.reports import build, load_results
from diadbench.reports.tables.source import Source

SUMMARY = ("i_auroc", "i_ap", "i_f1max", "p_auroc", "p_ap", "p_f1max", "aupro", "mad")
#: (dataset, method) -> a text for each metric of SUMMARY, without standard deviations and marks
Rows = dict[tuple[str, str], list[str]]
OPTIONS: dict[str, dict[str, Any]] = {
    "none": {},
    "names": {"names": {"PatchCore": "Ours & <others>", "mvtec": "MVTec AD"}},
    "methods": {"methods": ["DRAEM", "PatchCore"]},
    "datasets": {"datasets": ["visa"]},
    "classes": {"classes": ["bottle", "cable", "pcb2"]},
    "drop": {"drop": ["tile", "pcb1"]},
    "sort": {"sort": "p_ap"},
    "digits": {"digits": 3},
    "no digits": {"digits": 0},
    "std": {"std": False},
    "ours": {"ours": ["PatchCore"]},
    "baseline": {"baseline": "PatchCore"},
    "published": {"published": ["MambaAD"]},
    "all": {
        "names": {"PatchCore": "Ours"}, "drop": ["tile"], "sort": "mad", "digits": 2, "std": False,
        "ours": ["PatchCore"], "published": ["MambaAD"],
    },
}  # fmt: skip


def _bare(text: str) -> str:
    """Return a text without marks, emphasis and standard deviation."""
    text = re.sub(r"<sup>.*?</sup>|\\diadmark\{[^{}]*(\{\})?[^{}]*\}|\\diadstd\{[^{}]*\}|~\\cite\{.*?\}", "", text)
    text = re.sub(r"\\(?:textbf|underline)\{([^{}]*)\}", r"\1", text)
    text = re.sub(r"</?[a-z][^>]*>|\*\*", "", text)
    text = (
        html.unescape(re.sub(r"\\([&<>|_*])", r"\1", text)).replace("\\textless{}", "<").replace("\\textgreater{}", ">")
    )
    return re.split(r" ?± ?", text)[0].replace("--", "–").strip()


def _csv(path: Path) -> Rows:
    with path.open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["method"]]
    return {(row["dataset"], row["method"]): [row[key] for key in SUMMARY] for row in rows}


def _markdown(path: Path) -> Rows:
    lines = [line for line in path.read_text(encoding="utf-8").splitlines() if line.startswith("| ")][2:]
    parts = [[_bare(part) for part in re.split(r" (?<!\\)\| ", line.strip("| "))] for line in lines]
    return {(dataset, method): values for dataset, method, *values in parts}


def _page(path: Path) -> Rows:
    body = re.search(r'id="summary-table".*?<tbody>(.*?)</tbody>', path.read_text(encoding="utf-8"), re.DOTALL)
    assert body is not None
    lines = [
        re.findall(r"<t[dh].*?</t[dh]>", line, re.DOTALL) for line in re.findall(r"<tr.*?</tr>", body[1], re.DOTALL)
    ]
    parts = [[_bare(cell) for cell in line] for line in lines]
    return {(dataset, method): values[: len(SUMMARY)] for dataset, method, *values in parts}  # further metrics follow


def _latex(path: Path) -> Rows:
    """Panels stand in the order of SUMMARY, so the values of a row follow each other."""
    found: Rows = {}
    for panel in path.read_text(encoding="utf-8").split(r"\toprule")[1:]:
        dataset = ""
        for line in panel.split(r"\bottomrule")[0].split(r"\midrule", 1)[1].splitlines():
            group = re.search(r"@\{\}l\}\{\\textit\{(.*)\}\} \\\\$", line)
            if group:
                dataset = _bare(group[1])
            elif line.endswith(r" \\"):
                method, *values = re.split(r" (?<!\\)& ", line.removesuffix(r" \\").removeprefix(r"\raggedright "))
                found.setdefault((dataset, _bare(method)), []).extend(map(_bare, values))
    return found


def _workbook(path: Path) -> Rows:
    lines = list(load_workbook(path)["Summary"].iter_rows(min_row=3))
    datasets = pd.Series([_plain(cell.value) for cell in lines[0][2:]]).replace("", None).ffill()
    found: Rows = {}
    for line in lines[2:]:
        if not line[0].value or line[2].value is None:
            break
        for dataset, cell in zip(datasets, line[2:]):
            found.setdefault((dataset, _plain(line[0].value)), []).append(_shown(cell))
    return {pair: values for pair, values in found.items() if set(values) != {"–"}}


def _plain(value: object) -> str:
    return re.sub(r" \([a-z,†‡§]+\)$", "", str(value or ""))


def _shown(cell: Any) -> str:
    """Return what a spreadsheet shows of a number: halves rounded up at the decimals of its format."""
    if not isinstance(cell.value, (int, float)):
        return _plain(cell.value) or "–"
    digits = len((re.match(r"0\.?(0*)", str(cell.number_format)) or ["", ""])[1])
    return f"{np.floor(round(cell.value * 10**digits, 8) + 0.5) / 10**digits:.{digits}f}"


READ = {
    "tables/summary.csv": _csv,
    "tables/summary.md": _markdown,
    "index.html": _page,
    "tables/summary.tex": _latex,
    "tables/summary_twocolumn.tex": _latex,
    "results.xlsx": _workbook,
}


@pytest.mark.parametrize(
    "option", [pytest.param(name, marks=[] if name == "all" else [pytest.mark.slow]) for name in OPTIONS]
)
def test_an_option_shows_in_every_artefact(demo: Path, tmp_path: Path, option: str) -> None:
    show = OPTIONS[option]
    written = build(demo, ["xlsx", "latex", "markdown", "csv"], tmp_path, show=show)
    from diadbench.reports.page.html import page_context, write_page

    source = Source.load(demo, show=show)
    context = page_context(source, pd.DataFrame(), pd.DataFrame())
    written["index.html"] = write_page(source, tmp_path / "index.html", context, {})
    found = {name: read(written[name]) for name, read in READ.items()}
    first = found["tables/summary.csv"]
    for name, rows in found.items():
        assert rows == first, name
        if name != "results.xlsx":  # whose rows are methods
            assert list(rows) == list(first), name
    _as_asked(demo, show, first)


def _as_asked(demo: Path, show: dict[str, Any], first: Rows) -> None:
    """Compare with means over the classes left, computed here from the class rows alone."""
    rows = load_results(demo)
    rows = rows[(rows["scope"] == "class") & (rows["metric"] != "") & ~rows["class"].isin(show.get("drop", []))]
    rows = rows[rows["class"].isin(show.get("classes", rows["class"].unique()))]
    names = show.get("names", {})
    means = rows.groupby(["dataset", "method", "metric", "seed"])["value"].mean().groupby(level=[0, 1, 2]).mean()
    truth = {(names.get(d, d), names.get(m, m), metric): float(value) for (d, m, metric), value in means.items()}
    seen = 0
    for (dataset, method), values in first.items():
        for metric, text in zip(SUMMARY, values, strict=True):
            if (dataset, method, metric) in truth and text != "–":
                assert text == f"{100 * truth[dataset, method, metric]:.{show.get('digits', 1)}f}"
                seen += 1
    assert seen > 8
    published = {name.partition("@")[0] for name in show.get("published", [])}
    assert published <= {method for _, method in first}
