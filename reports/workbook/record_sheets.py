"""Sheets of the run itself: what cells cost, which failed, where every figure comes from."""

from __future__ import annotations

from collections.abc import Mapping

from openpyxl import Workbook

from diadbench.reports.tables.costs import COSTS, cost, cost_notes, failures, provenance
from diadbench.reports.tables.escape import clean
from diadbench.reports.tables.rows.result_rows import records
from diadbench.reports.tables.source import Source
from diadbench.reports.tables.table_builder import ours_of
from diadbench.reports.workbook import sheet as cells
from diadbench.reports.workbook.sheet import finish, heads, new_sheet, put, put_method
from diadbench.reports.workbook.sheet_charts import add_cost_chart


def write_cost(book: Workbook, source: Source, colours: Mapping[str, str]) -> None:
    """Write what each method cost on each dataset, with a chart of its speed."""
    table = cost(source.facts)
    if table.empty:
        return
    sheet = new_sheet(book, "Cost")
    put(sheet, 1, 1, "Cost: means over seeds of the cells that ended").font = cells.TITLE
    heads(sheet, 3, ["Dataset", "Method", *(column.head for column in COSTS)])
    ours = ours_of(source.results, source.show)
    for line, row in enumerate(records(table), 4):
        put(sheet, line, 1, row["dataset"])
        put_method(sheet, line, 2, row["method"], ours)
        for place, column in enumerate(COSTS, 3):
            put(sheet, line, place, row[column.key], f"0.{'0' * column.digits}" if column.digits else "")
    last = 3 + len(table)
    finish(sheet, freeze="C4", head_row=3, last_row=last, last_column=2 + len(COSTS), widths={1: 16, 2: 24, 0: 12})
    notes = cost_notes(source.facts)
    for line, note in enumerate(notes, last + 2):
        put(sheet, line, 1, note)
    add_cost_chart(sheet, list(table["method"]), last, last + 3 + len(notes), colours)


def write_failures(book: Workbook, source: Source) -> None:
    """Write the cells without a result, and figures that contradict each other."""
    sheet = new_sheet(book, "Failures")
    table, ours = failures(source.facts), ours_of(source.results, source.show)
    put(sheet, 1, 1, f"Cells that have no result: {len(table)} of {len(source.facts)}").font = cells.TITLE
    names = ["Run", "Dataset", "Method", "Setting", "Seed", "State", "Why"]
    heads(sheet, 3, names)
    for line, row in enumerate(records(table), 4):
        for column, key in enumerate(("run", "dataset", "method", "setting", "seed", "state", "reason"), 1):
            put(sheet, line, column, row[key])
        put_method(sheet, line, 3, row["method"], ours)
        sheet.cell(line, 6).fill = cells.WARN_FILL
    line = 4 + len(table)
    if not len(table):
        put(sheet, 4, 1, "none")
    problems = source.problems
    put(sheet, line + 2, 1, f"Figures that contradict each other: {len(problems) or 'none'}").font = cells.BEST
    for offset, row in enumerate(records(problems), line + 3):
        for column, key in enumerate(("dataset", "method", "seed", "class", "problem"), 1):
            put(sheet, offset, column, row[key])
    finish(
        sheet,
        freeze="A4",
        head_row=3,
        last_row=line - 1,
        last_column=7,
        widths={1: 16, 2: 16, 3: 24, 4: 14, 7: 90, 0: 9},
    )


def write_provenance(book: Workbook, source: Source) -> None:
    """Write the environment of each run, and the identity and data of each cell."""
    sheet = new_sheet(book, "Provenance")
    put(sheet, 1, 1, "Where every figure comes from").font = cells.TITLE
    line = 3
    for name, run in zip(source.names, source.runs):
        put(sheet, line, 1, f"Run {clean(name)}").font = cells.BEST
        for key, value in provenance(run.environment):
            line += 1
            put(sheet, line, 1, key)
            put(sheet, line, 2, value)
        line += 2
    names = [
        "Dataset",
        "Method",
        "Setting",
        "Seed",
        "Protocol",
        "State",
        "Identity",
        "Data fingerprint",
        "Notes",
        "Run",
    ]
    heads(sheet, line, names)
    keys = ("dataset", "method", "setting", "seed", "protocol", "state", "identity", "fingerprint", "notes", "run")
    ours = ours_of(source.results, source.show)
    for offset, row in enumerate(records(source.facts), line + 1):
        for column, key in enumerate(keys, 1):
            put(sheet, offset, column, row["evaluation" if key == "protocol" else key])
        put_method(sheet, offset, 2, row["method"], ours)
    finish(sheet, freeze="A2", head_row=line, last_row=line + len(source.facts), last_column=10,
           widths={1: 24, 2: 24, 7: 20, 8: 20, 9: 50, 0: 13})  # fmt: skip
