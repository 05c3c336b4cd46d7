"""Tables as Markdown, CSV and for the terminal."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING, Any

from rich.box import SIMPLE_HEAD
from rich.table import Table as RichTable
from rich.text import Text

from diadbench.reports.tables.escape import clean, csv_text, markdown
from diadbench.reports.tables.labels import legend, mark_text, marks_text

if TYPE_CHECKING:
    from diadbench.reports.tables.table_shape import Entry, Head, Table

#: for the tables that fit 80 columns
NARROW: dict[str, Any] = {"box": SIMPLE_HEAD, "header_style": "bold", "pad_edge": False, "padding": (0, 1, 0, 0)}


def to_markdown(table: Table) -> str:
    """Return a table for GitHub: best in bold, second best underlined, notes below."""
    lines = [f"**{markdown(table.caption)}**", ""] if table.caption else []
    heads = [*table.row_names, *(" ".join(_md_head(head) for head in column) for column in table.columns)]
    lines.append("| " + " | ".join(heads) + " |")
    lines.append("| " + " | ".join(["---"] * len(table.row_names) + ["---:"] * len(table.columns)) + " |")
    for row, entries in zip(table.rows, table.entries):
        cells = [*(_md_head(head) for head in row), *(_md_entry(entry) for entry in entries)]
        lines.append("| " + " | ".join(cells) + " |")
    lines += ["", " ".join(filter(None, [legend(), table.seeds_text()])), ""]
    lines += [f"- {f'<sup>{mark}</sup> ' if mark else ''}{markdown(text)}" for mark, text in table.notes]
    return "\n".join(lines).rstrip() + "\n"


def _md_marks(marks: tuple[int, ...]) -> str:
    return f"<sup>{marks_text(marks)}</sup>" if marks else ""


def _md_head(head: Head) -> str:
    if head.metric is None:
        text = f"**{markdown(head.text)}**" if head.ours else markdown(head.text)
        return text + _md_marks(head.marks)
    level = f"<sub>{head.metric.level}</sub>" if head.metric.level else ""
    return markdown(head.metric.base) + level + _md_marks(head.marks)


def _md_entry(entry: Entry) -> str:
    text = entry.text
    if entry.rank:
        text = f"**{text}**" if entry.rank == 1 else f"<u>{text}</u>"
    return text + (f" ± {entry.spread}" if entry.spread else "") + _md_marks(entry.marks)


def note_text(mark: str, text: str) -> str:
    """Return a note as one plain line: ``(a) random backbone weights``."""
    return f"({mark}) {clean(text)}" if mark else clean(text)


def to_csv(table: Table) -> str:
    """Return CSV with three columns per value: the value, its standard deviation and the number of seeds; notes last.

    Undefined values are dashes (``pandas.read_csv(..., na_values="–")``). Text that a spreadsheet would run as a
    formula has a leading apostrophe.
    """
    several = any(entry.spread for row in table.entries for entry in row)
    names = [" ".join(head.metric.key if head.metric else head.text for head in column) for column in table.columns]
    heads = [*table.row_names]
    for name in names:
        heads += [name, f"{name} std", f"{name} seeds"] if several else [name]
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow([csv_text(head) for head in (*heads, "notes")])
    said = dict(table.notes)
    whole = [text for mark, text in table.notes if not mark]
    column_marks = [mark for column in table.columns for head in column for mark in head.marks]
    for row, entries in zip(table.rows, table.entries):
        cells = [csv_text(head.text) for head in row]
        marks = {
            *column_marks,
            *(mark for part_marks in [*(h.marks for h in row), *(e.marks for e in entries)] for mark in part_marks),
        }
        for entry in entries:
            cells += [entry.text, entry.spread, str(entry.seeds)] if several else [entry.text]
        texts = [said[mark_text(mark)] for mark in sorted(marks, key=lambda mark: (mark < 0, abs(mark)))]
        writer.writerow([*cells, csv_text("; ".join([*texts, *whole]))])
    return stream.getvalue()


def to_rich(table: Table) -> RichTable:
    """Return the table for a terminal, with its text escaped."""
    shown = RichTable(
        title=Text(clean(table.caption)) if table.caption else None, title_justify="left", header_style="bold"
    )
    for place, name in enumerate(table.row_names):
        longest = max((len(row[place].text) for row in table.rows), default=0)
        shown.add_column(name, no_wrap=False, min_width=min(longest, 16))
    for place, column in enumerate(table.columns):
        head = "\n".join(clean(part.text) + (f" ({marks_text(part.marks)})" if part.marks else "") for part in column)
        figures = [_rich_entry(entries[place]).cell_len for entries in table.entries]
        # Long names are wrapped, figures never.
        shown.add_column(Text(head), justify="right", overflow="fold", min_width=max(figures, default=0))
    starts = table.block
    for position, (row, entries) in enumerate(zip(table.rows, table.entries)):
        if position and starts[position]:
            shown.add_section()
        heads = [_rich_head(part) for part in row]
        if position and len(row) > 1 and not starts[position]:
            heads[0] = Text("")
        shown.add_row(*heads, *(_rich_entry(entry) for entry in entries))
    lines = [" ".join(filter(None, [legend(), table.seeds_text()])), *(note_text(*note) for note in table.notes)]
    shown.caption = Text("\n".join(lines))
    shown.caption_justify = "left"
    return shown


def _rich_head(head: Head) -> Text:
    text = clean(head.text) + (f" ({marks_text(head.marks)})" if head.marks else "")
    return Text(text, style="bold" if head.ours else "italic" if head.published else "")


def _rich_entry(entry: Entry) -> Text:
    text = Text(entry.text, style={1: "bold", 2: "underline"}.get(entry.rank, ""))
    if entry.spread:
        text.append(f" ± {entry.spread}", style="dim")
    if entry.marks:
        text.append(f" ({marks_text(entry.marks)})")
    return text
