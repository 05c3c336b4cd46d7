"""Charts of the workbook, drawn by the spreadsheet from the cells beside them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from openpyxl.chart import BarChart, Reference, Series
from openpyxl.chart.marker import DataPoint
from openpyxl.worksheet.pagebreak import Break
from openpyxl.worksheet.worksheet import Worksheet

from diadbench.reports.tables.costs import HEADS
from diadbench.reports.tables.escape import clean
from diadbench.reports.tables.labels import Metric
from diadbench.reports.tables.table_shape import Table

#: colours of datasets in charts, different from those of methods
NEUTRAL = ("#33465C", "#8497B0", "#C9D3E0", "#5B6B7E", "#A8B4C4", "#DDE3EB")


def add_summary_chart(sheet: Worksheet, table: Table, start: int, last: int, row: int) -> None:
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


def add_dataset_chart(
    sheet: Worksheet,
    block: tuple[int, int],
    names: list[str],
    columns: int,
    title: str,
    row: int,
    colours: Mapping[str, str],
) -> None:
    """Add a bar chart of a block's metric by class, with one series for each of the first twelve methods."""
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


def add_cost_chart(sheet: Worksheet, methods: Sequence[str], last: int, row: int, colours: Mapping[str, str]) -> None:
    """Add a bar chart of the images a second, a bar for each row of the sheet in the colour of its method."""
    chart = BarChart()
    chart.type, chart.style, chart.title = "bar", 10, "Images a second"
    place = 3 + list(HEADS).index("images_per_second")
    series = Series(Reference(sheet, min_col=place, min_row=4, max_row=last), title="Images a second")
    for number, method in enumerate(methods):
        point = DataPoint(number)
        point.graphicalProperties.solidFill = colours[method].lstrip("#")
        series.dPt.append(point)
    chart.series.append(series)
    chart.set_categories(Reference(sheet, min_col=1, max_col=2, min_row=4, max_row=last))
    chart.height, chart.width = max(7.0, min(30.0, 2 + 0.6 * len(methods))), 18
    _axes(chart)
    chart.legend = None
    sheet.add_chart(chart, f"A{row}")


def _fill(series: Series, colour: str) -> None:
    series.graphicalProperties.solidFill = colour.lstrip("#")
    series.graphicalProperties.line.solidFill = colour.lstrip("#")


def _axes(chart: BarChart, *, percent: bool = False) -> None:
    if percent:
        chart.y_axis.scaling.min, chart.y_axis.scaling.max = 0, 100
    chart.x_axis.delete = False  # openpyxl 3.1 hides axes by default.
    chart.y_axis.delete = False
    chart.y_axis.number_format = "0"
    chart.y_axis.majorGridlines = chart.y_axis.majorGridlines
    chart.legend.position = "b"
