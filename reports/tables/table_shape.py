"""A table that knows no format: heads, entries, the marks of notes."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field

import pandas as pd

from diadbench.reports.tables.escape import element, escaped, group_heads, row_of
from diadbench.reports.tables.labels import Metric, legend
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
        """Return the table as a terminal shows it."""
        from diadbench.reports.tables.plain_text import to_text

        return to_text(self)

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
