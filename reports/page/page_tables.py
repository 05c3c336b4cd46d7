"""The tables of the page, as its template shows them: texts, and the values that its columns are sorted by."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import pandas as pd

from diadbench.reports.published.comparable import disagreements
from diadbench.reports.published.figure_arithmetic import check_published
from diadbench.reports.published.published_files import as_published
from diadbench.reports.tables.costs import COSTS, cost, failures
from diadbench.reports.tables.escape import clean
from diadbench.reports.tables.labels import MAIN, Metric, known_metrics, legend
from diadbench.reports.tables.rows.result_rows import printed, records, signed
from diadbench.reports.tables.source import Source
from diadbench.reports.tables.table_shape import Entry, marks_text
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
from diadbench.reports.tables.verdicts import MARKS, effect_text, mark, rounded_p


def cell_key(source: Source, dataset: str, method: str) -> str:
    """Return a short key of a (dataset, method) for the page's data."""
    return f"{source.datasets.index(dataset)}-{source.methods.index(method)}"


def metric_head(metric: Metric) -> dict[str, str]:
    """Return the key of a metric, and its name in parts and as plain text."""
    return {"key": metric.key, "base": metric.base, "level": metric.level, "text": metric.text}


def summary_table(source: Source) -> dict[str, Any]:
    """Return the summary: caption, heads of the metrics, a row each method on a dataset, notes."""
    results = source.results
    if (results["metric"] == "").all():
        return {"caption": "No cell has results.", "heads": [], "rows": [], "notes": []}
    found = known_metrics([key for key in results["metric"].unique() if key])
    metrics = [key for key in (*MAIN, *(k for k in found if k not in MAIN)) if key in found]
    table = source.cut(rows=["dataset", "method"], columns=["metric"], metrics=metrics, name="summary")
    places = {name: position for position, name in enumerate(source.methods)}
    rows = []
    for start, (dataset, method), entries in zip(table.block, table.rows, table.entries):
        rows.append(
            {
                "d": source.datasets.index(dataset.text),
                "m": -1 if method.published else places[method.text],
                "key": "" if method.published else cell_key(source, dataset.text, method.text),
                "kind": "published" if method.published else "ours" if method.ours else "",
                "start": start,
                "dataset": dataset.text,
                "dataset_marks": marks_text(dataset.marks),
                "method": method.text,
                "marks": marks_text(method.marks),
                "entries": [_shown(entry) for entry in entries],
            }
        )
    return {
        "caption": " ".join(
            filter(
                None,
                [
                    legend(),
                    table.seeds_text(),
                    "Choose a method or a figure for its classes, images, log and configuration.",
                ],
            )
        ),
        "heads": [metric_head(column[0].metric) for column in table.columns if column[0].metric],
        "rows": rows,
        "notes": table.notes,
    }


def _shown(entry: Entry) -> dict[str, Any]:
    value = "" if math.isnan(entry.value) or entry.hole else f"{entry.value:.6g}"
    return {
        "text": entry.text,
        "spread": entry.spread,
        "rank": entry.rank,
        "v": value,
        "marks": marks_text(entry.marks),
    }


def threshold_tables(source: Source) -> dict[str, Any]:
    """Return what thresholds do, and all classes as one set: heads, and rows as texts."""
    digits = source.show.digits
    table, pooled = threshold_rows(source), pooled_rows(source)
    return {
        "thresholds": _texts(table, ("dataset", "method", "level", "rule"), THRESHOLDS, digits),
        "threshold_heads": [figure.head for figure in THRESHOLDS],
        "threshold_notes": [EXPLANATION, *threshold_notes(source)],
        "pooled": _texts(pooled, ("dataset", "method", "metric"), POOLED, digits),
        "pooled_heads": [figure.head for figure in POOLED],
        "pooled_note": POOLED_EXPLANATION,
    }


def _texts(table: pd.DataFrame, names: tuple[str, ...], figures: tuple[Figure, ...], digits: int) -> list[Any]:
    def text(row: Mapping[str, Any], figure: Figure) -> str:
        value = float(row[figure.key])
        return (signed if figure.key == "difference" else printed)(value, digits)

    return [
        {"names": [clean(row[name]) for name in names], "figures": [text(row, figure) for figure in figures]}
        for row in records(table)
    ]


