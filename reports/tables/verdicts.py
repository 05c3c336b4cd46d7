"""Verdicts of a comparison: as marks, in words, and as lines of text, for all formats."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from diadbench.reports.tables.escape import clean, element, escaped, row_of
from diadbench.reports.tables.labels import Metric
from diadbench.reports.tables.rows.result_rows import records, signed, with_sign

ALPHA = 0.05
#: printed columns of a comparison
COMPARED = ("metric", "method", "difference", "95 % interval", "W/T/L", "effect", "p", "")
#: marks of verdicts and their meanings
MARKS = {
    "+": "+ better, p < 0.05.",
    "-": "- worse, p < 0.05.",
    "=": "= no significant difference.",
    "?": "? too few classes: even if one method wins on all of them, p stays above 0.05.",
}


class Versus(pd.DataFrame):
    """Result of :func:`diadbench.reports.versus`: a frame that a notebook shows as one line per method and metric.

    Selections from it are plain frames.
    """

    def _repr_html_(self) -> str:
        if not {"baseline", "p_least", "effect"} <= set(self.columns):
            return str(pd.DataFrame(self).to_html(max_rows=60, notebook=True))
        return to_html(records(self))


def verdict(row: Mapping[str, Any], tests: int = 1) -> str:
    """Return one or two plain sentences on the result in a row of :func:`versus`.

    Args:
        row: ``pairs``, ``classes``, ``difference``, ``baseline``, ``p_holm`` and ``p_least``.
        tests: Number of methods in Holm's correction.
    """
    pairs, p = int(row["pairs"]), float(row["p_holm"])
    if not pairs:
        return "No class has a value of both."
    if float(row["p_least"]) >= ALPHA:
        said = f"Too few classes: {_cannot(pairs, tests, float(row['p_least']))}"
    elif p < ALPHA:
        word = "Better" if float(row["difference"]) > 0 else "Worse"
        said = f"{word} than {row['baseline']} (p = {_p_words(p)} after Holm's correction)."
    else:
        said = f"No significant difference (p = {p:.2g} after Holm's correction)."
    return said if pairs == row["classes"] else f"{said} Only {pairs} of {row['classes']} classes have a value of both."


def _cannot(pairs: int, tests: int, least: float) -> str:
    classes = "class" if pairs == 1 else "classes"
    family = f" and Holm's correction over {tests} methods" if tests > 1 else ""
    return (
        f"with {pairs} {classes}{family} this test can't fall below p = {least:.2g}, even if one method wins on all of "
        "them; nothing can be said about significance."
    )


def mark(row: Mapping[str, Any]) -> str:
    """Return the verdict of a row of ``versus`` as a mark: ``+``, ``-``, ``=``, ``?``, or ``""`` without a pair."""
    if not row["pairs"]:
        return ""
    if row["p_least"] >= ALPHA:
        return "?"
    return "=" if not row["significant"] else "+" if row["difference"] > 0 else "-"


def explained() -> list[str]:
    """Return an explanation of a comparison's columns, in lines of 80 letters."""
    return [
        "Differences of means over classes, in points; wins/ties/losses over classes;",
        "effect: matched-pairs rank-biserial correlation; p: Wilcoxon, Holm's correction.",
    ]


def reasons(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the meaning of the marks, and each reason once."""
    found = {mark(row) for row in rows}
    return [*(means for sign, means in MARKS.items() if sign in found), *map(clean, _few(rows))]


def _few(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return notes on missing classes: a line for the metrics and methods that lack the same ones of a dataset."""
    methods: dict[tuple[str, str, int, int], list[str]] = {}
    for row in rows:
        if row["pairs"] < row["classes"]:
            key = (str(row["dataset"]), Metric(str(row["metric"])).text, int(row["pairs"]), int(row["classes"]))
            methods.setdefault(key, []).append(str(row["method"]))
    metrics: dict[tuple[str, int, int, str], list[str]] = {}
    for (dataset, metric, pairs, classes), names in methods.items():
        metrics.setdefault((dataset, pairs, classes, ", ".join(names)), []).append(metric)
    return [
        f"{dataset}, {', '.join(texts)}: {pairs} of {classes} classes have a value of both ({names})."
        for (dataset, pairs, classes, names), texts in metrics.items()
    ]


def p_text(p: float) -> str:
    """Return a p value as printed."""
    return "–" if pd.isna(p) else "<.0001" if p < 0.00005 else rounded_p(p, 4)


def rounded_p(p: float, digits: int) -> str:
    """Return a p value with so many decimals, or more where rounding would lift one below 0.05 to it: ``0.0496``."""
    while p < ALPHA <= float(f"{p:.{digits}f}") and digits < 17:
        digits += 1
    return f"{p:.{digits}f}"


def _p_words(p: float) -> str:
    """Return a p value with two significant digits, or more as in :func:`rounded_p`."""
    return rounded_p(p, 3) if p < ALPHA <= float(f"{p:.2g}") else f"{p:.2g}"


def effect_text(effect: float) -> str:
    """Return an effect size as printed: ``+0.71``."""
    return "–" if pd.isna(effect) else with_sign(effect, 2)


def compared(row: Mapping[str, Any], digits: int) -> list[str]:
    """Return a row of ``versus`` as texts, in the columns of :data:`COMPARED`."""
    keys = ("difference", "low", "high")
    points = {key: signed(float(row[key]), digits) for key in keys}
    return [
        Metric(str(row["metric"])).text,
        clean(row["method"]),
        points["difference"],
        f"[{points['low']}, {points['high']}]",
        f"{row['wins']}/{row['ties']}/{row['losses']}",
        effect_text(float(row["effect"])),
        p_text(float(row["p_holm"])),
        mark(row),
    ]


def to_html(rows: Sequence[Mapping[str, Any]], digits: int = 1) -> str:
    """Return a comparison as an HTML table, with each dataset under its heading and the reasons once below."""
    if not rows:
        return element("Nothing to compare", [])
    lines = [row_of([escaped(head) for head in COMPARED], "th")]
    dataset = ""
    for row in rows:
        if row["dataset"] != dataset:
            dataset = str(row["dataset"])
            lines.append(row_of([escaped(dataset, "i")], stub=1))
        lines.append(row_of([escaped(part) for part in compared(row, digits)], stub=2))
    return element(f"Each method against {rows[0]['baseline']}", lines, [*explained(), *reasons(rows)])
