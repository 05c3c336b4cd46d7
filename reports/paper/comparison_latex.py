"""Comparisons as LaTeX: each method with the baseline, published figures with ours."""

from __future__ import annotations

from collections.abc import Container

import pandas as pd

from diadbench.common.wording import counted
from diadbench.reports.paper.latex import breakable, metric_latex, note
from diadbench.reports.paper.latex_rows import Column, Rows, write_rows
from diadbench.reports.paper.layout import PAGE_ROWS
from diadbench.reports.paper.references import source_key
from diadbench.reports.published.comparable import disagreements
from diadbench.reports.published.figure_arithmetic import check_published
from diadbench.reports.published.published_files import as_published
from diadbench.reports.tables.escape import latex
from diadbench.reports.tables.labels import MAIN, Metric
from diadbench.reports.tables.rows.result_rows import printed, records, signed
from diadbench.reports.tables.verdicts import ALPHA, effect_text, rounded_p


def versus_latex(
    table: pd.DataFrame,
    metrics: tuple[str, ...] = ("i_auroc", "p_ap", "aupro"),
    *,
    digits: int = 1,
    ours: Container[str] = (),
) -> str:
    """Return the comparison with the baseline: difference, interval, wins/ties/losses, effect and p, a line per row.

    Methods in ``ours`` are bold.
    """
    shown = table[table["metric"].isin(metrics) & (table["pairs"] > 0)]
    if shown.empty:
        return ""
    lines = records(shown.head(PAGE_ROWS))
    places = [(row["dataset"], row["metric"]) for row in lines]
    starts = [n for n, place in enumerate(places) if not n or place != places[n - 1]]
    columns = {
        "Difference": [f"${signed(row['difference'], digits)}$" for row in lines],
        "Interval": [_interval(row["low"], row["high"], digits) for row in lines],
        "W/T/L": [f"{row['wins']}/{row['ties']}/{row['losses']}" for row in lines],
        "Effect": ["--" if pd.isna(row["effect"]) else f"${effect_text(row['effect'])}$" for row in lines],
        "$p$": [_p(row["p_holm"], bool(row["significant"]), row["p_least"] >= ALPHA) for row in lines],
    }
    notes = [
        "Difference of means over classes, in points; 95\\,\\% bootstrap interval over classes; wins/ties/losses over "
        "classes; effect: matched-pairs rank-biserial correlation; Wilcoxon signed-rank $p$ with Holm's correction "
        "over the methods of one dataset and metric, bold below 0.05."
    ]
    if (shown["p_least"] >= ALPHA).any():
        notes.append(r"\diadmark{*}\,Too few classes for this test, after the correction, to fall below 0.05.")
    if (shown["pairs"] < shown["classes"]).any():
        notes.append("Of some methods not all classes have a value; the workbook says of how many.")
    if len(shown) > PAGE_ROWS:
        notes.append(f"{counted(len(shown) - PAGE_ROWS, 'more row stands', 'more rows stand')} in the workbook.")
    rows = Rows(
        "versus",
        f"Each method against {latex(shown['baseline'].iloc[0])}.",
        "Method",
        [rf"\textbf{{{latex(row['method'])}}}" if row["method"] in ours else latex(row["method"]) for row in lines],
        [Column((name,), cells) for name, cells in columns.items()],
        {n: [*_words(f"{places[n][0]},"), metric_latex(Metric(str(places[n][1])))] for n in starts},
        notes=notes,
    )
    return write_rows(rows, two_columns=None)


def _words(text: str) -> list[str]:
    return [latex(word) for word in text.split(" ")]


def _interval(low: float, high: float, digits: int) -> str:
    return "--" if pd.isna(low) else f"$[{signed(low, digits)}, {signed(high, digits)}]$"


def published_latex(table: pd.DataFrame, *, digits: int = 1) -> str:
    """Return the published rows of methods and datasets in this run, with our results below each."""
    told = disagreements(records(table))
    table = table.assign(told=[told.get(place, "") for place in range(len(table))])
    shown = table[table["ours"] != ""] if len(table) else table
    if shown.empty:
        return ""
    stub: list[str] = []
    lines: list[list[str]] = []
    groups: dict[int, list[str]] = {}
    notes: list[str] = []
    for (dataset, method), group in shown.head(PAGE_ROWS).groupby(["our_dataset", "ours"], sort=False):
        groups[len(stub)] = _words(f"{dataset}, {method}")
        for row in records(group):
            said = "; ".join(filter(None, [str(row["note"]), *check_published(row), str(row["told"])]))
            if said and said not in notes:
                notes.append(said)
            mark = rf"\diadmark{{{notes.index(said) + 1}}}" if said else ""
            key = source_key(str(row["source"]))
            stub.append(breakable(str(row["source"])) + (rf"~\cite{{{key}}}" if key else "") + mark)
            lines.append([as_published(float(row[metric])).replace("–", "--") for metric in MAIN])
        stub.append(r"\textbf{this run}")
        lines.append([_percent(float(group.iloc[0][f"{metric}_ours"]), digits) for metric in MAIN])
    infos = [Metric(metric) for metric in MAIN]
    heads = [("" if info.block == "Overall" else info.block, latex(info.base)) for info in infos]
    rows = Rows(
        "published",
        "Published figures beside ours.",
        "Source",
        stub,
        [Column(pair, [line[n] for line in lines], pair[0]) for n, pair in enumerate(heads)],
        groups,
        notes=[
            "Published figures as their source prints them; budgets and protocols differ.",
            *(note(str(n), text) for n, text in enumerate(notes, 1)),
        ],
    )
    return write_rows(rows, two_columns=None)


def _p(value: float, significant: bool, too_few: bool) -> str:
    if pd.isna(value):
        return "--"
    text = ("$<$0.001" if value < 0.0005 else rounded_p(value, 3)) + (r"\diadmark{*}" if too_few else "")
    return rf"\textbf{{{text}}}" if significant else text


def _percent(value: float, digits: int) -> str:
    return "--" if pd.isna(value) else printed(value / 100, digits)
