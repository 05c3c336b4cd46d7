"""Renaming, sorting, dropping a class, adding a published row: no cell runs again, and every artefact agrees."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml
from openpyxl import load_workbook

from diadbench.benchmark.planning.grid import parse_grid
from diadbench.cli import main
from diadbench.common.errors import UserError
from diadbench.common.show import Show
from diadbench.reports import aggregate, build, cut, load_results, prepare, to_latex, to_markdown, versus
from diadbench.reports.published.literature import add, remove
from diadbench.reports.published.published_files import load_published, read_table
from diadbench.reports.tables.source import Source
from diadbench.reports.tables.table_shape import mark_text

SHOW = {
    "names": {"PatchCore": "Ours", "mvtec": "MVTec AD"},
    "methods": ["DRAEM", "PatchCore", "DiAD"],
    "datasets": ["visa", "mvtec"],
    "drop": ["tile", "pcb1"],
    "sort": "p_ap",
    "digits": 2,
    "std": False,
    "ours": ["PatchCore"],
    "published": ["MambaAD"],
}


@pytest.fixture(scope="module")
def shown(demo: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("shown")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DIADBENCH_PUBLISHED", str(folder / "none.csv"))
        written = build(demo, ["xlsx", "latex", "markdown", "csv"], folder / "report", show=SHOW)
        from diadbench.reports.page.html import page_context, write_page

        source = Source.load(demo, show=SHOW)
        context = page_context(source, pd.DataFrame(), pd.DataFrame())
        written["index.html"] = write_page(source, folder / "report" / "index.html", context, {})
    return written


@pytest.fixture(scope="module")
def expected(demo: Path) -> dict[tuple[str, str, str], str]:
    """Return ``{(dataset, method, metric): mean over the classes left}``, computed here from the class rows alone."""
    rows = load_results(demo)
    rows = rows[(rows["scope"] == "class") & (rows["metric"] != "") & ~rows["class"].isin(SHOW["drop"])]
    names = {"PatchCore": "Ours", "mvtec": "MVTec AD"}
    by_seed = rows.groupby(["dataset", "method", "metric", "seed"])["value"].mean().groupby(level=[0, 1, 2]).mean()
    return {
        (names.get(d, d), names.get(m, m), metric): f"{100 * value:.2f}" for (d, m, metric), value in by_seed.items()
    }


def test_every_artefact_prints_the_same_digits(
    shown: dict[str, Path], expected: dict[tuple[str, str, str], str]
) -> None:
    table = list(csv.DictReader(io.StringIO(shown["tables/summary.csv"].read_text())))
    ours = [row for row in table if row["method"] != "MambaAD"]
    assert [row["dataset"] for row in ours] == ["visa"] * 3 + ["MVTec AD"] * 3
    assert [row["method"] for row in ours] == ["DiAD", "Ours", "DRAEM"] * 2  # best p_ap first
    texts = {
        name: shown[name].read_text()
        for name in ("tables/summary.tex", "tables/summary.md", "index.html", "macros.tex")
    }
    sheet = load_workbook(shown["results.xlsx"])["Summary"]
    numbers = {f"{cell.value:.2f}" for row in sheet.iter_rows() for cell in row if isinstance(cell.value, float)}
    for row in ours:
        for metric in ("i_auroc", "p_ap", "aupro", "mad"):
            value = expected[row["dataset"], row["method"], metric]
            assert row[metric] == value
            assert value in numbers
            assert all(value in text for text in texts.values()), (row, metric)
    assert "±" not in texts["tables/summary.md"]
    assert r"diadstd" not in texts["tables/summary.tex"]
    assert "mean over 6 classes of 7: bottle, cable, capsule, carpet, grid, wood" in texts["tables/summary.md"]
    for name, text in texts.items():
        assert name == "index.html" or "PatchCore" not in text, name  # the page shows each cell's own files


def test_ours_is_emphasised_and_published_rows_have_daggers(shown: dict[str, Path]) -> None:
    assert "**Ours**" in shown["tables/summary.md"].read_text()
    text = shown["tables/summary.tex"].read_text()
    assert r"\textbf{Ours}" in text
    assert r"MambaAD\diadmark{\dag{}} & 98.6" in text  # as its source prints it, without a digit more
    assert "MambaAD README" in text
    assert r"\cite{he2024mambaad}" in text
    assert "98.60" not in text


def test_the_block_of_the_grid_holds_and_options_are_laid_over_it(
    make_run: Callable[..., Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = make_run(tmp_path / "run", methods=["DiAD", "padim"], datasets={"toy": ["a", "b"]}, seeds=[0], images=8)
    before = {path: path.stat().st_mtime_ns for path in run.path.rglob("status.json")}
    grid = yaml.safe_load((run.path / "grid.yaml").read_text())
    (run.path / "grid.yaml").write_text(yaml.safe_dump({**grid, "show": {"names": {"padim": "Ours"}, "digits": 3}}))
    assert main(["table", str(run.path), "--metrics", "i_auroc", "--format", "csv"]) == 0
    assert re.search(r"^Ours,\d+\.\d{3},", capsys.readouterr().out, re.MULTILINE)
    assert main(["table", str(run.path), "--metrics", "i_auroc", "--format", "csv", "--digits", "1"]) == 0
    assert re.search(r"^Ours,\d+\.\d,", capsys.readouterr().out, re.MULTILINE)
    assert main(["compare", str(run.path), "--baseline", "padim"]) == 0
    assert "Each method against Ours" in capsys.readouterr().out
    assert before == {path: path.stat().st_mtime_ns for path in run.path.rglob("status.json")}


def test_show_decides_no_identity() -> None:
    plain = {"name": "g", "methods": ["mean-image"], "datasets": ["toy"]}
    grid, shown = parse_grid(plain), parse_grid({**plain, "show": {"digits": 2}})
    assert list(grid.cells()) == list(shown.cells())
    assert parse_grid(yaml.safe_load(shown.to_yaml())) == shown


@pytest.mark.parametrize("dropped", ["tile", "bottle"])
def test_a_frame_whose_class_rows_were_filtered_never_prints_the_old_mean(demo: Path, dropped: str) -> None:
    results = load_results(demo)
    results = results[(results["dataset"] == "mvtec") & (results["class"] != dropped)]
    left = results[(results["scope"] == "class") & (results["method"] == "DiAD") & (results["metric"] == "i_auroc")]
    mean = f"{100 * left.groupby('seed')['value'].mean().mean():.1f}"
    for frame in (results, prepare(results)):
        table = cut(frame, rows=["method"], metrics=["i_auroc"])
        assert table.entries[0][0].text == mean
        assert mean in to_latex(table)
        assert "classes of 7" in to_markdown(table)
        means = aggregate(frame)
        means = means[(means["scope"] == "mean") & (means["method"] == "DiAD") & (means["metric"] == "i_auroc")]
        assert f"{100 * means['value'].iloc[0]:.1f}" == mean


@pytest.mark.parametrize(
    ("show", "said"),
    [
        ({"digit": 2}, "did you mean digits"),
        ({"digits": 9}, "from 0 to 4"),
        ({"digits": True}, "whole number"),
        ("digits", "expected keys"),
        ({"drop": [1]}, "write a name in quotes"),
        ({"std": "perhaps"}, "true or false"),
        ({"names": ["x"]}, "RevDist: Ours"),
        ({"classes": ["a"], "drop": ["b"]}, "not both"),
    ],
)
def test_a_wrong_block_is_refused_when_the_grid_is_read(show: Any, said: str) -> None:
    with pytest.raises(UserError, match=said):
        parse_grid({"name": "g", "methods": ["mean-image"], "datasets": ["toy"], "show": show})


@pytest.mark.parametrize(
    ("show", "said"),
    [
        ({"names": {"PachCore": "Ours"}}, "did you mean PatchCore"),
        ({"names": {"PatchCore": "DiAD"}}, "another method is printed as 'DiAD'"),
        ({"methods": ["PachCore"]}, "did you mean PatchCore"),
        ({"drop": ["tiles"]}, "did you mean tile"),
        ({"sort": "i_aurok"}, "did you mean i_auroc"),
        ({"ours": ["Nobody"]}, "unknown method"),
        ({"published": ["MambaADD"]}, "did you mean MambaAD"),
        ({"published": ["MambaAD@Nowhere"]}, "unknown source"),
    ],
)
def test_a_name_that_is_not_there_is_refused(demo: Path, show: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said):
        Source.load(demo, show=show).cut(rows=["dataset", "method"], columns=["metric"])


def test_runs_that_say_different_things_are_refused() -> None:
    from diadbench.common.show import in_all_runs

    same = Show.read({"digits": 2, "names": {"a": "A"}})
    assert in_all_runs({"r": same, "s": Show.read({"names": {"b": "B"}})}).names == {"a": "A", "b": "B"}
    with pytest.raises(UserError, match="digits is 2 and 3"):
        in_all_runs({"r": same, "s": Show.read({"digits": 3})})


def test_compare_and_published_list_fit_80_columns(demo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    long = ["--names", "DiAD=A-Method-Of-A-Long-Name", "UniAD=Sixteen-Letters-"]
    for words in (["compare", str(demo)], ["compare", str(demo), *long], ["published", "list", "--dataset", "mvtec"]):
        assert main(words) == 0
        lines = capsys.readouterr().out.splitlines()
        assert len(lines) > 10
        assert max(map(len, lines)) <= 80, max(lines, key=len)


@pytest.mark.parametrize("columns", [80, 132])
@pytest.mark.parametrize("rows", ["method", "class", "dataset,method"])
def test_a_printed_table_fits_the_terminal_with_all_its_figures(
    demo: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, columns: int, rows: str
) -> None:
    across = "metric" if "dataset" in rows else "method" if rows == "class" else "dataset"
    words = ["table", str(demo), "--rows", rows, "--columns", across]
    words += ["--datasets", "visa"] if rows == "class" else []
    assert main([*words, "--format", "markdown"]) == 0
    figures = re.findall(r"\d+\.\d", capsys.readouterr().out.partition("Values times")[0])
    monkeypatch.setenv("FORCE_COLOR", "1")  # what is printed goes to a terminal
    monkeypatch.setenv("COLUMNS", str(columns))
    assert main(words) == 0
    lines = re.sub(r"\x1b\[[\d;]*m", "", capsys.readouterr().out).splitlines()
    assert max(map(len, lines)) <= columns, max(lines, key=len)
    assert sorted(re.findall(r"\d+\.\d", "\n".join(lines).partition("Values times")[0])) == sorted(figures)
    assert "\n".join(lines).count("Values times 100") == 1


@pytest.mark.parametrize("columns", [["dataset", "metric"], ["metric"], ["dataset"], ["method", "metric"]])
def test_a_dataset_without_results_keeps_its_place_and_every_mark_stands_somewhere(
    make_run: Callable[..., Any], tmp_path: Path, columns: list[str]
) -> None:
    ends = {("visa", method, 0): {"skips": "the data are not here"} for method in ("DiAD", "UniAD")}
    run = make_run(
        tmp_path / "run", methods=["DiAD", "UniAD"], datasets={"mvtec": ["a"], "visa": ["b"]}, seeds=[0], ends=ends
    )
    rows = {"dataset metric": ["method"], "metric": ["dataset", "method"], "dataset": ["method", "metric"]}
    results = prepare(load_results(run.path))
    table = cut(results, rows=rows.get(" ".join(columns), ["dataset"]), columns=columns, metrics=["i_auroc", "p_ap"])
    heads = [head for line in (*table.rows, *table.columns) for head in line]
    entries = [entry for line in table.entries for entry in line]
    shown = {mark_text(mark) for part in (*heads, *entries) for mark in part.marks}
    assert {mark for mark, _ in table.notes if mark} == shown
    assert any("the data are not here" in text for _, text in table.notes)
    assert "visa" in {head.text for head in heads}


def test_an_added_row_stands_under_the_dataset_that_it_names_otherwise(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = tmp_path / "mine.csv"
    rows.write_text("source,method,dataset,setting,i_auroc\nMy paper,Mine,mvtec,multi-class,99.95\n")
    (tmp_path / "run").mkdir()
    assert len(add(rows, tmp_path / "run")[0]) == 1
    assert (
        main(["published", "list", "--dataset", "mvtec", "--setting", "multi-class", "--run", f"{tmp_path}/run"]) == 0
    )
    shown = capsys.readouterr().out
    assert "mvtec," not in shown, "one heading for both spellings"
    assert shown.index("Mine") < shown.index("Dinomaly"), "the best comes first"


def test_the_effect_size_follows_the_signed_ranks(demo: Path) -> None:
    table = versus(prepare(load_results(demo)), baseline="UniAD", metrics=["i_auroc"])
    assert table["effect"].between(-1, 1).all()
    assert (table.loc[table["losses"] + table["ties"] == 0, "effect"] == 1).all()


def test_published_rows_are_added_once_and_removed(tmp_path: Path, demo: Path) -> None:
    rows = tmp_path / "mine.csv"
    rows.write_text("source,method,dataset,setting,i_auroc\nMy paper,Mine,MVTec AD,multi-class,97.0\n")
    assert len(add(rows)[0]) == 1
    assert len(add(rows)[0]) == 0
    rows.write_text("source,method,dataset,setting,i_auroc\nMy paper,mine,mvtec,multi-class,96.0\n")
    with pytest.raises(UserError, match=r"is there already with i_auroc 97\.0, here it is 96\.0"):
        add(rows)
    text = to_latex(Source.load(demo, show={"published": ["Mine"]}).cut(rows=["dataset", "method"], columns=["metric"]))
    assert r"Mine\diadmark{\dag{}} & 97.0" in text
    assert len(remove("My paper", "Mine")) == 1
    assert "Mine" not in set(load_published()["method"])
    with pytest.raises(UserError, match="unknown source"):
        remove("My paper")


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ("P,A,mvtec,97,5,50", "line 2: 6 values under 5 columns; a decimal point is needed"),
        ("P,A,mvtec,0.975,0.5", "line 2: expected figures in percent, found 0.975 at most; times 100"),
    ],
)
def test_figures_that_would_be_read_as_others_are_refused(tmp_path: Path, row: str, told: str) -> None:
    """A decimal comma shifts all columns, which pandas takes for a name of the row; fractions are no percent."""
    (tmp_path / "x.csv").write_text(f"source,method,dataset,i_auroc,p_ap\n{row}\n")
    with pytest.raises(UserError, match=told):
        read_table(tmp_path / "x.csv")


def test_rows_of_a_run_are_its_own(tmp_path: Path) -> None:
    rows = tmp_path / "mine.csv"
    rows.write_text("source,method,dataset,setting,i_auroc\nMy paper,Mine,MVTec AD,multi-class,97.0\n")
    run = tmp_path / "run"
    run.mkdir()
    assert len(add(rows, run)[0]) == 1
    assert "Mine" in set(load_published([run])["method"])
    assert "Mine" not in set(load_published()["method"])
