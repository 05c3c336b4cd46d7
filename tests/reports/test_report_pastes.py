"""Each table of a report compiles alone in the classes of papers: with the packages that its file names and no others.

The log says what is on the page: no overfull box, and no letter smaller than 7 pt.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from diadbench.reports import Table, build, cut, load_results, prepare, to_latex, versus
from diadbench.reports.paper.comparison_latex import versus_latex

CLASSES = {
    "article": r"\documentclass{article}",
    "article, two columns": r"\documentclass[twocolumn]{article}",
    "IEEEtran": r"\documentclass[conference]{IEEEtran}",
    # the measures of cvpr.sty
    "cvpr": r"""\documentclass[10pt,twocolumn,letterpaper]{article}
\usepackage{times}
\setlength{\textwidth}{6.875in}\setlength{\textheight}{8.875in}\setlength{\columnsep}{0.3125in}
\setlength{\oddsidemargin}{-0.1875in}\setlength{\topmargin}{-0.5in}""",
}
LEAST = 7.0
#: Debian has IEEE's class in a package of its own.
NEEDS_IEEE = pytest.mark.skipif(
    shutil.which("kpsewhich") is None
    or subprocess.run(["kpsewhich", "IEEEtran.cls"], stdout=subprocess.PIPE).stdout == b"",
    reason="IEEEtran.cls isn't installed (texlive-publishers)",
)
KINDS = [pytest.param(kind, marks=NEEDS_IEEE if kind == "IEEEtran" else ()) for kind in CLASSES]
NEEDS_LATEX = pytest.mark.skipif(shutil.which("pdflatex") is None, reason="pdflatex isn't installed (texlive)")
FONT = re.compile(r"^\.+\\\w+/[\w-]+/[\w-]+/[\w-]+/([\d.]+) ", re.MULTILINE)


def compiled(text: str, kind: str, folder: Path) -> str:
    """Compile a table alone; return the log, with every box of every page in it."""
    packages = re.findall(r"^%\s+(\\usepackage\S*)$", text, re.MULTILINE)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "table.tex").write_text(text, encoding="utf-8")
    traced = r"\tracingoutput=1 \showboxbreadth=1000000 \showboxdepth=1000000"
    lines = [
        CLASSES[kind],
        *packages,
        r"\pagestyle{empty}",
        r"\begin{document}",
        traced,
        r"\input{table}",
        r"\end{document}",
    ]
    (folder / "main.tex").write_text("\n".join(lines), encoding="utf-8")
    done = subprocess.run(
        ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "main.tex"],
        cwd=folder,
        env={**os.environ, "max_print_line": "1000"},
        capture_output=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout.decode(errors="replace")[-2000:]
    return (folder / "main.log").read_text(errors="replace")


def assert_it_pastes(text: str, kind: str, folder: Path) -> None:
    log = compiled(text, kind, folder)
    assert [line for line in log.splitlines() if line.startswith("Overfull")] == []
    assert "Float too large" not in log, "a table is taller than the page"
    sizes = {float(size) for size in FONT.findall(log)}
    assert len(sizes) > 1, "the log shows no letters"
    assert min(sizes) >= LEAST, sorted(sizes)


@pytest.fixture(scope="module")
def tables(demo: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Return the text of each table of a report with published rows and much to note."""
    folder = tmp_path_factory.mktemp("pastes")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DIADBENCH_PUBLISHED", str(folder / "none.csv"))
        written = build(demo, ["latex"], folder / "report", show={"published": ["MambaAD"]})
    found = {Path(name).stem: path.read_text() for name, path in written.items() if name.startswith("tables/")}
    assert {"summary", "summary_twocolumn", "versus", "published", "mvtec_i_auroc"} <= set(found)
    return found


@NEEDS_LATEX
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["summary", "summary_twocolumn", "versus", "published", "mvtec_i_auroc", "visa_aupro"])
def test_a_table_of_a_report_pastes(tables: dict[str, str], name: str, kind: str, tmp_path: Path) -> None:
    assert_it_pastes(tables[name], kind, tmp_path)


