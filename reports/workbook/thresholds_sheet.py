"""The sheet ``Thresholds``: results of thresholds, and of all classes as one set."""

from __future__ import annotations

import pandas as pd
from openpyxl import Workbook
from openpyxl.worksheet.worksheet import Worksheet

from diadbench.reports.tables.rows.result_rows import records
from diadbench.reports.tables.source import Source
from diadbench.reports.tables.threshold_table import (
    EXPLANATION,
    POOLED,
    POOLED_EXPLANATION,
    THRESHOLDS,
    Figure,
    pooled_rows,
    threshold_notes,
    threshold_rows,
)
from diadbench.reports.workbook import sheet as cells
from diadbench.reports.workbook.sheet import explain, finish, heads, new_sheet, put, under


def write_thresholds(book: Workbook, source: Source) -> None:
    """Add the sheet if any cell has thresholds."""
    table, pooled = threshold_rows(source), pooled_rows(source)
    if table.empty:
        return
    digits = source.show.digits
    sheet = new_sheet(book, "Thresholds")
    put(sheet, 1, 1, "Thresholds: for each class, and one for all classes").font = cells.TITLE
    explain(sheet, 2, EXPLANATION, last_column=11)
    last = _block(sheet, 4, table, {"dataset": "Dataset", "method": "Method", "level": "Level", "rule": "Threshold",
                                    "seeds": "Seeds"}, THRESHOLDS, digits)  # fmt: skip
    begin = last + 3
    put(sheet, begin - 1, 1, "All classes as one set").font = cells.BEST
    explain(sheet, begin, POOLED_EXPLANATION, last_column=11)
    names = {"dataset": "Dataset", "method": "Method", "metric": "Metric", "seeds": "Seeds"}
    end = _block(sheet, begin + 1, pooled, names, POOLED, digits)
    under(sheet, end + 2, threshold_notes(source))
    finish(sheet, freeze="C5", head_row=4, last_row=last, last_column=12,
           widths={1: 16, 2: 24, 4: 30, 0: 13})  # fmt: skip


def _block(
    sheet: Worksheet,
    row: int,
    table: pd.DataFrame,
    names: dict[str, str],
    figures: tuple[Figure, ...],
    digits: int,
) -> int:
    """Write a table with its heads at ``row``; return its last row."""
    heads(sheet, row, [*names.values(), *(figure.head for figure in figures)])
    for line, entry in enumerate(records(table), row + 1):
        for column, key in enumerate(names, 1):
            put(sheet, line, column, entry[key])
        for column, figure in enumerate(figures, len(names) + 1):
            shown = cells.signed(digits) if figure.key == "difference" else cells.decimals(digits)
            put(sheet, line, column, cells.percent(float(entry[figure.key]), digits), shown)
    return row + len(table)