def failure_rows(source: Source, ours: set[str]) -> list[dict[str, Any]]:
    """Return the cells without a result, with the key of their details."""
    rows = records(failures(source.facts))
    keys = [cell_key(source, row["dataset"], row["method"]) for row in rows]
    return [{**row, "key": key, "ours": row["method"] in ours} for row, key in zip(rows, keys)]


def versus_rows(table: pd.DataFrame, digits: int, ours: set[str]) -> list[dict[str, Any]]:
    """Return the comparisons with the baseline that have a pair, as texts and as values for sorting."""
    rows = []
    for row in records(table[table["pairs"] > 0]) if len(table) else []:
        rows.append(
            {
                **row,
                "ours": row["method"] in ours,
                "metric": Metric(row["metric"]).text,
                "v": f"{row['difference']:.6g}",
                "difference": signed(row["difference"], digits),
                "interval": "–" if math.isnan(row["low"]) else _interval(row, digits),
                "record": f"{row['wins']}/{row['ties']}/{row['losses']}",
                "effect_v": f"{row['effect']:.6g}",
                "effect": effect_text(row["effect"]),
                "p": f"{row['p_holm']:.6g}",
                "p_text": "<0.001" if row["p_holm"] < 0.0005 else rounded_p(row["p_holm"], 3),
                "mark": mark(row),
                "means": MARKS[mark(row)][2:],
            }
        )
    return rows


def _interval(row: Mapping[str, Any], digits: int) -> str:
    return f"[{signed(row['low'], digits)}, {signed(row['high'], digits)}]"


def _others(rows: list[dict[str, Any]]) -> list[list[str]]:
    """Return for each published row what other sources print against it."""
    found = disagreements(rows)
    return [[found[place]] if place in found else [] for place in range(len(rows))]


def published_rows(table: pd.DataFrame, digits: int) -> list[dict[str, Any]]:
    """Return the published figures on the datasets shown, each method's own figures below them."""
    shown = table[table["here"]] if len(table) else table
    rows: list[dict[str, Any]] = []
    if not len(shown):
        return rows
    shown = shown.assign(order=shown["ours"] == "").sort_values(["dataset", "order", "method"], kind="stable")
    others = dict(zip(shown.index, _others(records(shown))))
    for (dataset, method), group in shown.groupby(["dataset", "method"], sort=False):
        for place, row in zip(group.index, records(group)):
            problems = [f"Arithmetic: {problem}" for problem in check_published(row)] + others[place]
            rows.append(
                {
                    "ours": False,
                    "dataset": dataset,
                    "method": method,
                    "source": row["source"],
                    "epochs": "–" if math.isnan(row["epochs"]) else int(row["epochs"]),
                    "figures": [as_published(float(row[key])) for key in MAIN],
                    "note": "; ".join(filter(None, [row["note"], *problems])),
                }
            )
        first = group.iloc[0]
        if first["ours"]:
            figures = [_decimals(float(first[f"{key}_ours"]), digits) for key in MAIN]
            rows.append({"ours": True, "dataset": first["our_dataset"], "method": first["ours"], "source": "this run",
                         "epochs": "", "figures": figures, "note": ""})  # fmt: skip
    return rows


def _decimals(value: float, digits: int) -> str:
    return printed(value / 100, digits)


def cost_rows(source: Source, ours: set[str]) -> list[dict[str, Any]]:
    """Return the cost of each method on a dataset, as values for sorting and as texts."""
    rows = []
    for row in records(cost(source.facts)):
        values = [(row[column.key], column.digits or 0) for column in COSTS]
        figures = [("nan", "–") if math.isnan(v) else (f"{v:.6g}", f"{v:.{digits}f}") for v, digits in values]
        names = {"dataset": row["dataset"], "method": row["method"], "ours": row["method"] in ours}
        rows.append({**names, "figures": figures})
    return rows