@pytest.fixture(scope="module")
def wide_cuts(make_run: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Table]:
    """Return cuts of eleven methods, one of them with a long name: ``{name: table}``."""
    names = ["DiAD", "A method with a very long name (num_neighbors=2, width=64)", *(f"method_{n}" for n in range(9))]
    place = tmp_path_factory.mktemp("wide") / "run"
    run = make_run(place, methods=names, datasets={"toy": ["a", "a_class_of_a_long_name"]}, seeds=(0, 1), images=8)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DIADBENCH_PUBLISHED", str(place.with_name("none.csv")))
        results = prepare(load_results(run.path), show={"ours": ["DiAD"]})
    cuts = {
        "by_class": {"rows": ["class"], "columns": ["method"], "metrics": ["i_auroc"]},
        "turned": {"rows": ["metric"], "columns": ["method"]},
        "of_seeds": {"rows": ["method", "seed"], "columns": ["metric"]},
        "both": {"rows": ["method"], "columns": ["class", "metric"]},
    }
    return {name: cut(results, name=name, caption=name, **wanted) for name, wanted in cuts.items()}


@NEEDS_LATEX
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("two_columns", [False, True])
def test_any_cut_pastes_whatever_its_width(
    wide_cuts: dict[str, Table], two_columns: bool, kind: str, tmp_path: Path
) -> None:
    for name, table in wide_cuts.items():
        assert_it_pastes(to_latex(table, two_columns=two_columns, colours=name == "both"), kind, tmp_path / name)


@pytest.fixture(scope="module")
def tall(demo: Path) -> dict[str, str]:
    """Return tables of many methods and of long notes: ``{name: text}``."""
    results = prepare(load_results(demo))
    many = pd.concat([results.assign(method=results["method"] + f" {copy}") for copy in range(3)])
    noted = results.assign(flags=results["method"] + ": " + "a note of many words " * 60)
    tables = {
        name: cut(frame, rows=["dataset", "method"], columns=["metric"], name=name, caption="Means over classes.")
        for name, frame in (("many", many), ("noted", noted))
    }
    texts = {name: to_latex(table) for name, table in tables.items()}
    compared = versus_latex(versus(many, baseline=str(many["method"].iloc[0])))
    return {**texts, "many_wide": to_latex(tables["many"], two_columns=True), "versus": compared}


@NEEDS_LATEX
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["many", "many_wide", "noted", "versus"])
def test_no_table_is_taller_than_a_page(tall: dict[str, str], name: str, kind: str, tmp_path: Path) -> None:
    assert_it_pastes(tall[name], kind, tmp_path)


def test_a_table_in_parts_has_all_its_rows_and_notes(tall: dict[str, str], demo: Path) -> None:
    results = load_results(demo)
    for name in ("many", "noted"):
        parts = re.findall(r"Part (\d+) of (\d+)\.", tall[name])
        assert len(parts) > 1
        assert parts == [(str(number), str(len(parts))) for number in range(1, len(parts) + 1)]
        assert tall[name].count(r"\label{tab:") == len(parts)
    heads = len(re.findall(r"^UniAD 1(?:\\diadmark\{.*?\})? & ", tall["many"], re.MULTILINE))
    assert heads == 3 * results.loc[results["method"] == "UniAD", "dataset"].nunique(), "each dataset, in three panels"
    for method in results["method"].unique():
        assert tall["noted"].count(f"{method}: a note of many words") == 1


def test_notes_stand_once_in_a_document(tables: dict[str, str]) -> None:
    texts = "".join(text for name, text in tables.items() if name != "summary_twocolumn")
    assert texts.count("procedural images") == 1
    assert r"Other notes: see Table~\ref{tab:summary}." in tables["mvtec_i_auroc"]


def test_a_file_says_what_it_needs_and_colours_are_asked_for(demo: Path, tables: dict[str, str]) -> None:
    for name, text in tables.items():
        assert text.startswith("% "), name
        assert r"%   \usepackage{booktabs}" in text
        assert "xcolor" not in text
        assert "resizebox" not in text
    table = cut(prepare(load_results(demo)), rows=["method"], columns=["dataset"], metrics=["i_auroc"])
    coloured = to_latex(table, colours=True)
    assert r"%   \usepackage[table]{xcolor}" in coloured
    assert r"\providecolor{diadbest}" in coloured


def test_notes_that_always_come_together_are_one_mark(make_run: Callable[..., Any], tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", methods=["DiAD", "padim"], datasets={"toy": ["a"]}, seeds=[0], images=8)
    results = prepare(load_results(run.path))
    results.loc[results["method"] == "DiAD", "flags"] = "reduced budget; random weights; small images"
    table = cut(results, rows=["method"], columns=["metric"])
    assert table.notes == [("a", "reduced budget; random weights; small images")]
    assert table.rows[0][0].marks == (1,)
