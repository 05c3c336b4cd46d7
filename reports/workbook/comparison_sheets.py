"""Sheets that compare: each method with the baseline, published figures with ours."""

from __future__ import annotations

from typing import Any

import pandas as pd
from openpyxl import Workbook

from diadbench.reports.published.comparable import disagreements
from diadbench.reports.published.figure_arithmetic import check_published
from diadbench.reports.published.published_files import VALUES, decimals_of
from diadbench.reports.tables.labels import Metric
from diadbench.reports.tables.rows.result_rows import records
from diadbench.reports.tables.source import Source
from diadbench.reports.tables.table_builder import ours_of
from diadbench.reports.tables.verdicts import mark, reasons
from diadbench.reports.workbook import sheet as cells
from diadbench.reports.workbook.sheet import explain, finish, heads, new_sheet, put, put_method, under


def write_versus(book: Workbook, source: Source, table: pd.DataFrame) -> None:
    """Write the differences from the baseline, with their intervals and tests."""
    if table.empty:
        return
    digits, ours = source.show.digits, ours_of(source.results, source.show)
    sheet = new_sheet(book, "Versus")
    baseline = table["baseline"].iloc[0]
    put(sheet, 1, 1, f"Each method against {baseline}").font = cells.TITLE
    explain(
        sheet,
        2,
        "Difference of means over classes (points of percent, method minus baseline), 95 % bootstrap interval over "
        "classes (10,000 draws, seeded), wins/ties/losses over classes, effect: matched-pairs rank-biserial "
        "correlation, Wilcoxon signed-rank test, Holm's correction over the methods of one dataset and metric.",
        last_column=15,
    )
    names = ["Dataset", "Metric", "Method", "Classes", "Mean", f"Mean of {baseline}", "Difference", "Low", "High",
             "Wins", "Ties", "Losses", "Effect", "p (Holm)", "Verdict"]  # fmt: skip
    heads(sheet, 4, names)
    rows = records(table)
    for line, row in enumerate(rows, 5):
        put(sheet, line, 1, row["dataset"])
        put(sheet, line, 2, Metric(str(row["metric"]), mean=True).text)
        put_method(sheet, line, 3, row["method"], ours)
        put(sheet, line, 4, _pairs(row))
        for column, key in enumerate(("method_mean", "baseline_mean"), 5):
            put(sheet, line, column, cells.percent(float(row[key]), digits), cells.decimals(digits))
        for column, key in enumerate(("difference", "low", "high"), 7):
            put(sheet, line, column, cells.percent(float(row[key]), digits), cells.signed(digits))
        for column, key in enumerate(("wins", "ties", "losses"), 10):
            put(sheet, line, column, row[key])
        put(sheet, line, 13, row["effect"], "+0.00;-0.00;0.00")
        put(sheet, line, 14, row["p_holm"], "0.0000")
        put(sheet, line, 15, mark(row)).alignment = cells.CENTRE
        if row["significant"]:
            sheet.cell(line, 14).font = cells.BEST
    last = 4 + len(table)
    under(sheet, last + 2, reasons(rows))
    finish(sheet, freeze="D5", head_row=4, last_row=last, last_column=15,
           widths={1: 16, 2: 13, 3: 24, 0: 9.5})  # fmt: skip


def _pairs(row: dict[str, Any]) -> object:
    """Return the number of compared classes; ``"2 of 3"`` if one of the methods lacks values for some."""
    return row["pairs"] if row["pairs"] == row["classes"] else f"{row['pairs']} of {row['classes']}"


def write_published(book: Workbook, table: pd.DataFrame) -> None:
    """Write all published rows: first those of our datasets, with our figures beside them."""
    table = table.sort_values(
        ["here", "ours"], ascending=False, key=lambda c: c if c.name == "here" else c != "", kind="stable"
    )
    sheet = new_sheet(book, "Published")
    put(sheet, 1, 1, "Published figures, beside ours").font = cells.TITLE
    explain(
        sheet,
        2,
        "Published rows are yellow and stand as their source prints them. Protocols and budgets differ: read the "
        "notes.",
        last_column=12,
    )
    shown = VALUES
    heads(
        sheet,
        3,
        ["", "", "", "", "", "", "", *(name for key in shown for name in (Metric(key).text, "", ""))],
        group=True,
    )
    for position in range(len(shown)):
        sheet.merge_cells(start_row=3, end_row=3, start_column=8 + 3 * position, end_column=10 + 3 * position)
    names = ["Dataset", "Method", "Venue", "Source", "Setting", "Pixels", "Epochs"]
    heads(
        sheet,
        4,
        [*names, *(["published", "ours", "difference"] * len(shown)), "Note", "Arithmetic, other sources", "Where"],
    )
    others = disagreements(records(table))
    for line, row in enumerate(records(table), 5):
        texts = (row["dataset"], row["method"], row["venue"], row["source"], row["setting"])
        for column, value in enumerate(texts, 1):
            put(sheet, line, column, value).fill = cells.PUBLISHED_FILL
        size = str(row["resolution"])
        put(sheet, line, 6, int(size) if size.isdecimal() else size)
        put(sheet, line, 7, row["epochs"])
        for position, key in enumerate(shown):
            put(
                sheet, line, 8 + 3 * position, row[key], cells.decimals(decimals_of(float(row[key])))
            ).fill = cells.PUBLISHED_FILL
            put(sheet, line, 9 + 3 * position, row[f"{key}_ours"], "0.0")
            put(sheet, line, 10 + 3 * position, row[f"{key}_difference"], "+0.0;-0.0;0.0")
        end = 8 + 3 * len(shown)
        put(sheet, line, end, row["note"])
        problems = check_published(row)
        told = others.get(line - 5, "")
        put(sheet, line, end + 1, "; ".join([*problems, *filter(None, [told])]))
        put(sheet, line, end + 2, row["source_ref"])
        if problems:
            sheet.cell(line, end + 1).fill = cells.WARN_FILL
    widths: dict[int, float] = {1: 13, 2: 22, 3: 12, 4: 24, 5: 13, 0: 9.5, end: 60, end + 1: 60, end + 2: 50}
    finish(sheet, freeze="C5", head_row=4, last_row=4 + len(table), last_column=end + 2, widths=widths)
