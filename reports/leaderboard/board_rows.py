"""One line of a leaderboard: its figures, where they come from, how to get them again."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from diadbench.benchmark.records.store import CellRecord
from diadbench.reports.leaderboard.repeating import facts_of, repeat_grid
from diadbench.reports.tables.escape import clean
from diadbench.reports.tables.rows.result_rows import printed


@dataclass(frozen=True)
class Value:
    """A figure: its mean over seeds in [0,1] (NaN: undefined), standard deviation, number of seeds, and why not.

    ``hole`` is ``13/15`` where a mean over classes is withheld.
    """

    mean: float = float("nan")
    std: float = float("nan")
    seeds: int = 0
    reason: str = ""
    hole: str = ""

    def text(self, digits: int) -> str:
        """The value as printed, in percent."""
        return printed(self.mean, digits)


@dataclass
class Row:
    """One line of a leaderboard.

    Attributes:
        dataset: Printed name.
        method: Printed name, which tells experiments with one label apart.
        label: What the method is called without that; one page has all of a label.
        setting: Setting.
        protocol: Protocol; ``""`` of published figures.
        source: Names of the runs, or where it was published.
        values: Figures by metric.
        published: Whether it was published, not run.
        note: What must stand beside it.
        cells: The cells behind it, one a seed.
        row: The published row.
        beside: How it differs from other rows of its method and data set, a line each.
        classes: What its means go over.
        by_seed: The mean over classes of each seed and metric.
    """

    dataset: str
    method: str
    label: str
    setting: str
    protocol: str
    source: str
    values: dict[str, Value]
    published: bool = False
    note: str = ""
    cells: list[CellRecord] = field(default_factory=list)
    row: Mapping[str, Any] = field(default_factory=dict)
    beside: list[str] = field(default_factory=list)
    classes: tuple[str, ...] = ()
    by_seed: Mapping[tuple[int, str], float] = field(default_factory=dict)

    def facts(self) -> list[tuple[str, str]]:
        """Return what a reader needs to judge a figure, as names and texts."""
        if self.published:
            known = ("source", "source_ref", "venue", "setting", "resolution", "epochs")
            found = [(key.replace("_", " "), clean(self.row[key])) for key in known if given(self.row[key])]
            return [*found, ("notes", clean(self.note))] if self.note else found
        return facts_of(self.cells, self.source)

    def repeat(self) -> str:
        """Return the grid that runs it again as YAML; ``""`` of published figures."""
        return "" if self.published else repeat_grid(self.cells)


def given(value: object) -> bool:
    """Whether a published row states a value."""
    return not (value is None or value == "" or (isinstance(value, float) and math.isnan(value)))
