"""Format-independent tables: heads, entries, marks, notes. :func:`cut` makes them from the results."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from diadbench.common.errors import UserError, unknown_name
from diadbench.common.show import Show
from diadbench.reports.tables.display import in_order, resolve
from diadbench.reports.tables.escape import element, escaped, group_heads, row_of
from diadbench.reports.tables.frame import (
    DIGITS,
    MEAN,
    aggregate,
    class_names,
    complete,
    notes,
    one_experiment_a_row,
    printed,
    records,
    tuples,
)
from diadbench.reports.tables.labels import MAIN, Metric, known_metrics, legend
from diadbench.reports.tables.means import over_classes_shown

DIMENSIONS = ("method", "dataset", "class", "seed", "metric")


@dataclass(frozen=True)
class Head:
    """Head of a row or column: a text or a metric, and the numbers of its notes.

    ``ours`` methods are emphasised; ``published`` ones were not run here.
    """

    text: str
    metric: Metric | None = None
    marks: tuple[int, ...] = ()
    ours: bool = False
    published: bool = False


@dataclass(frozen=True)
class Entry:
    """One figure of a table.

    Attributes:
        value: In [0, 1]; NaN where undefined.
        std: Standard deviation over seeds, ddof 1; NaN below two seeds.
        seeds: Number of seeds in the mean.
        rank: 1 best, 2 second best, 0 neither.
        hole: ``"13/15"`` if the mean over classes is withheld.
        marks: Numbers of notes.
        digits: Number of decimals of the value in percent.
        with_std: Whether the standard deviation is printed.
    """

    value: float = float("nan")
    std: float = float("nan")
    seeds: int = 0
    rank: int = 0
    hole: str = ""
    marks: tuple[int, ...] = ()
    digits: int = DIGITS
    with_std: bool = True

    @property
    def text(self) -> str:
        """Return the value as printed: ``95.2``, ``13/15`` or a dash."""
        return self.hole or printed(self.value, self.digits)

    @property
    def spread(self) -> str:
        """Return the standard deviation as printed, or ``""``."""
        if not self.with_std or pd.isna(self.std) or pd.isna(self.value):
            return ""
        return printed(self.std, self.digits)


@dataclass
class Table:
    """A table. ``rows[r]`` has one head for each of ``row_names``, ``columns[c]`` one for each of ``column_names``.

    ``notes`` are pairs of a mark (``"a"``; ``""`` when the note holds for the whole table) and a text. ``sources`` are
    the names of the sources of published rows, by mark.
    """

    name: str
    caption: str
    row_names: list[str]
    column_names: list[str]
    rows: list[tuple[Head, ...]]
    columns: list[tuple[Head, ...]]
    entries: list[list[Entry]]
    notes: list[tuple[str, str]] = field(default_factory=list)
    sources: dict[str, str] = field(default_factory=dict)

    @property
    def block(self) -> list[bool]:
        """Return for each row whether it begins a new block of rows."""
        if len(self.row_names) < 2:
            return [False] * len(self.rows)
        first = [row[0].text for row in self.rows]
        return [False, *(before != now for before, now in itertools.pairwise(first))][: len(first)]

    def seeds_text(self) -> str:
        """Return one sentence on the number of seeds in the means."""
        counts = sorted({entry.seeds for row in self.entries for entry in row if entry.seeds})
        if not counts or "seed" in (*self.row_names, *self.column_names):
            return ""
        if counts == [1]:
            return "One seed."
        what = "Mean ± standard deviation" if all(entry.with_std for row in self.entries for entry in row) else "Mean"
        if len(counts) == 1:
            return f"{what} over {counts[0]} seeds."
        return f"{what} over seeds ({counts[0]} to {counts[-1]} seeds, marked where it differs)."

    def _repr_html_(self) -> str:
        """Return HTML for notebooks: best bold, second best underlined, marks of notes, the notes below."""
        stub = len(self.row_names)
        levels = range(len(self.column_names) - 1)
        lines = [group_heads([_html_head(column[level]) for column in self.columns], stub) for level in levels]
        names = [*map(escaped, self.row_names), *(_html_head(column[-1]) for column in self.columns)]
        lines.append(row_of(names, "th", stub))
        for heads, entries in zip(self.rows, self.entries):
            lines.append(row_of([*map(_html_head, heads), *map(_html_entry, entries)], stub=stub))
        said = [f"{legend()} {self.seeds_text()}", *(f"({mark}) {note}" if mark else note for mark, note in self.notes)]
        return element(self.caption, lines, said)


def _html_marks(marks: tuple[int, ...]) -> str:
    return f"<sup>{escaped(marks_text(marks))}</sup>" if marks else ""


def _html_head(head: Head) -> str:
    if head.metric is None:
        return escaped(head.text, "mark" if head.ours else "i" if head.published else "") + _html_marks(head.marks)
    return escaped(head.metric.base) + escaped(head.metric.level, "sub") + _html_marks(head.marks)


def _html_entry(entry: Entry) -> str:
    shown = escaped(entry.text, {1: "b", 2: "u"}.get(entry.rank, ""))
    return shown + (f" ± {entry.spread}" if entry.spread else "") + _html_marks(entry.marks)


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
        rows: Some of ``method dataset class seed metric``.
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
    for dimension in ("dataset", "method"):
        several = sorted(results[dimension].unique())
        if dimension not in used and len(several) > 1:
            raise UserError(
                f"the table would mix {len(several)} {dimension}s ({', '.join(several[:4])}, ...); "
                f"add {dimension} to --rows or --columns, or choose one with --{dimension}s"
            )
    keys = _metrics(results, metrics)
    if table is None or "seed" in used:
        table = aggregate(results[results["metric"].isin(["", *keys])], by_seed="seed" in used, digits=show.digits)
    table = one_experiment_a_row(table[table["metric"].isin(keys)])
    if "class" not in used:
        table = table[table["scope"] == "mean"]
    else:
        table = table.assign(**{"class": class_names(table)})
    return _Builder(results, table, list(rows), list(columns), keys, show).build(name, caption or show.caption)


def _dimensions(rows: Sequence[str], columns: Sequence[str]) -> tuple[list[str], list[str]]:
    rows, columns = list(rows), list(columns)
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


class _Builder:
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
        self.notes: list[str] = []
        self.whole: list[str] = []
        self.head_marks: dict[tuple[str, str], list[int]] = {}
        self.pair_marks: dict[tuple[str, str], list[int]] = {}
        self._place_notes(self._all_notes(results))

    def _all_notes(self, results: pd.DataFrame) -> dict[str, set[tuple[str, str]]]:
        where: dict[str, set[tuple[str, str]]] = {}
        for pair, texts in notes(results).items():
            for text in texts:
                where.setdefault(text, set()).add(pair)
        partial = self.table[(self.table["seeds"] > 0) & (self.table["seeds"] < self.table["ran"])]
        for dataset, method, ran, seeds in tuples(partial[["dataset", "method", "ran", "seeds"]]):
            text = f"some values are undefined in {ran - seeds} of {ran} seeds and are means of the rest"
            where.setdefault(text, set()).add((dataset, method))
        empty = self.table[(self.table["reason"] != "") & (self.table["hole"] == "")]
        for dataset, method, reason in tuples(empty[["dataset", "method", "reason"]].drop_duplicates()):
            where.setdefault(f"–: {reason}", set()).add((dataset, method))
        return where

    def _place_notes(self, where: dict[str, set[tuple[str, str]]]) -> None:
        """Print each note once, at the most general head that it applies to; notes that occur together are joined."""
        every = set(self.pairs)
        together: dict[frozenset[tuple[str, str]], list[str]] = {}
        for text, pairs in where.items():
            together.setdefault(frozenset(pairs), []).append(text)
        for same_pairs, texts in together.items():
            if same_pairs == every and len(every) > 1:
                self.whole.extend(texts)
                continue
            self.notes.append("; ".join(texts))
            number = len(self.notes)
            left = set(same_pairs)
            for position, kind in enumerate(("dataset", "method")):
                for head in self.orders[kind]:
                    same = {pair for pair in every if pair[position] == head}
                    if (
                        kind in (*self.rows, *self.columns)
                        and same
                        and same <= left
                        and (len(same) > 1 or kind == "method" or len(every) == 1 or self._only(kind))
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
        if holes:
            some, every = holes[0].split("/")
            self.whole.append(f"{holes[0]}: defined for {some} of {every} classes, so no mean is given")
        table.notes = [
            *((_letter(n), text) for n, text in enumerate(self.notes, 1)),
            *(("", text) for text in self.whole),
        ]
        return table

    def _key(self, row: dict[str, Any], names: list[str]) -> tuple[object, ...]:
        return tuple(row[name] for name in names)

    def _present(self, names: list[str]) -> list[tuple[object, ...]]:
        """Return the existing combinations of ``names``, in the order of their parts; failed cells keep their row."""
        found = set(tuples(self.table[names]))
        if {"dataset", "method"} >= set(names):
            found |= {tuple(pair[("dataset", "method").index(n)] for n in names) for pair in self.pairs}
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
            heads.append(Head(metric.text if metric else str(part), metric, tuple(marks), ours))
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


def ours_of(results: pd.DataFrame, show: Show) -> set[str]:
    """Return the printed names of the emphasised methods. Raises UserError for an unknown one."""
    if "method_label" not in results:
        results = results.assign(method_label=results["method"])
    return {name for wanted in show.ours for name in resolve("method", wanted, results, where="show: ours")}


def _letter(number: int) -> str:
    """Convert 1 -> a, 26 -> z, 27 -> aa."""
    text = ""
    while number:
        number, rest = divmod(number - 1, 26)
        text = chr(97 + rest) + text
    return text


#: marks of sources of published rows
DAGGERS = ("\u2020", "\u2021", "\u00a7", "\u00b6")


def mark_text(mark: int) -> str:
    """Return a mark as printed: letters for notes (1, 2, ...), daggers for published sources (-1, -2, ...)."""
    if mark > 0:
        return _letter(mark)
    times, place = divmod(-mark - 1, len(DAGGERS))
    return DAGGERS[place] * (times + 1)


def marks_text(marks: tuple[int, ...]) -> str:
    """Return the marks of notes: ``a,c``."""
    return ",".join(mark_text(mark) for mark in sorted(set(marks), key=lambda mark: (mark < 0, abs(mark))))
