"""One colour and marker for a method in every figure and chart, safe for colour-blind readers."""

from __future__ import annotations

import hashlib

#: Okabe and Ito's colours without yellow (unreadable on white) and with black last, then Paul Tol's muted ones
COLOURS = (
    "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#882255", "#44AA99",
    "#332288", "#999933", "#117733", "#AA4499", "#CC6677", "#88CCEE", "#661100", "#555555",
)  # fmt: skip
#: methods that are in many reports keep their colour in all of them
FIXED = {"diad": 0, "uniad": 1, "patchcore": 2, "draem": 3, "padim": 4, "meanimage": 15, "pixelknn": 9, "globalknn": 5}
MARKERS = "osD^vPX*<>hpd8"
LINES = ("-", "--", "-.", ":")


def styles(methods: list[str]) -> dict[str, tuple[str, str, str]]:
    """Return ``{method: (colour, marker, line)}``; beyond sixteen methods colours repeat with other markers and lines.

    The eight methods of this project have their own colour. Any other method takes a colour by its name, moved to the
    next free one, so that it keeps its colour when the set of methods hardly changes.
    """
    from diadbench.reports.tables.escape import squeeze

    taken: dict[int, int] = {}
    chosen: dict[str, int] = {}
    for method in sorted(methods, key=lambda name: (squeeze(name) not in FIXED, name)):
        start = FIXED.get(squeeze(method))
        if start is None:
            start = hashlib.sha256(method.encode("utf-8", "replace")).digest()[0] % len(COLOURS)
        least = min((taken.get(index, 0) for index in range(len(COLOURS))), default=0)
        index = next(
            (start + step) % len(COLOURS)
            for step in range(len(COLOURS))
            if taken.get((start + step) % len(COLOURS), 0) == least
        )
        chosen[method] = index + len(COLOURS) * taken.get(index, 0)
        taken[index] = taken.get(index, 0) + 1
    return {
        method: (
            COLOURS[place % len(COLOURS)],
            MARKERS[place % len(MARKERS)],
            LINES[place // len(COLOURS) % len(LINES)],
        )
        for method, place in chosen.items()
    }
