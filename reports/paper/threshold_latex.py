"""The tables of thresholds and of all classes as one set in LaTeX."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from diadbench.common.wording import counted
from diadbench.reports.paper.latex_rows import Column, Rows, write_rows
from diadbench.reports.tables.escape import latex
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

#: Maximum number of rows on a page; the workbook has all of them.
MOST = 40


def thresholds_latex(source: Source) -> dict[str, str]:
    """Return ``thresholds`` and ``pooled`` as texts of files; nothing if no cell has thresholds."""
    table, pooled = threshold_rows(source), pooled_rows(source)
    if table.empty:
        return {}
    digits, notes = source.show.digits, threshold_notes(source)
    caption = "Thresholds: for each class, and one for all classes, in percent."
    texts = {
        "thresholds": _table("thresholds", caption, table, ["level", "rule"], THRESHOLDS, [EXPLANATION, *notes], digits)
    }
    caption = "All classes as one set, beside the mean over classes, in percent."
    texts["pooled"] = _table("pooled", caption, pooled, ["metric"], POOLED, [POOLED_EXPLANATION], digits)
    return texts


def _table(
    name: str,
    caption: str,
    table: pd.DataFrame,
    stub: Sequence[str],
    figures: Sequence[Figure],
    notes: Sequence[str],
    digits: int,
) -> str:
    rows = records(table.head(MOST))
    places = [(row["dataset"], row["method"]) for row in rows]
    starts = [n for n, place in enumerate(places) if not n or place != places[n - 1]]
    columns = [Column((latex(one.head),), [_percent(row[one.key], one, digits) for row in rows]) for one in figures]
    hidden = counted(len(table) - MOST, "more row stands", "more rows stand")
    more = [f"{hidden} in the workbook."] if len(table) > MOST else []
    made = Rows(
        name,
        latex(caption),
        latex("Threshold" if "rule" in stub else "Metric"),
        [latex(", ".join(str(row[key]) for key in stub)) for row in rows],
        columns,
        {n: [latex(word) for word in f"{places[n][1]} on {places[n][0]}".split(" ")] for n in starts},
        notes=[latex(text) for text in [*notes, *more]],
    )
    return write_rows(made, two_columns=None)


def _percent(value: float, figure: Figure, digits: int) -> str:
    if pd.isna(value):
        return "--"
    return f"${(signed if figure.key == 'difference' else printed)(value, digits)}$"
