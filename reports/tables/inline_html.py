"""Tables as HTML for notebooks: plain elements, no style sheet, every text escaped."""

from __future__ import annotations

import html
import itertools
from collections.abc import Iterable, Sequence

from diadbench.reports.tables.escape import clean


def escaped(value: object, tag: str = "") -> str:
    """Return a text for HTML, escaped, inside an element where ``tag`` names one."""
    plain = html.escape(clean(value))
    return f"<{tag}>{plain}</{tag}>" if tag and plain else plain


def row_of(cells: Iterable[str], tag: str = "td", stub: int = 0) -> str:
    """Return a row of a table from the insides of its cells; the first ``stub`` of them are heads, set left."""
    parts = []
    for place, inside in enumerate(cells):
        kind, style = ("th", ' style="text-align:left"') if place < stub else (tag, "")
        parts.append(f"<{kind}{style}>{inside}</{kind}>")
    return "<tr>" + "".join(parts) + "</tr>"


def group_heads(insides: Sequence[str], stub: int) -> str:
    """Return a row of heads over groups of columns: equal neighbours are one; ``stub`` empty cells stand before."""
    parts = ["<th></th>"] * stub
    for inside, same in itertools.groupby(insides):
        parts.append(f'<th colspan="{len(list(same))}" style="text-align:center">{inside}</th>')
    return "<tr>" + "".join(parts) + "</tr>"


def element(caption: str, lines: Sequence[str], notes: Iterable[str] = ()) -> str:
    """Return a table from its rows, with a caption above it and notes below, each on a line."""
    head = f'<caption style="text-align:left">{escaped(caption, "b")}</caption>' if caption else ""
    said = "<br>".join(escaped(note) for note in notes if note)
    return f"<table>{head}{''.join(lines)}</table>" + (f"<p><small>{said}</small></p>" if said else "")
