"""``results.xlsx``: all results in one workbook, with numbers as numbers, best bold, second best underlined."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from openpyxl import Workbook
from openpyxl.chart import BarChart, Reference, ScatterChart, Series
from openpyxl.chart.marker import DataPoint
from openpyxl.utils import get_column_letter
from openpyxl.worksheet.pagebreak import Break
from openpyxl.worksheet.worksheet import Worksheet

from diadbench.common.files import write_with
from diadbench.reports.figures.palette import styles_of
from diadbench.reports.published.comparable import disagreements
from diadbench.reports.published.literature import VALUES, check_published
from diadbench.reports.tables.costs import COSTS, HEADS, cost, cost_notes, failures, provenance
from diadbench.reports.tables.cut import Table, marks_text, ours_of
from diadbench.reports.tables.escape import clean
from diadbench.reports.tables.frame import aggregate, records, tuples
from diadbench.reports.tables.labels import Metric, known_metrics, legend
from diadbench.reports.tables.plain_text import note_text
from diadbench.reports.tables.source import Source
from diadbench.reports.tables.verdicts import mark, reasons
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
    put_method,
    under,
)
from diadbench.reports.workbook.thresholds_sheet import write_thresholds

#: colours of datasets in charts, different from those of methods
NEUTRAL = ("#33465C", "#8497B0", "#C9D3E0", "#5B6B7E", "#A8B4C4", "#DDE3EB")


def write_excel(source: Source, path: Path, versus: pd.DataFrame, published: pd.DataFrame) -> Path:
    """Write the workbook of a report and return its path."""
    book = Workbook()
    book.remove(book.worksheets[0])
    book.properties.title = f"diadbench: {source.title}"
    book.properties.creator = "diadbench"
    table = source.table
    if len(table):
        _summary(book, source)
        colours = {method: style.colour for method, style in styles_of(source).items()}
        for dataset in source.datasets:
            _dataset(book, source, dataset, colours)
        _versus(book, source, versus)
        _seeds(book, source)
        write_thresholds(book, source)
        _published(book, published)
        _cost(book, source, colours)
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


def _summary_chart(sheet: Worksheet, table: Table, start: int, last: int, row: int) -> None:
    """Add a bar chart of image AU-ROC (or the first metric) by dataset, with one series per dataset."""
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
        _fill(series, NEUTRAL[len(chart.series) % len(NEUTRAL)])
        chart.series.append(series)
    chart.set_categories(Reference(sheet, min_col=1, min_row=start + 2, max_row=last))
    _axes(chart, percent=True)
    sheet.add_chart(chart, f"A{row}")


def _fill(series: Series, colour: str) -> None:
    series.graphicalProperties.solidFill = colour.lstrip("#")
    series.graphicalProperties.line.solidFill = colour.lstrip("#")


def _axes(chart: BarChart | ScatterChart, *, percent: bool = False) -> None:
    if percent:
        chart.y_axis.scaling.min, chart.y_axis.scaling.max = 0, 100
    chart.x_axis.delete = False  # openpyxl 3.1 hides axes by default.
    chart.y_axis.delete = False
    chart.y_axis.number_format = "0"
    chart.y_axis.majorGridlines = chart.y_axis.majorGridlines
    chart.legend.position = "b"


def _dataset(book: Workbook, source: Source, dataset: str, colours: Mapping[str, str]) -> None:
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
    _dataset_chart(sheet, blocks[0], names, len(table.columns), title, end + 1, colours)


def _dataset_chart(
    sheet: Worksheet,
    block: tuple[int, int],
    names: list[str],
    columns: int,
    title: str,
    row: int,
    colours: Mapping[str, str],
) -> None:
    first, last = block
    chart = BarChart()
    chart.type, chart.style, chart.title = "col", 10, title
    chart.height, chart.width = 9, max(16, min(44, 2 + 0.35 * columns * len(names)))
    for line, name in list(zip(range(first, last + 1), names))[:12]:
        series = Series(Reference(sheet, min_col=4, max_col=3 + columns, min_row=line), title=name[:200])
        _fill(series, colours[name])
        chart.series.append(series)
    chart.set_categories(Reference(sheet, min_col=4, max_col=3 + columns, min_row=4))
    _axes(chart, percent=True)
    sheet.row_breaks.append(Break(id=row - 1))  # In print the chart would be split over two pages.
    sheet.add_chart(chart, f"A{row}")


def _versus(book: Workbook, source: Source, table: pd.DataFrame) -> None:
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
            put(sheet, line, column, 100 * float(row[key]), cells.signed(digits))
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


def _seeds(book: Workbook, source: Source) -> None:
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


def _published(book: Workbook, table: pd.DataFrame) -> None:
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
            put(sheet, line, 8 + 3 * position, row[key], "0.0").fill = cells.PUBLISHED_FILL
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


def _cost(book: Workbook, source: Source, colours: Mapping[str, str]) -> None:
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
    chart = BarChart()
    chart.type, chart.style, chart.title = "bar", 10, "Images a second"
    place = 3 + list(HEADS).index("images_per_second")
    series = Series(Reference(sheet, min_col=place, min_row=4, max_row=last), title="Images a second")
    for number, method in enumerate(table["method"]):
        point = DataPoint(number)
        point.graphicalProperties.solidFill = colours[method].lstrip("#")
        series.dPt.append(point)
    chart.series.append(series)
    chart.set_categories(Reference(sheet, min_col=1, max_col=2, min_row=4, max_row=last))
    chart.height, chart.width = max(7.0, min(30.0, 2 + 0.6 * len(table))), 18
    _axes(chart)
    chart.legend = None
    sheet.add_chart(chart, f"A{last + 3 + len(notes)}")


def _failures(book: Workbook, source: Source) -> None:
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
    ours = ours_of(source.results, source.show)
    for offset, row in enumerate(records(source.facts), line + 1):
        for column, key in enumerate(keys, 1):
            put(sheet, offset, column, row["evaluation" if key == "protocol" else key])
        put_method(sheet, offset, 2, row["method"], ours)
    finish(sheet, freeze="A2", head_row=line, last_row=line + len(source.facts), last_column=10,
           widths={1: 24, 2: 24, 7: 20, 8: 20, 9: 50, 0: 13})  # fmt: skip
