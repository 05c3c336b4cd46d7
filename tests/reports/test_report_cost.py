"""The table of costs: heads say what the figures are, alike in the workbook, on the page and in figures."""

from __future__ import annotations

import html
import re
from pathlib import Path

import pandas as pd
import pytest
from openpyxl import load_workbook

from diadbench.benchmark.records.store import RunDirectory
from diadbench.reports.figures.look import Look
from diadbench.reports.figures.tradeoff import pareto
from diadbench.reports.tables.costs import COSTS, HEADS, cost, cost_notes, measured_at
from diadbench.reports.tables.source import Source


@pytest.fixture(scope="module")
def source(demo: Path) -> Source:
    return Source.load(demo)


def test_columns_are_what_their_heads_say(demo: Path, source: Source) -> None:
    cells = [RunDirectory(demo).cell("mvtec", "DiAD", "multi-class", seed).status for seed in (0, 1, 2)]
    row = cost(source.facts).set_index(["dataset", "method"]).loc[("mvtec", "DiAD")]

    def mean(values: list[float]) -> object:
        return pytest.approx(sum(values) / 3)

    assert row["model"] == mean([cell["phases"]["model"] for cell in cells])
    assert row["testing"] == mean([cell["phases"]["predict"] + cell["phases"]["evaluate"] for cell in cells])
    assert row["cpu_gib"] == mean([cell["peak_memory"]["cpu_bytes"] / 2**30 for cell in cells])
    assert row["load"] == mean([cell["machine"]["load"] for cell in cells])
    assert row["seeds"] == 3
    assert 0 < row["model"] < row["testing"]
    rate = [cell["n_test"] / cell["phases"]["model"] for cell in cells]
    assert row["images_per_second"] == mean(rate)


def test_heads_and_notes_are_the_same_in_every_format(report: dict[str, Path], source: Source) -> None:
    heads = ["Dataset", "Method", *(column.head for column in COSTS)]
    sheet = load_workbook(report["results.xlsx"])["Cost"]
    assert [cell.value for cell in sheet[3]] == heads
    texts = [row[0] for row in sheet.iter_rows(values_only=True)]
    page = report["index.html"].read_text(encoding="utf-8")
    section = page[page.index('<section id="cost"') : page.index('<section id="figures"')]
    section = html.unescape(section)
    assert re.findall(r'<th scope="col"[^>]*>([^<]*)</th>', section) == heads
    for note in cost_notes(source.facts):
        assert note in texts
        assert note in section
    assert not re.search(r"\bGB\b", section)
    table = cost(source.facts)
    first = [sheet.cell(4, 3 + place).value for place in range(len(COSTS))]
    assert first == [pytest.approx(table.iloc[0][column.key]) for column in COSTS]
    figure = pareto(source.table, table, "mvtec", "i_auroc", Look.of(source), measured_at(source.facts))
    assert figure is not None
    assert HEADS["cpu_gib"] in {axes.get_xlabel() for axes in figure.axes}
    assert measured_at(source.facts) in figure.get_suptitle().replace("\n", " ")


def test_old_cells_and_resumed_ones_are_told_apart(source: Source) -> None:
    facts = source.facts.copy()
    assert not any("resident" in note or "last process" in note for note in cost_notes(facts))
    facts.loc[facts.index[:2], "shared"] = True
    facts.loc[facts.index[:3], "resumed"] = True
    facts.loc[facts.index[:1], ["cells", "load"]] = float("nan")
    text = " ".join(cost_notes(facts))
    assert "of 2 of 43 cells count all resident pages" in text
    assert "of 3 of 43 cells are those of their last process alone" in text
    assert "not recorded for 1 of 43 cells" in text
    assert measured_at(facts.assign(cells=float("nan"))).startswith("How busy the machine was")
    assert cost_notes(pd.DataFrame()) == []
