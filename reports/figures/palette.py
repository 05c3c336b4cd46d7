"""Colours, markers and lines of methods in figures, sheets and pages; they also differ without colour."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from diadbench.reports.tables.escape import squeeze
from diadbench.reports.tables.source import Source

#: Okabe and Ito's colours without yellow (unreadable on white) and with black last, then Paul Tol's muted ones
COLOURS = (
    "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#882255", "#44AA99",
    "#332288", "#999933", "#117733", "#AA4499", "#CC6677", "#88CCEE", "#661100", "#555555",
)  # fmt: skip
#: methods that occur in many reports have a fixed colour
FIXED = {"diad": 0, "uniad": 1, "patchcore": 2, "draem": 3, "padim": 4, "meanimage": 15, "pixelknn": 9, "globalknn": 5}
#: 13 markers and 8 lines, so that no two of a hundred methods share both; where two of the first 16 share a marker,
#: their lines are of different kinds
MARKERS = "osD^vPX*<>hpd"
LINES: tuple[str | tuple[float, tuple[float, ...]], ...] = (
    "-", (0, (4, 1.2)), (0, (1, 1)), (0, (5, 1, 1, 1)), (0, (2, 1)), (0, (7, 2)), (0, (1, 2)), (0, (5, 1, 1, 1, 1, 1)),
)  # fmt: skip


class Style(NamedTuple):
    """Style of a method: colour ``#RRGGBB``, matplotlib's marker, and its line."""

    colour: str
    marker: str
    line: str | tuple[float, tuple[float, ...]]


def styles(methods: Iterable[str], titles: Mapping[str, str] | None = None) -> dict[str, Style]:
    """Return ``{method: style}``.

    The eight methods of this project have fixed colours. Any other method gets a colour from its name, moved to the
    next free one, so that its colour rarely changes with the set of methods.

    Args:
        methods: Names of the methods.
        titles: Printed names of some methods; a title that is one of the eight has its colour.
    """
    methods, titles = list(methods), titles or {}
    known = {name: FIXED.get(squeeze(name), FIXED.get(squeeze(titles.get(name, "")))) for name in methods}
    taken: dict[int, int] = {}
    chosen: dict[str, Style] = {}
    for method in sorted(methods, key=lambda name: (known[name] is None, name)):
        start = known[method]
        if start is None:
            start = hashlib.sha256(method.encode("utf-8", "replace")).digest()[0] % len(COLOURS)
        least = min((taken.get(index, 0) for index in range(len(COLOURS))), default=0)
        tries = [(start + step) % len(COLOURS) for step in range(len(COLOURS))]
        index = next(place for place in tries if taken.get(place, 0) == least)
        place = index + len(COLOURS) * taken.get(index, 0)
        chosen[method] = Style(COLOURS[index], MARKERS[place % len(MARKERS)], LINES[place % len(LINES)])
        taken[index] = taken.get(index, 0) + 1
    return {method: chosen[method] for method in methods}


def styles_of(source: Source) -> dict[str, Style]:
    """Return the style of each method by its printed name.

    It depends on the labels of all methods of the runs, so that renaming, selecting and sorting change no colour.
    Several printed names of one label (``kNN (k=2)``) get different styles.
    """
    printed = source.results.drop_duplicates(["method_label", "method"])
    pairs = list(zip(printed["method_label"].astype(str), printed["method"].astype(str)))
    first = dict(reversed(pairs))
    keys = {name: label if first[label] == name else name for label, name in pairs}
    labels = [str(label) for label in source.raw["method"].unique()]
    found = styles([*labels, *(key for key in keys.values() if key not in labels)], first)
    return {name: found[key] for name, key in keys.items()}
