"""Place aggregated values by row and column, and number the notes."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import pandas as pd

from diadbench.common.show import Show
from diadbench.reports.tables.labels import Metric
from diadbench.reports.tables.rows.display import in_order, resolve
from diadbench.reports.tables.rows.pair_notes import notes
from diadbench.reports.tables.rows.result_rows import MEAN, records, tuples
from diadbench.reports.tables.shots_dimension import in_shots_order, notes_by_shots, shots_words
from diadbench.reports.tables.table_shape import Entry, Head, Table, mark_text

#: The reason of a mean over classes none of which has a value, for several reasons.
_NONE_HAS = re.compile(r"^0/\d+ classes$")
_NO_CLASS = "no class has a value; a table by class says why"


class TableBuilder:
    """Place aggregated values by row and column and number the notes."""

    def __init__(
        self,
        results: pd.DataFrame,
        table: pd.DataFrame,
        rows: list[str],
        columns: list[str],
        keys: list[str],
        show: Show,
    ) -> None:
        self.show, self.ours = show, ours_of(results, show)
        self.rows, self.columns, self.keys, self.table = rows, columns, keys, table
        self.pairs = list(tuples(results[["dataset", "method"]].drop_duplicates()))
        self.orders = {name: in_order(results, name) for name in ("dataset", "method", "seed")}
        self.orders["class"] = [*(c for c in table["class"].unique() if c != MEAN), MEAN]
        self.orders["metric"] = keys
        self.by_shots = "shots" in (*rows, *columns)
        if self.by_shots:
            self.orders["shots"] = in_shots_order(results)
        self.notes: list[str] = []
        self.whole: list[str] = []
        self.head_marks: dict[tuple[str, str], list[int]] = {}
        self.pair_marks: dict[tuple[str, str], list[int]] = {}
        self._place_notes(self._all_notes(results))

    def _all_notes(self, results: pd.DataFrame) -> dict[str, set[tuple[str, str]]]:
        where: dict[str, set[tuple[str, str]]] = {}
        for pair, texts in (notes_by_shots if self.by_shots else notes)(results).items():
            for text in texts:
                where.setdefault(text, set()).add(pair)
        partial = self.table[(self.table["seeds"] > 0) & (self.table["seeds"] < self.table["ran"])]
        lacking: dict[tuple[str, str, int, int], list[str]] = {}
        for *key, why in tuples(partial[["dataset", "method", "ran", "seeds", "lacks"]]):
            lacking.setdefault((key[0], key[1], key[2], key[3]), []).append(why)
        for (dataset, method, ran, seeds), reasons in lacking.items():
            text = f"some values are undefined in {ran - seeds} of {ran} seeds and are means of the rest"
            where.setdefault(text + _first_reason(reasons), set()).add((dataset, method))
        empty = self.table[(self.table["reason"] != "") & (self.table["hole"] == "")]
        for dataset, method, reason in tuples(empty[["dataset", "method", "reason"]].drop_duplicates()):
            where.setdefault(f"–: {_NONE_HAS.sub(_NO_CLASS, reason)}", set()).add((dataset, method))
        return where

    def _place_notes(self, where: dict[str, set[tuple[str, str]]]) -> None:
        """Print each note once, at the most general head that it applies to; notes that occur together are joined.

        A note on figures stands at a head also where some pairs below have none: it says nothing of these.
        """
        figured = set(tuples(self.table[["dataset", "method"]].drop_duplicates()))
        together: dict[frozenset[tuple[str, str]], list[str]] = {}
        for text, pairs in where.items():
            together.setdefault(frozenset(pairs), []).append(text)
        for same_pairs, texts in together.items():
            every = {pair for pair in self.pairs if pair in figured or not same_pairs <= figured}
            if same_pairs == every and len(every) > 1:
                self.whole.extend(texts)
                continue
            self.notes.append("; ".join(texts))
            number = len(self.notes)
            left = set(same_pairs)
            for position, kind in enumerate(("dataset", "method")):
                for head in self.orders[kind]:
                    same = {pair for pair in every if pair[position] == head}
                    whole = same == {pair for pair in self.pairs if pair[position] == head}
                    if (
                        kind in (*self.rows, *self.columns)
                        and same
                        and same <= left
                        and (len(same) > 1 or (kind == "method" and whole) or len(self.pairs) == 1 or self._only(kind))
                    ):
                        self.head_marks.setdefault((kind, head), []).append(number)
                        left -= same
            for pair in left:
                self.pair_marks.setdefault(pair, []).append(number)

    def _only(self, kind: str) -> bool:
        other = "method" if kind == "dataset" else "dataset"
        return len(self.orders[other]) == 1

    def build(self, name: str, caption: str) -> Table:
        """Return the table."""
        placed = {self._key(row, [*self.rows, *self.columns]): row for row in records(self.table)}
        row_keys = self._present(self.rows)
        column_keys = self._present(self.columns)
        entries = [
            [self._entry(placed.get((*row, *column)), row, column) for column in column_keys] for row in row_keys
        ]
        table = Table(
            name,
            caption,
            self.rows,
            self.columns,
            [self._heads(self.rows, key) for key in row_keys],
            [self._heads(self.columns, key) for key in column_keys],
            entries,
        )
        holes = sorted({entry.hole for line in entries for entry in line if entry.hole})
        for hole in holes:
            some, every = hole.split("/")
            self.whole.append(f"{hole}: defined for {some} of {every} classes, so no mean is given{self._by_class()}")
        table.notes = [
            *((mark_text(n), text) for n, text in enumerate(self.notes, 1)),
            *(("", text) for text in self.whole),
        ]
        return table

    def _by_class(self) -> str:
        return "" if "class" in (*self.rows, *self.columns) else "; a table by class says why"

    def _key(self, row: dict[str, Any], names: list[str]) -> tuple[object, ...]:
        return tuple(row[name] for name in names)

    def _present(self, names: list[str]) -> list[tuple[object, ...]]:
        """Return the existing combinations of ``names``, in their parts' order; cells without a result keep theirs."""
        found = set(tuples(self.table[names]))
        if {"dataset", "method"} >= set(names):
            found |= {tuple(pair[("dataset", "method").index(n)] for n in names) for pair in self.pairs}
        elif {"dataset", "method", "metric"} >= set(names) and len(names) > 1:
            others = [name for name in names if name != "metric"]
            ran = set(tuples(self.table[others]))
            for pair in self.pairs:
                parts = dict(zip(("dataset", "method"), pair))
                if tuple(parts[name] for name in others) not in ran:
                    found |= {tuple({**parts, "metric": key}[name] for name in names) for key in self.keys}
        place = {name: {value: i for i, value in enumerate(self.orders[name])} for name in names}
        return sorted(found, key=lambda key: tuple(place[name][part] for name, part in zip(names, key)))

    def _heads(self, names: list[str], key: tuple[object, ...]) -> tuple[Head, ...]:
        heads = []
        for name, part in zip(names, key):
            marks = list(self.head_marks.get((name, str(part)), []))
            if name == names[-1] and {"dataset", "method"} <= set(names):
                pair = (str(key[names.index("dataset")]), str(key[names.index("method")]))
                marks += self.pair_marks.get(pair, [])
            metric = None
            if name == "metric":
                metric = Metric(str(part), mean="class" not in (*self.rows, *self.columns))
            ours = name == "method" and part in self.ours
            text = metric.text if metric else shots_words(str(part)) if name == "shots" else str(part)
            heads.append(Head(text, metric, tuple(marks), ours))
        return tuple(heads)

    def _entry(self, found: dict[str, Any] | None, row: tuple[object, ...], column: tuple[object, ...]) -> Entry:
        at = dict(zip([*self.rows, *self.columns], (*row, *column)))
        pair = (str(at.get("dataset", self.orders["dataset"][0])), str(at.get("method", self.orders["method"][0])))
        together = {"dataset", "method"} <= set(self.rows) or {"dataset", "method"} <= set(self.columns)
        marks = () if together else tuple(self.pair_marks.get(pair, []))
        if found is None:
            return Entry(marks=marks, digits=self.show.digits, with_std=self.show.std)
        return Entry(
            float(found["value"]),
            float(found["std"]),
            int(found["seeds"]),
            int(found["rank"]),
            str(found["hole"]),
            marks,
            self.show.digits,
            self.show.std,
        )


def _first_reason(reasons: Sequence[str]) -> str:
    """Return why seeds lack values, as the end of a sentence: the first that is a class's own."""
    own = [text for text in dict.fromkeys(reasons) if text and not re.fullmatch(r"\d+/\d+ classes", text)]
    more = " and other reasons" if len(own) > 1 else ""
    return f" ({own[0]}{more})" if own else "; a table by class says why"


def ours_of(results: pd.DataFrame, show: Show) -> set[str]:
    """Return the printed names of the emphasised methods. Raises UserError for an unknown one."""
    if "method_label" not in results:
        results = results.assign(method_label=results["method"])
    return {name for wanted in show.ours for name in resolve("method", wanted, results, where="show: ours")}
