"""``results.xlsx``: everything in one workbook, numbers as numbers, best bold, second best underlined."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
from openpyxl import Workbook
from openpyxl.chart import BarChart, Reference, ScatterChart, Series
from openpyxl.utils import get_column_letter
from openpyxl.worksheet.pagebreak import Break
from openpyxl.worksheet.worksheet import Worksheet

from diadbench.common.files import write_with
from diadbench.reports.figures.palette import styles
from diadbench.reports.published.literature import VALUES, check_published
from diadbench.reports.tables.costs import COSTS, HEADS, cost, cost_notes, evaluation, failures, provenance
from diadbench.reports.tables.cut import Table, marks_text
from diadbench.reports.tables.escape import clean
from diadbench.reports.tables.frame import aggregate, records, tuples
from diadbench.reports.tables.labels import Metric, known_metrics
from diadbench.reports.tables.plain_text import legend, note_text
from diadbench.reports.tables.source import Source
from diadbench.reports.workbook import sheet as cells
from diadbench.reports.workbook.sheet import (
    colour_scale,
    explain,
    finish,
    heads,
    new_sheet,
    put,
    put_entry,
    put_head,
    under,
)
from diadbench.reports.workbook.thresholds_sheet import write_thresholds


def write_excel(source: Source, path: Path, versus: pd.DataFrame, published: pd.DataFrame) -> Path:
    """Write the workbook of a report and return its path."""
    book = Workbook()
    book.remove(book.worksheets[0])
    book.properties.title = f"diadbench: {source.title}"
    book.properties.creator = "diadbench"
    results = source.results
    table = source.table
    if len(table):
        _summary(book, source)
        for dataset in source.datasets:
            _dataset(book, source, dataset)
        _versus(book, versus, source.show.digits)
        _seeds(book, results, table, source.show.digits)
        write_thresholds(book, source)
        _published(book, published)
        _cost(book, source)
    _failures(book, source)
    _provenance(book, source)
    write_with(path, book.save)
    return path


def _notes(table: Table) -> list[str]:
    return [" ".join(filter(None, [legend(), table.seeds_text()])), *(note_text(*note) for note in table.notes)]


def _summary(book: Workbook, source: Source) -> None:
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
    _summary_chart(sheet, table, start, last, end + 1)


def _groups(table: Table) -> list[str]:
    names = [_with_marks(column[0].text, column[0].marks) for column in table.columns]
    return [name if i == 0 or names[i - 1] != name else "" for i, name in enumerate(names)]


def _groups_at(table: Table) -> list[tuple[int, int]]:
    """Return the columns of each dataset, from the first to behind the last."""
    names = [column[0].text for column in table.columns]
    starts = [i for i in range(len(names)) if i == 0 or names[i] != names[i - 1]]
    return list(zip(starts, [*starts[1:], len(names)]))


def _merge_groups(sheet: Worksheet, row: int, table: Table, first: int) -> None:
    for begin, stop in _groups_at(table):
        if stop - begin > 1:
            sheet.merge_cells(start_row=row, end_row=row, start_column=first + begin, end_column=first + stop - 1)


def _with_marks(text: str, marks: tuple[int, ...]) -> str:
    return f"{clean(text)} ({marks_text(marks)})" if marks else text


def _summary_chart(sheet: Worksheet, table: Table, start: int, last: int, row: int) -> None:
    """Bars of image AU-ROC (or the first metric) by dataset, one series a dataset."""
    keys = [column[-1].metric.key for column in table.columns if column[-1].metric]
    metric = "i_auroc" if "i_auroc" in keys else keys[0]
    chart = BarChart()
    chart.type, chart.style = "col", 10
    chart.title = f"{Metric(metric).text} by method and dataset"
    chart.height, chart.width = 9, max(16, min(40, 2 + 1.4 * len(table.rows)))
    for position, key in enumerate(keys):
        if key != metric:
            continue
        values = Reference(sheet, min_col=3 + position, min_row=start + 2, max_row=last)
        series = Series(values, title=clean(table.columns[position][0].text)[:200])
        chart.series.append(series)
    chart.set_categories(Reference(sheet, min_col=1, min_row=start + 2, max_row=last))
    _axes(chart)
    sheet.add_chart(chart, f"A{row}")


def _axes(chart: BarChart | ScatterChart) -> None:
    chart.x_axis.delete = False  # openpyxl 3.1 hides axes by default
    chart.y_axis.delete = False
    chart.y_axis.number_format = "0"
    chart.y_axis.majorGridlines = chart.y_axis.majorGridlines
    chart.legend.position = "b"


def _dataset(book: Workbook, source: Source, dataset: str) -> None:
    """One block of rows for each metric; the filter of the first column switches between them."""
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
    _dataset_chart(sheet, blocks[0], len(table.columns), table.rows[0][0].text, end + 1)


def _dataset_chart(sheet: Worksheet, block: tuple[int, int], columns: int, metric: str, row: int) -> None:
    first, last = block
    names = [str(sheet.cell(line, 2).value) for line in range(first, last + 1)]
    colours = styles(names)
    chart = BarChart()
    chart.type, chart.style, chart.title = "col", 10, f"{metric} by class"
    chart.height, chart.width = 9, max(16, min(44, 2 + 0.35 * columns * len(names)))
    for line, name in list(zip(range(first, last + 1), names))[:12]:
        series = Series(Reference(sheet, min_col=4, max_col=3 + columns, min_row=line), title=name[:200])
        series.graphicalProperties.solidFill = colours[name][0].lstrip("#")
        chart.series.append(series)
    chart.set_categories(Reference(sheet, min_col=4, max_col=3 + columns, min_row=4))
    _axes(chart)
    sheet.row_breaks.append(Break(id=row - 1))  # printed, the chart would stand on two pages
    sheet.add_chart(chart, f"A{row}")


def _versus(book: Workbook, table: pd.DataFrame, digits: int) -> None:
    if table.empty:
        return
    sheet = new_sheet(book, "Versus")
    baseline = table["baseline"].iloc[0]
    put(sheet, 1, 1, f"Each method against {baseline}").font = cells.TITLE
    explain(
        sheet,
        2,
        "Difference of means over classes (points of percent, method minus baseline), 95 % bootstrap interval over "
        "classes (10,000 draws, seeded), wins/ties/losses over classes, Wilcoxon signed-rank, Holm's correction over "
        "the methods of one dataset and metric.",
        last_column=15,
    )
    names = ["Dataset", "Metric", "Method", "Classes", "Mean", f"Mean of {baseline}", "Difference", "Low", "High",
             "Wins", "Ties", "Losses", "p", "p (Holm)", "In words"]  # fmt: skip
    heads(sheet, 4, names)
    for line, row in enumerate(records(table), 5):
        put(sheet, line, 1, row["dataset"])
        put(sheet, line, 2, Metric(str(row["metric"]), mean=True).text)
        put(sheet, line, 3, row["method"])
        put(sheet, line, 4, _pairs(row))
        for column, key in enumerate(("method_mean", "baseline_mean"), 5):
            put(sheet, line, column, cells.percent(float(row[key]), digits), cells.decimals(digits))
        for column, key in enumerate(("difference", "low", "high"), 7):
            put(sheet, line, column, 100 * float(row[key]), cells.signed(digits))
        for column, key in enumerate(("wins", "ties", "losses"), 10):
            put(sheet, line, column, row[key])
        for column, key in enumerate(("p", "p_holm"), 13):
            put(sheet, line, column, row[key], "0.0000")
        put(sheet, line, 15, row["verdict"])
        if row["significant"]:
            sheet.cell(line, 14).font = cells.BEST
    last = 4 + len(table)
    finish(sheet, freeze="D5", head_row=4, last_row=last, last_column=15,
           widths={1: 16, 2: 13, 3: 24, 0: 9.5, 15: 70})  # fmt: skip


def _pairs(row: dict[str, Any]) -> object:
    """Return the number of classes compared; ``"2 of 3"`` where one of the methods has no value on some."""
    return row["pairs"] if row["pairs"] == row["classes"] else f"{row['pairs']} of {row['classes']}"


def _seeds(book: Workbook, results: pd.DataFrame, means: pd.DataFrame, digits: int) -> None:
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
        put(sheet, line, 2, row["method"])
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


def _published(book: Workbook, table: pd.DataFrame) -> None:
    """All published rows; those of our datasets first, with our figures beside them."""
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
    heads(sheet, 4, [*names, *(["published", "ours", "difference"] * len(shown)), "Note", "Arithmetic", "Where"])
    for line, row in enumerate(records(table), 5):
        texts = (row["dataset"], row["method"], row["venue"], row["source"], row["setting"])
        for column, value in enumerate(texts, 1):
            put(sheet, line, column, value).fill = cells.PUBLISHED_FILL
        put(sheet, line, 6, row["resolution"])
        put(sheet, line, 7, row["epochs"])
        for position, key in enumerate(shown):
            put(sheet, line, 8 + 3 * position, row[key], "0.0").fill = cells.PUBLISHED_FILL
            put(sheet, line, 9 + 3 * position, row[f"{key}_ours"], "0.0")
            put(sheet, line, 10 + 3 * position, row[f"{key}_difference"], "+0.0;-0.0;0.0")
        end = 8 + 3 * len(shown)
        put(sheet, line, end, row["note"])
        problems = check_published(row)
        put(sheet, line, end + 1, "; ".join(problems))
        put(sheet, line, end + 2, row["source_ref"])
        if problems:
            sheet.cell(line, end + 1).fill = cells.WARN_FILL
    widths: dict[int, float] = {1: 13, 2: 22, 3: 12, 4: 24, 5: 13, 0: 9.5, end: 60, end + 1: 60, end + 2: 50}
    finish(sheet, freeze="C5", head_row=4, last_row=4 + len(table), last_column=end + 2, widths=widths)


def _cost(book: Workbook, source: Source) -> None:
    table = cost(source.facts)
    if table.empty:
        return
    sheet = new_sheet(book, "Cost")
    put(sheet, 1, 1, "Cost: means over seeds of the cells that ended").font = cells.TITLE
    heads(sheet, 3, ["Dataset", "Method", *(column.head for column in COSTS)])
    for line, row in enumerate(records(table), 4):
        put(sheet, line, 1, row["dataset"])
        put(sheet, line, 2, row["method"])
        for place, column in enumerate(COSTS, 3):
            put(sheet, line, place, row[column.key], f"0.{'0' * column.digits}" if column.digits else "")
    last = 3 + len(table)
    finish(sheet, freeze="C4", head_row=3, last_row=last, last_column=2 + len(COSTS), widths={1: 16, 2: 24, 0: 12})
    notes = cost_notes(source.facts)
    for line, note in enumerate(notes, last + 2):
        put(sheet, line, 1, note)
    chart = BarChart()
    chart.type, chart.style, chart.title = "bar", 10, "Images a second"
    place = 3 + list(HEADS).index("images_per_second")
    chart.series.append(Series(Reference(sheet, min_col=place, min_row=4, max_row=last), title="Images a second"))
    chart.set_categories(Reference(sheet, min_col=1, max_col=2, min_row=4, max_row=last))
    chart.height, chart.width = max(7.0, min(30.0, 2 + 0.6 * len(table))), 18
    _axes(chart)
    chart.legend = None
    sheet.add_chart(chart, f"A{last + 3 + len(notes)}")


def _failures(book: Workbook, source: Source) -> None:
    sheet = new_sheet(book, "Failures")
    table = failures(source.facts)
    put(sheet, 1, 1, f"Cells that have no result: {len(table)} of {len(source.facts)}").font = cells.TITLE
    names = ["Run", "Dataset", "Method", "Setting", "Seed", "State", "Why"]
    heads(sheet, 3, names)
    for line, row in enumerate(records(table), 4):
        for column, key in enumerate(("run", "dataset", "method", "setting", "seed", "state", "reason"), 1):
            put(sheet, line, column, row[key])
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


def _provenance(book: Workbook, source: Source) -> None:
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
    for offset, row in enumerate(records(source.facts), line + 1):
        for column, key in enumerate(keys, 1):
            put(sheet, offset, column, evaluation(row["cell"]) if key == "protocol" else row[key])
    finish(sheet, freeze="A2", head_row=line, last_row=line + len(source.facts), last_column=10,
           widths={1: 24, 2: 24, 7: 20, 8: 20, 9: 50, 0: 13})  # fmt: skip
