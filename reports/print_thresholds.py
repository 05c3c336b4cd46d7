"""The tables of ``diadbench table RUN --thresholds``: results of thresholds, and of all classes as one set."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from diadbench.common.errors import UserError, unknown_name
from diadbench.common.files import write_text
from diadbench.common.show import Show
from diadbench.reports.tables.escape import clean, csv_text, markdown
from diadbench.reports.tables.plain_text import NARROW
from diadbench.reports.tables.rows.result_rows import printed, records, signed
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

FORMATS = ("terminal", "latex", "markdown", "csv")
#: columns of a terminal
WIDTH = 80
#: columns of a table that are headings in a terminal
ABOVE = ("dataset", "level")


def print_thresholds(
    runs: Sequence[str],
    *,
    show: Show | Mapping[str, Any] | None = None,
    form: str = "terminal",
    out: str | None = None,
    protocol: str = "",
    mix_protocols: bool = False,
) -> None:
    """Print both tables, or write them to ``out``.

    Raises:
        UserError: No run, an unknown format, several protocols, or no cell with thresholds.
    """
    if form not in FORMATS:
        raise unknown_name("format", form, FORMATS, where="--format of --thresholds")
    if not runs:
        raise UserError("give at least one run directory")
    source = Source.load(list(runs), protocol=protocol, mix_protocols=mix_protocols, show=show)
    table, pooled = threshold_rows(source), pooled_rows(source)
    if table.empty:
        raise UserError(
            "no cell of these runs has tried thresholds (their grid says thresholds: false, or they are of an earlier "
            "version): run them again with thresholds: true"
        )
    text = _text(source, table, pooled, form)
    if out:
        write_text(Path(out), text)
        print(f"table: {out}")
    else:
        print(text, end="")


def _text(source: Source, table: pd.DataFrame, pooled: pd.DataFrame, form: str) -> str:
    if form == "latex":
        from diadbench.reports.paper.threshold_latex import thresholds_latex

        return "\n".join(thresholds_latex(source).values())
    first = table, ("dataset", "method", "level", "rule"), THRESHOLDS
    second = pooled, ("dataset", "method", "metric"), POOLED
    digits = source.show.digits
    if form == "csv":
        return "\n".join(_csv(*block) for block in (first, second))
    make = _markdown if form == "markdown" else _terminal
    said = str if form == "markdown" else _printed
    notes = map(said, (EXPLANATION, *threshold_notes(source)))
    return "\n".join([make(*first, digits), *notes, "", make(*second, digits), said(POOLED_EXPLANATION)]) + "\n"


def _csv(table: pd.DataFrame, names: Sequence[str], figures: Sequence[Figure]) -> str:
    """Return figures in [0,1] with all digits."""
    shown = table[[*names, *(figure.key for figure in figures)]].copy()
    for name in names:
        shown[name] = shown[name].map(csv_text)
    return str(shown.to_csv(index=False))


def _cells(row: Mapping[str, Any], names: Sequence[str], figures: Sequence[Figure], digits: int) -> list[str]:
    found = [clean(row[name]) for name in names]
    for figure in figures:
        found.append((signed if figure.key == "difference" else printed)(float(row[figure.key]), digits))
    return found


def _markdown(table: pd.DataFrame, names: Sequence[str], figures: Sequence[Figure], digits: int) -> str:
    heads = [*names, *(figure.head for figure in figures)]
    lines = ["| " + " | ".join(heads) + " |", "|" + " --- |" * len(heads)]
    lines += ["| " + " | ".join(map(markdown, _cells(row, names, figures, digits))) + " |" for row in records(table)]
    return "\n".join([*lines, ""])


def _terminal(table: pd.DataFrame, names: Sequence[str], figures: Sequence[Figure], digits: int) -> str:
    """Return a table of 80 columns: datasets, and the level of thresholds, are headings; a method stands once below."""
    above, beside = ([name for name in names if (name in ABOVE) is stands] for stands in (True, False))
    shown = RichTable(**NARROW)
    for name in beside:
        shown.add_column(name, overflow="fold", max_width=17)
    for figure in figures:
        shown.add_column(Text(figure.short), justify="right", no_wrap=True)
    for _, rows in table.groupby(above, sort=False):
        shown.add_section()
        method = ""
        for row in records(rows):
            if not method:
                shown.add_row(Text(", ".join(clean(row[name]) for name in above), style="italic"))
            first, *rest = _cells(row, beside, figures, digits)
            shown.add_row(*map(Text, ("" if first == method else first, *rest)))
            method = first
    return _printed(shown)


def _printed(shown: RichTable | str) -> str:
    """Return what a terminal of 80 columns shows."""
    written = io.StringIO()
    Console(file=written, width=WIDTH, highlight=False).print(shown, markup=False)
    return written.getvalue().rstrip("\n")
