"""A table that knows no format: heads, entries, the marks of notes."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field

import pandas as pd

from diadbench.reports.tables.escape import element, escaped, group_heads, row_of
from diadbench.reports.tables.labels import Metric, legend
from diadbench.reports.tables.labels import mark_text as mark_text
from diadbench.reports.tables.labels import marks_text as marks_text
from diadbench.reports.tables.rows.result_rows import DIGITS, printed


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


@dataclass(repr=False)
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

    def __repr__(self) -> str:
        """Return the table as plain text, with the notes below."""
        names = [*self.row_names, *(" ".join(map(_plain_head, column)) for column in self.columns)]
        rows = [
            [*map(_plain_head, heads), *map(_plain_entry, entries)] for heads, entries in zip(self.rows, self.entries)
        ]
        notes = [f"({mark}) {note}" if mark else note for mark, note in self.notes]
        shown = pd.DataFrame(rows, columns=names).to_string(index=False)
        return "\n".join(filter(None, [self.caption, shown, f"Values times 100. {self.seeds_text()}".rstrip(), *notes]))

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


def _plain_head(head: Head) -> str:
    return (head.metric.text if head.metric else head.text) + _plain_marks(head.marks)


def _plain_entry(entry: Entry) -> str:
    return entry.text + (f" ± {entry.spread}" if entry.spread else "") + _plain_marks(entry.marks)


def _plain_marks(marks: tuple[int, ...]) -> str:
    return f" ({marks_text(marks)})" if marks else ""


def _html_marks(marks: tuple[int, ...]) -> str:
    return f"<sup>{escaped(marks_text(marks))}</sup>" if marks else ""


def _html_head(head: Head) -> str:
    if head.metric is None:
        return escaped(head.text, "mark" if head.ours else "i" if head.published else "") + _html_marks(head.marks)
    return escaped(head.metric.base) + escaped(head.metric.level, "sub") + _html_marks(head.marks)


def _html_entry(entry: Entry) -> str:
    shown = escaped(entry.text, {1: "b", 2: "u"}.get(entry.rank, ""))
    return shown + (f" ± {entry.spread}" if entry.spread else "") + _html_marks(entry.marks)
