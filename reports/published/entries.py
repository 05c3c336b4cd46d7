"""Insert published rows into a table of ours: marked by a dagger, with their source below, and without ranks."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pandas as pd

from diadbench.common.errors import UserError, unknown_name
from diadbench.reports.published.comparable import dataset_key, disagreements, setting_of
from diadbench.reports.published.figure_arithmetic import check_published
from diadbench.reports.published.published_files import VALUES, decimals_of, load_published
from diadbench.reports.tables.escape import squeeze
from diadbench.reports.tables.rows.result_rows import DIGITS, records, tuples
from diadbench.reports.tables.table_shape import Entry, Head, Table, mark_text

Row = Mapping[str, Any]
#: a selection: dataset of the table -> its published row, and whether there were others
Found = Mapping[str, tuple[Row, bool]]


def with_published(
    table: Table, results: pd.DataFrame, wanted: Sequence[str], rows: pd.DataFrame | None = None
) -> Table:
    """Return a table of methods with published rows, each below the methods of its dataset.

    Args:
        table: Means over classes; methods are its rows.
        results: Results that the table was cut from.
        wanted: Methods, or ``METHOD@SOURCE``. If several sources have a method, its own authors' figures are used, else
            those of the first source; a note says that there are others.
        rows: Published rows; all known ones by default.

    Returns:
        The table; unchanged if it can't hold published rows: one by class, seed or shots, or with methods as columns.

    Raises:
        UserError: No published row has this method or source on any dataset of the table.
    """
    used = {*table.row_names, *table.column_names}
    if not wanted or "method" not in table.row_names or {"class", "seed", "shots"} & used:
        return table
    names = results[["dataset", "dataset_label"]].drop_duplicates()
    datasets = {str(name): {dataset_key(str(name)), dataset_key(str(label))} for name, label in tuples(names)}
    rows = _candidates(load_published() if rows is None else rows, results, datasets)
    found = {text: _found(text, rows, datasets) for text in wanted}
    for text, by_dataset in found.items():
        if not by_dataset:
            raise _unknown(text, rows)
    return _Insertion(table, found, list(datasets)).table()


def _candidates(rows: pd.DataFrame, results: pd.DataFrame, datasets: Mapping[str, set[str]]) -> pd.DataFrame:
    """Return the published rows for the results, and in the column ``told`` what other sources print against each."""
    every = set().union(*datasets.values())
    setting = str(results["setting"].iloc[0])
    kept = rows[rows["dataset"].map(dataset_key).isin(every) & (rows["setting"].map(setting_of) == setting)]
    told = disagreements(records(kept))
    return kept.assign(told=[told.get(place, "") for place in range(len(kept))])


def _unknown(wanted: str, rows: pd.DataFrame) -> UserError:
    method, _, source = (part.strip() for part in wanted.partition("@"))
    same = rows[rows["method"].map(squeeze) == squeeze(method)]
    if source and len(same):
        return unknown_name("source", source, same["source"].unique(), where=f"show: published: {method}")
    return unknown_name("published method", method, rows["method"].unique(), where="show: published")


def _found(wanted: str, rows: pd.DataFrame, datasets: Mapping[str, set[str]]) -> dict[str, tuple[Row, bool]]:
    chosen = {
        name: _choose(wanted, rows[rows["dataset"].map(dataset_key).isin(keys)]) for name, keys in datasets.items()
    }
    return {name: row for name, row in chosen.items() if row}


def _choose(wanted: str, rows: pd.DataFrame) -> tuple[Row, bool] | None:
    """Return the row of a method on a dataset, and whether there are others."""
    method, _, source = wanted.partition("@")
    rows = rows[rows["method"].map(squeeze) == squeeze(method)]
    if source.strip():
        rows = rows[rows["source"].map(squeeze).str.startswith(squeeze(source))]
    several = records(rows)
    own = [row for row in several if squeeze(str(row["source"])).startswith(squeeze(method))]
    return ((own or several)[0], len(several) > 1) if several else None


class _Insertion:
    """Insert published rows into a table, and number their sources by daggers."""

    def __init__(self, table: Table, found: Mapping[str, Found], datasets: list[str]) -> None:
        self._table, self._found, self._datasets = table, found, datasets
        self._notes: list[str] = []
        self._sources: list[str] = []

    def table(self) -> Table:
        """Return the table with the rows."""
        rows, entries = list(self._table.rows), list(self._table.entries)
        for dataset in self._datasets if "dataset" in self._table.row_names else [""]:
            for by_dataset in self._found.values():
                kept = {name: row for name, row in by_dataset.items() if dataset in ("", name)}
                if kept:
                    at = self._end(rows, dataset)
                    rows.insert(at, self._heads(kept, rows[at - 1]))
                    entries.insert(at, [self._entry(kept, dataset, column) for column in self._table.columns])
        daggers = [mark_text(-number) for number in range(1, len(self._notes) + 1)]
        marked = [pair for pair in self._table.notes if pair[0]]
        whole = [pair for pair in self._table.notes if not pair[0]]
        notes = [*marked, *zip(daggers, self._notes), *whole]
        return replace(self._table, rows=rows, entries=entries, notes=notes, sources=dict(zip(daggers, self._sources)))

    def _end(self, rows: Sequence[tuple[Head, ...]], dataset: str) -> int:
        """Return the position after the last row of a dataset."""
        if not dataset:
            return len(rows)
        at = self._table.row_names.index("dataset")
        return max((place + 1 for place, row in enumerate(rows) if row[at].text == dataset), default=len(rows))

    def _heads(self, kept: Found, above: tuple[Head, ...]) -> tuple[Head, ...]:
        marks = tuple(dict.fromkeys(-self._number(row, others) for row, others in kept.values()))
        method = Head(str(next(iter(kept.values()))[0]["method"]), marks=marks, published=True)
        return tuple(
            method if name == "method" else head for name, head in zip(self._table.row_names, above, strict=True)
        )

    def _number(self, row: Row, others: bool) -> int:
        place = re.sub(r" L\d+$", "", str(row["source_ref"]))
        parts = [f"published, not run here: {row['source']}" + (f" ({place})" if place else ""), str(row["note"])]
        parts += check_published(row)
        told = str(row["told"]) or ("there are other rows" if others else "")
        if told:
            parts.append(f"{told}: diadbench published list --method {row['method']}")
        text = "; ".join(filter(None, parts))
        if text not in self._notes:
            self._notes.append(text)
            self._sources.append(str(row["source"]))
        return self._notes.index(text) + 1

    def _entry(self, kept: Found, dataset: str, column: tuple[Head, ...]) -> Entry:
        heads = dict(zip(self._table.column_names, column))
        name = dataset or (heads["dataset"].text if "dataset" in heads else self._datasets[0])
        metric = heads["metric"].metric if "metric" in heads else None
        if name not in kept or metric is None or metric.key not in VALUES:
            return Entry()
        digits = min((entry.digits for line in self._table.entries for entry in line), default=DIGITS)
        value = float(kept[name][0][metric.key])
        return Entry(value / 100, digits=min(decimals_of(value), digits))  # no zeros that were not published
