"""Tables of the results, by any two groups of dimensions: :func:`cut` makes them, formats print them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from diadbench.common.errors import UserError, unknown_name
from diadbench.common.show import Show
from diadbench.common.wording import some
from diadbench.reports.tables.labels import MAIN, known_metrics
from diadbench.reports.tables.rows.aggregation import aggregate, one_experiment_a_row
from diadbench.reports.tables.rows.means import over_classes_shown
from diadbench.reports.tables.rows.printed_names import class_names
from diadbench.reports.tables.rows.result_rows import complete
from diadbench.reports.tables.shots_dimension import aggregate_by_shots, by_shots
from diadbench.reports.tables.table_builder import TableBuilder, ours_of
from diadbench.reports.tables.table_shape import Entry, Head, Table, mark_text, marks_text

__all__ = ["DIMENSIONS", "Entry", "Head", "Table", "cut", "mark_text", "marks_text", "ours_of"]

DIMENSIONS = ("method", "dataset", "class", "seed", "shots", "metric")


def cut(
    results: pd.DataFrame,
    *,
    rows: Sequence[str] = ("method",),
    columns: Sequence[str] = ("dataset", "metric"),
    metrics: Sequence[str] | None = None,
    name: str = "table",
    caption: str = "",
    table: pd.DataFrame | None = None,
    show: Show | Mapping[str, Any] | None = None,
) -> Table:
    """Return the table of ``results`` (from ``prepare``) with the given dimensions as rows and columns.

    Args:
        results: Long form.
        rows: Some of ``method dataset class seed shots metric``. ``shots`` puts few-shot settings side
            by side; ranks are among the methods of one number of shots.
        columns: The same; ``metric`` is added at the end if it is in neither.
        metrics: Metric keys; by default those of the seven and mAD that are available.
        name: File name of the table, without ending.
        caption: One sentence.
        table: Result of ``aggregate`` for ``results`` with the same digits, if available.
        show: Digits, standard deviations, ``ours`` and the caption. Selection, names and order of rows are applied by
            ``prepare``.

    Raises:
        UserError: Unknown dimension or metric, or several datasets or experiments would share an entry.
    """
    show = Show.read(show)
    rows, columns = _dimensions(rows, columns)
    results = over_classes_shown(complete(results)) if table is None else results
    if results.empty or (results["metric"] == "").all():
        raise UserError("no cell of this run has results yet; `diadbench status RUN` says what happened to each")
    used = {*rows, *columns}
    if "shots" in used:
        results = by_shots(results)
    for dimension in ("dataset", "method"):
        several = sorted(results[dimension].unique())
        if dimension not in used and len(several) > 1:
            raise UserError(
                f"the table would mix {len(several)} {dimension}s ({some(several, most=4)}); "
                f"add {dimension} to --rows or --columns, or choose one with --{dimension}s"
            )
    keys = _metrics(results, metrics)
    if table is None or {"seed", "shots"} & used:
        compute = aggregate_by_shots if "shots" in used else aggregate
        table = compute(results[results["metric"].isin(["", *keys])], by_seed="seed" in used, digits=show.digits)
    table = table[table["metric"].isin(keys)]
    table = table if "shots" in used else one_experiment_a_row(table)
    if "class" not in used:
        table = table[table["scope"] == "mean"]
    else:
        table = table.assign(**{"class": class_names(table)})
    return TableBuilder(results, table, list(rows), list(columns), keys, show).build(name, caption or show.caption)


def _dimensions(rows: Sequence[str], columns: Sequence[str]) -> tuple[list[str], list[str]]:
    # a text is a list as on the command line
    rows, columns = (each.split(",") if isinstance(each, str) else list(each) for each in (rows, columns))
    for dimension in (*rows, *columns):
        if dimension not in DIMENSIONS:
            raise unknown_name("dimension", dimension, DIMENSIONS, where="--rows/--columns")
        if [*rows, *columns].count(dimension) > 1:
            raise UserError(f"--rows/--columns: {dimension} stands twice")
    if "metric" not in (*rows, *columns):
        columns.append("metric")
    return rows or ["method"], columns


def _metrics(results: pd.DataFrame, metrics: Sequence[str] | None) -> list[str]:
    found = known_metrics([key for key in results["metric"].unique() if key])
    if metrics is None:
        return [key for key in MAIN if key in found] or found
    for key in metrics:
        if key not in found:
            raise unknown_name("metric", key, found, where="--metrics")
    return list(metrics)
