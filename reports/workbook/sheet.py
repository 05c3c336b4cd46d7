"""Write cells of the workbook: numbers as numbers, outside text as text, styles by name."""

from __future__ import annotations

import math
import re
import textwrap
from collections.abc import Container, Sequence
from pathlib import Path

from openpyxl import Workbook
from openpyxl.cell import Cell
from openpyxl.formatting.rule import ColorScaleRule
from openpyxl.styles import Alignment, Border, Font, PatternFill, Side
from openpyxl.utils import get_column_letter
from openpyxl.worksheet.worksheet import Worksheet

from diadbench.common.files import write_with
from diadbench.reports.tables.escape import clean
from diadbench.reports.tables.labels import legend
from diadbench.reports.tables.plain_text import note_text
from diadbench.reports.tables.rows.result_rows import DIGITS, printed
from diadbench.reports.tables.table_shape import Entry, Head, Table, marks_text

FACE = "Calibri"
HEAD = Font(name=FACE, bold=True, color="FFFFFF")
HEAD_FILL = PatternFill("solid", fgColor="1F3A5F")
GROUP_FILL = PatternFill("solid", fgColor="35547D")
PUBLISHED_FILL = PatternFill("solid", fgColor="FFF4DC")
OURS_FILL = PatternFill("solid", fgColor="DCEBD9")
WARN_FILL = PatternFill("solid", fgColor="FBE3E0")
BEST = Font(name=FACE, bold=True)
SECOND = Font(name=FACE, underline="single")
TITLE = Font(name=FACE, bold=True, size=14)
NOTE = Font(name=FACE, italic=True, color="595959")
CENTRE = Alignment(horizontal="center", vertical="center", wrap_text=True)
RIGHT = Alignment(horizontal="right")
WRAP = Alignment(vertical="top", wrap_text=True)
THIN = Border(top=Side("thin", color="9AA5B1"))


def put(sheet: Worksheet, row: int, column: int, value: object, number_format: str = "") -> Cell:
    """Write a value. Text stays text, even if it looks like a formula; NaN is a dash."""
    cell: Cell = sheet.cell(row, column)
    if isinstance(value, bool) or value is None:
        value = "" if value is None else str(value).lower()
    if isinstance(value, (int, float)) or hasattr(value, "dtype"):
        number = float(value)  # type: ignore[arg-type]
        if math.isfinite(number):
            cell.value = int(number) if number.is_integer() and not number_format else number
            if number_format:
                cell.number_format = number_format
            return cell
        value = "–"
        cell.alignment = RIGHT
    text = clean(value)[:32_000]
    cell.value = text
    if text:
        cell.data_type = "s"  # openpyxl treats "=..." as a formula.
    if text.startswith(("=", "+", "-", "@")):
        cell.quotePrefix = True
    return cell


def decimals(digits: int) -> str:
    """Return the number format with this many decimals: ``0.0``."""
    return f"0.{'0' * digits}" if digits else "0"


def signed(digits: int) -> str:
    """Return the number format of differences: ``+0.0``."""
    plain = decimals(digits)
    return f"+{plain};-{plain};{plain}"


def percent(value: float, digits: int = DIGITS) -> float:
    """Return a value of [0, 1] times 100, so that the sheet's format shows the same digits as all other tables.

    Spreadsheets round halves away from zero, Python rounds the binary value; if the two differ, the figure is moved
    towards zero by 1e-9, for Python's result.
    """
    shown = value * 100
    if not math.isfinite(shown):
        return shown
    scale = 10.0**digits
    away = math.floor(round(abs(shown) * scale, 6) + 0.5) / scale
    return shown if f"{away:.{digits}f}" == printed(abs(value), digits) else shown - math.copysign(1e-9, shown)


def put_entry(sheet: Worksheet, row: int, column: int, entry: Entry) -> Cell:
    """Write a figure: rank as a style, notes in the number's format, a withheld mean as text."""
    marks = marks_text(entry.marks)
    if entry.hole or math.isnan(entry.value):
        cell = put(sheet, row, column, entry.text + (f" ({marks})" if marks else ""))
        cell.alignment = RIGHT
        return cell
    form = decimals(entry.digits)
    cell = put(sheet, row, column, percent(entry.value, entry.digits), f'{form}"  ({marks})"' if marks else form)
    if entry.rank:
        cell.font = BEST if entry.rank == 1 else SECOND
    return cell


def put_head(sheet: Worksheet, row: int, column: int, head: Head) -> Cell:
    """Write the head of a row with its marks; ours is bold and shaded, a published one has the published rows' fill."""
    cell = put(sheet, row, column, f"{clean(head.text)} ({marks_text(head.marks)})" if head.marks else head.text)
    if head.ours:
        cell.font, cell.fill = BEST, OURS_FILL
    if head.published:
        cell.fill = PUBLISHED_FILL
    return cell


