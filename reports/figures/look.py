"""Settings of all figures of a report: styles of the methods, emphasised methods, titles, digits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from diadbench.reports.figures.palette import Style, styles, styles_of
from diadbench.reports.figures.style import label
from diadbench.reports.tables.rows.result_rows import DIGITS
from diadbench.reports.tables.source import Source
from diadbench.reports.tables.table_builder import ours_of


@dataclass(frozen=True)
class Look:
    """How figures are drawn.

    Attributes:
        styles: Style of each method, by its printed name, in the order of tables.
        ours: Printed names of the methods that are emphasised.
        titles: Draw titles.
        digits: Decimals of figures written in cells.
    """

    styles: Mapping[str, Style]
    ours: frozenset[str] = field(default_factory=frozenset)
    titles: bool = True
    digits: int = DIGITS

    @classmethod
    def of(cls, source: Source) -> Look:
        """Return the look of a report."""
        found = styles_of(source)
        show = source.show
        ordered = {method: found[method] for method in source.methods}
        return cls(ordered, frozenset(ours_of(source.results, show)), show.titles, show.digits)

    @classmethod
    def plain(cls, *methods: str) -> Look:
        """Return the look of methods without a report."""
        return cls(styles(methods))

    @property
    def methods(self) -> list[str]:
        """Return the printed names of the methods, in the order of tables."""
        return list(self.styles)

    @property
    def bold(self) -> set[str]:
        """Return the labels of the emphasised methods, as figures write them."""
        return {label(method) for method in self.ours}
