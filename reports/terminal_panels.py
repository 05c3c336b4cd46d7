"""Divide a table that is wider than the terminal into panels that fit, one below the other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from rich.console import Console
from rich.table import Table as RichTable

from diadbench.reports.tables.plain_text import to_rich
from diadbench.reports.tables.table_shape import Table


def terminal_panels(table: Table, console: Console) -> list[RichTable]:
    """Return the table as panels that are no wider than the console, as few as will do.

    Each panel repeats the heads of the rows. A panel ends within a block of columns (a dataset) only where the block
    alone is too wide. The caption stands above the first panel, the notes below the last.
    """
    places = list(range(len(table.columns)))
    if len(places) < 2 or _fits(table, places, console):
        return [to_rich(table)]
    parts = [part for block in _blocks(table) for part in _packed([[place] for place in block], table, console)]
    panels = _packed(parts, table, console)
    shown = [to_rich(_part(table, panel)) for panel in panels]
    for panel in shown[1:]:
        panel.title = None
    for panel in shown[:-1]:
        panel.caption = None
    shown[-1].caption = to_rich(table).caption  # it speaks of all panels
    return shown


def _fits(table: Table, places: Sequence[int], console: Console) -> bool:
    shown = to_rich(_part(table, places))
    shown.caption = shown.title = None  # text that is wrapped to the table's width
    return console.measure(shown, options=console.options.update(width=10_000)).minimum <= console.width


def _part(table: Table, places: Sequence[int]) -> Table:
    columns = [table.columns[place] for place in places]
    return replace(table, columns=columns, entries=[[row[place] for place in places] for row in table.entries])


def _blocks(table: Table) -> list[list[int]]:
    """Return the columns that belong together: those of one dataset, where columns are datasets and metrics."""
    found: list[list[int]] = []
    for place, column in enumerate(table.columns):
        same = place and len(column) > 1 and column[:-1] == table.columns[place - 1][:-1]
        if same:
            found[-1].append(place)
        else:
            found.append([place])
    return found


def _packed(parts: Sequence[list[int]], table: Table, console: Console) -> list[list[int]]:
    """Join neighbouring parts that fit side by side."""
    found: list[list[int]] = []
    for part in parts:
        if found and _fits(table, [*found[-1], *part], console):
            found[-1] = [*found[-1], *part]
        else:
            found.append(list(part))
    return found