def put_method(sheet: Worksheet, row: int, column: int, name: object, ours: Container[str]) -> Cell:
    """Write the printed name of a method without marks, emphasised if it is ours."""
    return put_head(sheet, row, column, Head(str(name), ours=str(name) in ours))


def heads(sheet: Worksheet, row: int, names: Sequence[str], *, column: int = 1, group: bool = False) -> None:
    """Write a line of column heads."""
    for offset, name in enumerate(names):
        cell = put(sheet, row, column + offset, name)
        cell.font, cell.alignment = HEAD, CENTRE
        cell.fill = GROUP_FILL if group else HEAD_FILL


def finish(
    sheet: Worksheet, *, freeze: str, head_row: int, last_row: int, last_column: int, widths: dict[int, float]
) -> None:
    """Freeze panes, set the filter, the widths and the print layout."""
    sheet.freeze_panes = freeze
    letter = get_column_letter(max(1, last_column))
    if last_row > head_row:
        sheet.auto_filter.ref = f"A{head_row}:{letter}{last_row}"
    lines = 1
    for column in range(1, last_column + 1):
        width = widths.get(column, widths.get(0, 11.0))
        sheet.column_dimensions[get_column_letter(column)].width = width
        words = str(sheet.cell(head_row, column).value or "")
        lines = max(lines, len(textwrap.wrap(words, max(1, int(width / 1.15)))))  # Heads are bold.
    sheet.row_dimensions[head_row].height = 15 * lines
    sheet.page_setup.orientation = "landscape"
    sheet.page_setup.paperSize = 9
    sheet.page_setup.fitToWidth = 1
    sheet.page_setup.fitToHeight = 0
    sheet.sheet_properties.pageSetUpPr.fitToPage = True
    sheet.print_title_rows = f"{head_row}:{head_row}"
    sheet.oddFooter.center.text = "&A, page &P of &N"
    sheet.page_margins.left = sheet.page_margins.right = 0.4


def explain(sheet: Worksheet, row: int, text: str, *, last_column: int) -> None:
    """Write a paragraph over several columns, so that it doesn't widen the print area."""
    cell = put(sheet, row, 1, text)
    cell.alignment = WRAP
    sheet.merge_cells(start_row=row, end_row=row, start_column=1, end_column=last_column)
    sheet.row_dimensions[row].height = 15 * (1 + len(text) // (9 * last_column))


def colour_scale(sheet: Worksheet, area: str) -> None:
    """Shade an area from low (white) to high (blue)."""
    rule = ColorScaleRule(start_type="min", start_color="FFFFFF", end_type="max", end_color="9DC3E6")
    sheet.conditional_formatting.add(area, rule)


def new_sheet(book: Workbook, name: str) -> Worksheet:
    """Add a sheet; characters that Excel forbids are removed from the name, which is made unique."""
    plain = re.sub(r"[\[\]:*?/\\]", "_", clean(name)).strip("' ")[:31] or "sheet"
    taken = {title.lower() for title in book.sheetnames} | {"history"}
    unique, number = plain, 1
    while unique.lower() in taken:
        number += 1
        unique = f"{plain[: 31 - len(str(number)) - 1]} {number}"
    sheet = book.create_sheet(unique)
    return sheet


def under(sheet: Worksheet, row: int, lines: Sequence[str], *, last_column: int = 0) -> int:
    """Write notes under a table, wrapped over ``last_column`` columns if given, and return the next free row."""
    for line in lines:
        if last_column:
            explain(sheet, row, line, last_column=last_column)
        else:
            put(sheet, row, 1, line)
        sheet.cell(row, 1).font = NOTE
        row += 1
    return row


def write_table(table: Table, path: Path) -> None:
    """Write one table as a workbook of one sheet."""
    book = Workbook()
    book.remove(book.worksheets[0])
    sheet = new_sheet(book, "Table")
    offset = len(table.row_names)
    for level in range(len(table.column_names)):
        names = table.row_names if level == len(table.column_names) - 1 else [""] * offset
        heads(sheet, level + 1, [*names, *(column[level].text for column in table.columns)])
    first = len(table.column_names) + 1
    for line, (row, entries) in enumerate(zip(table.rows, table.entries), first):
        for column, head in enumerate(row, 1):
            put_head(sheet, line, column, head)
        for column, entry in enumerate(entries, offset + 1):
            put_entry(sheet, line, column, entry)
    last = first + len(table.rows) - 1
    under(sheet, last + 2, [legend(), table.seeds_text(), *(note_text(*note) for note in table.notes)])
    widths: dict[int, float] = {**dict.fromkeys(range(1, offset + 1), 22.0), 0: 12}
    freeze = f"{get_column_letter(offset + 1)}{first}"
    finish(
        sheet, freeze=freeze, head_row=first - 1, last_row=last, last_column=offset + len(table.columns), widths=widths
    )
    write_with(path, book.save)
