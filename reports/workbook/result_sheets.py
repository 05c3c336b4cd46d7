"""Sheets of the results: the summary, each dataset by class, each seed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from openpyxl import Workbook
from openpyxl.utils import get_column_letter
from openpyxl.worksheet.worksheet import Worksheet

from diadbench.reports.tables.escape import clean
from diadbench.reports.tables.labels import Metric, known_metrics, legend
from diadbench.reports.tables.plain_text import note_text
from diadbench.reports.tables.rows.aggregation import aggregate
from diadbench.reports.tables.rows.result_rows import records, tuples
from diadbench.reports.tables.source import Source
from diadbench.reports.tables.table_builder import ours_of
from diadbench.reports.tables.table_shape import Table, marks_text
from diadbench.reports.workbook import sheet as cells
from diadbench.reports.workbook.sheet import (
    colour_scale,
    finish,
    heads,
    new_sheet,
    put,
    put_entry,
    put_head,
    put_method,
    under,
)
from diadbench.reports.workbook.sheet_charts import add_dataset_chart, add_summary_chart


def _notes(table: Table) -> list[str]:
    return [" ".join(filter(None, [legend(), table.seeds_text()])), *(note_text(*note) for note in table.notes)]


def write_summary(book: Workbook, source: Source) -> None:
    """Write the means over classes, methods by datasets, with a chart."""
    table = source.cut(rows=["method"], columns=["dataset", "metric"])
    sheet = new_sheet(book, "Summary")
    put(sheet, 1, 1, f"{source.title}: methods by datasets").font = cells.TITLE
    start = 3
    heads(sheet, start, ["", "", *_groups(table)], group=True)
    _merge_groups(sheet, start, table, 3)
    heads(sheet, start + 1, ["Method", "Seeds", *(column[-1].text for column in table.columns)])
    for offset, (row, entries) in enumerate(zip(table.rows, table.entries)):
        line = start + 2 + offset
        put_head(sheet, line, 1, row[0])
        counts = sorted({entry.seeds for entry in entries if entry.seeds})
        put(sheet, line, 2, counts[0] if len(counts) == 1 else f"{counts[0]}-{counts[-1]}" if counts else 0)
        for position, entry in enumerate(entries):
            put_entry(sheet, line, 3 + position, entry)
    last = start + 1 + len(table.rows)
    for position in range(len(table.columns)):
        letter = get_column_letter(3 + position)
        colour_scale(sheet, f"{letter}{start + 2}:{letter}{last}")
    end = under(sheet, last + 2, _notes(table), last_column=2 + _groups_at(table)[0][1])
    finish(sheet, freeze=f"C{start + 2}", head_row=start + 1, last_row=last, last_column=2 + len(table.columns),
           widths={1: 24, 2: 7, 0: 11})  # fmt: skip
    sheet.print_title_cols = "A:B"
    add_summary_chart(sheet, table, start, last, end + 1)


def write_shots(book: Workbook, source: Source) -> None:
    """Write methods by training images of a class, a block a metric; nothing without few-shot settings."""
    tables = source.shots_tables()
    if not tables:
        return
    sheet = new_sheet(book, "Shots")
    put(sheet, 1, 1, f"{source.title}: training images of a class").font = cells.TITLE
    line = 3
    for table in tables:
        put(sheet, line, 1, table.caption).font = cells.BEST
        heads(sheet, line + 1, ["Dataset", "Method", *(column[0].text for column in table.columns)])
        for offset, (row, entries) in enumerate(zip(table.rows, table.entries), line + 2):
            for column, head in enumerate(row, 1):
                put_head(sheet, offset, column, head)
            for column, entry in enumerate(entries, 3):
                put_entry(sheet, offset, column, entry)
        line = under(sheet, line + 3 + len(table.rows), _notes(table)) + 2
    last = 2 + max(len(table.columns) for table in tables)
    finish(sheet, freeze="C3", head_row=4, last_row=4, last_column=last, widths={1: 16, 2: 24, 0: 11})


def _groups(table: Table) -> list[str]:
    names = [_with_marks(column[0].text, column[0].marks) for column in table.columns]
    return [name if i == 0 or names[i - 1] != name else "" for i, name in enumerate(names)]


def _groups_at(table: Table) -> list[tuple[int, int]]:
    """Return the columns of each dataset as ranges (first, after the last)."""
    names = [column[0].text for column in table.columns]
    starts = [i for i in range(len(names)) if i == 0 or names[i] != names[i - 1]]
    return list(zip(starts, [*starts[1:], len(names)]))


def _merge_groups(sheet: Worksheet, row: int, table: Table, first: int) -> None:
    for begin, stop in _groups_at(table):
        if stop - begin > 1:
            sheet.merge_cells(start_row=row, end_row=row, start_column=first + begin, end_column=first + stop - 1)


def _with_marks(text: str, marks: tuple[int, ...]) -> str:
    return f"{clean(text)} ({marks_text(marks)})" if marks else text


def write_dataset(book: Workbook, source: Source, dataset: str, colours: Mapping[str, str]) -> None:
    """Write one block of rows for each metric; the filter of the first column selects a block."""
    results = source.results[source.results["dataset"] == dataset]
    metrics = known_metrics([key for key in results["metric"].unique() if key])
    if not metrics:
        return
    table = source.cut(dataset=dataset, rows=["metric", "method"], columns=["class"], metrics=metrics)
    table.columns = table.columns[-1:] + table.columns[:-1]
    table.entries = [entries[-1:] + entries[:-1] for entries in table.entries]
    sheet = new_sheet(book, dataset)
    put(sheet, 1, 1, f"{dataset}: methods by classes").font = cells.TITLE
    put(sheet, 2, 1, "Choose metrics with the filter of the first column, or fold blocks with the signs on the left.")
    heads(
        sheet,
        4,
        ["Metric", "Method", "Seeds", *(column[0].text for column in table.columns)],
    )
    line = begin = 5
    blocks = []
    for position, (row, entries) in enumerate(zip(table.rows, table.entries)):
        put(sheet, line, 1, row[0].text)
        put_head(sheet, line, 2, row[1])
        put(sheet, line, 3, max((entry.seeds for entry in entries), default=0))
        for offset, entry in enumerate(entries):
            put_entry(sheet, line, 4 + offset, entry)
        last_of_block = position + 1 == len(table.rows) or table.rows[position + 1][0].text != row[0].text
        if last_of_block:
            blocks.append((begin, line))
            begin = line + 1
        line += 1
    for first, last in blocks:
        for column in range(1, 4 + len(table.columns)):
            sheet.cell(first, column).border = cells.THIN
        colour_scale(sheet, f"D{first}:{get_column_letter(3 + len(table.columns))}{last}")
        if last > first:
            sheet.row_dimensions.group(first + 1, last, outline_level=1)
    sheet.sheet_properties.outlinePr.summaryBelow = False
    end = under(sheet, line + 1, _notes(table))
    finish(sheet, freeze="E5", head_row=4, last_row=line - 1, last_column=3 + len(table.columns),
           widths={1: 14, 2: 24, 3: 7, 0: 12})  # fmt: skip
    first, last = blocks[0]
    names = [row[1].text for row in table.rows[: last - first + 1]]
    title = f"{table.rows[0][0].text} by class"
    add_dataset_chart(sheet, blocks[0], names, len(table.columns), title, end + 1, colours)


def write_seeds(book: Workbook, source: Source) -> None:
    """Write the means over classes of each seed beside their mean."""
    results, means, digits = source.results, source.table, source.show.digits
    ours = ours_of(results, source.show)
    sheet = new_sheet(book, "Seeds")
    put(sheet, 1, 1, "Each seed: means over classes").font = cells.TITLE
    each = aggregate(results[results["scope"] != "class"], by_seed=True)
    each = each[each["scope"] == "mean"]
    means = means[means["scope"] == "mean"]
    seeds = sorted(each["seed"].unique())
    wide: dict[Any, dict[int, float]] = {}
    for dataset, method, metric, seed, value in tuples(each[["dataset", "method", "metric", "seed", "value"]]):
        wide.setdefault((dataset, method, metric), {})[seed] = value
    heads(sheet, 3, ["Dataset", "Method", "Metric", "Mean", "Std", "Seeds", *(f"seed {seed}" for seed in seeds)])
    line = 4
    for row in records(means):
        put(sheet, line, 1, row["dataset"])
        put_method(sheet, line, 2, row["method"], ours)
        put(sheet, line, 3, Metric(str(row["metric"])).text)
        put(sheet, line, 4, row["hole"] or cells.percent(float(row["value"]), digits), cells.decimals(digits))
        put(sheet, line, 5, cells.percent(float(row["std"]), digits), cells.decimals(digits))
        put(sheet, line, 6, row["seeds"])
        values = wide[(row["dataset"], row["method"], row["metric"])]
        for offset, seed in enumerate(seeds):
            put(sheet, line, 7 + offset, cells.percent(values.get(seed, float("nan")), digits), cells.decimals(digits))
        line += 1
    under(
        sheet,
        line + 1,
        ["Std: standard deviation over seeds (n - 1), from two seeds on. A dash: undefined, or not run."],
    )
    finish(
        sheet,
        freeze="D4",
        head_row=3,
        last_row=line - 1,
        last_column=6 + len(seeds),
        widths={1: 16, 2: 24, 3: 13, 0: 9},
    )
