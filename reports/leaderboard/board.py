"""The rows of a leaderboard: means over seeds of one experiment, and published figures."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from diadbench.benchmark.records.store import CellRecord
from diadbench.reports.leaderboard.board_rows import Row, Value, given
from diadbench.reports.leaderboard.differing import explained
from diadbench.reports.published.comparable import dataset_key
from diadbench.reports.published.figure_arithmetic import check_published
from diadbench.reports.tables.escape import clean, file_names, squeeze
from diadbench.reports.tables.labels import known_metrics
from diadbench.reports.tables.rows.aggregation import aggregate
from diadbench.reports.tables.rows.pair_notes import notes
from diadbench.reports.tables.rows.result_rows import records, tuples
from diadbench.reports.tables.source import Source

#: Columns of every board.
COLUMNS = ("i_auroc", "i_ap", "i_f1max", "p_auroc", "p_ap", "p_f1max", "aupro", "mad")


@dataclass
class Board:
    """A leaderboard.

    Attributes:
        title: Its title.
        rows: Measured rows, then published ones, data set by data set.
        metrics: Keys of the columns.
        digits: Decimals of percent.
        problems: What arithmetic says against the figures, and contradictions between runs.
        pages: ``{(kind, name): file name}`` of the pages of methods and data sets.
    """

    title: str
    rows: list[Row]
    metrics: list[str]
    digits: int
    problems: list[str]
    pages: dict[tuple[str, str], str]


def make_board(source: Source, title: str) -> Board:
    """Return the leaderboard of runs, with the published figures of their data sets beside theirs."""
    measured = _measured(source)
    names = {dataset_key(str(name)): row.dataset for row in measured for name in _names_of(row)}
    rows = [*measured, *_published(source, names)]
    order = {name: place for place, name in enumerate(source.datasets)}
    rows.sort(key=lambda row: (order[row.dataset], row.published, -_number(row.values.get("mad", Value()).mean)))
    for row in rows:
        same = [other for other in rows if other is not row and _alike(row, other)]
        row.beside = explained(row, same, source.show.digits)
    found = known_metrics(sorted({key for row in measured for key in row.values}))
    metrics = [*COLUMNS, *(key for key in found if key not in COLUMNS)]
    told = [
        f"{each['method']} on {each['dataset']}, {each['class']}, seed {each['seed']}: {each['problem']}"
        for each in records(source.problems)
    ]
    return Board(title, rows, metrics, source.show.digits, told, _pages(rows))


def _number(value: float) -> float:
    return -1.0 if math.isnan(value) else value


def _alike(one: Row, other: Row) -> bool:
    return one.dataset == other.dataset and squeeze(one.label) == squeeze(other.label)


def _names_of(row: Row) -> tuple[str, str]:
    return row.dataset, row.cells[0].dataset


def _measured(source: Source) -> list[Row]:
    table, results, facts = source.table, source.results, source.facts
    means, said = table[table["scope"] == "mean"], notes(results)
    each = aggregate(results, by_seed=True, digits=source.show.digits)
    each = each[each["scope"] == "mean"]
    rows = []
    keys = ["dataset", "method", "protocol", "configuration"]
    for (dataset, method, protocol, configuration), group in means.groupby(keys, sort=False, observed=True):
        own = results[(results["method"] == method) & (results["dataset"] == dataset)]
        own = own[own["configuration"] == configuration]
        cells = facts[(facts["dataset"] == dataset) & (facts["method"] == method) & (facts["state"] == "done")]
        if not len(cells):
            continue
        first: CellRecord = cells["cell"].iloc[0]
        label = str(first.config.get("label_before") or own["method_label"].iloc[0])
        title = first.status.get("method_info", {}).get("title") or label
        rows.append(
            Row(
                str(dataset),
                str(method),
                clean(title),
                str(own["setting"].iloc[0]),
                str(protocol),
                ", ".join(dict.fromkeys(cells["run"])),
                {str(each["metric"]): _value(each) for each in records(group)},
                note="; ".join(said[str(dataset), str(method)]),
                cells=list(cells["cell"]),
                classes=next(iter(group["classes"])),
                by_seed=_by_seed(each[(each["method"] == method) & (each["dataset"] == dataset)]),
            )
        )
    return rows


def _by_seed(rows: pd.DataFrame) -> dict[tuple[int, str], float]:
    return {(int(seed), str(metric)): value for seed, metric, value in tuples(rows[["seed", "metric", "value"]])}


def _value(row: Mapping[str, Any]) -> Value:
    return Value(
        float(row["value"]), float(row["std"]), int(row["seeds"]), clean(row["reason"] or row["hole"]), str(row["hole"])
    )


def _published(source: Source, names: Mapping[str, str]) -> list[Row]:
    rows = []
    for row in records(source.published):
        dataset = names.get(dataset_key(str(row["dataset"])))
        if dataset is None:
            continue
        values = {key: Value(float(row[key]) / 100, seeds=1) for key in (*COLUMNS, "p_ioumax") if given(row[key])}
        problems = [f"Arithmetic: {text}" for text in check_published(row)]
        note = "; ".join(filter(None, [str(row["note"]) if given(row["note"]) else "", *problems]))
        name = clean(row["method"])
        rows.append(
            Row(dataset, name, name, str(row["setting"]), "", clean(row["source"]), values, True, note, row=row)
        )
    return rows


def _pages(rows: Sequence[Row]) -> dict[tuple[str, str], str]:
    """Return a file for each method's name and each data set; published methods that nobody ran have none."""
    found: dict[tuple[str, str], str] = {}
    for kind, names in (
        ("dataset", dict.fromkeys(row.dataset for row in rows)),
        ("method", dict.fromkeys(row.label for row in rows if not row.published)),
    ):
        for name, file in file_names(list(names)).items():
            found[kind, name] = f"{kind}-{file}.html"
    return found
