"""A table of one's own, printed or written: what ``diadbench table``, ``compare`` and ``published list`` do."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from diadbench.common.errors import UserError, unknown_name
from diadbench.common.files import write_text
from diadbench.reports.tables.cut import cut
from diadbench.reports.tables.escape import clean, csv_text, markdown, squeeze
from diadbench.reports.tables.frame import printed, records
from diadbench.reports.tables.labels import MAIN, Metric
from diadbench.reports.tables.plain_text import to_csv, to_markdown, to_rich
from diadbench.reports.tables.source import Source
from diadbench.reports.tables.stats import find_method, versus

FORMATS = ("terminal", "latex", "markdown", "csv", "xlsx")


def print_table(
    runs: Sequence[str],
    *,
    rows: Sequence[str],
    columns: Sequence[str],
    metrics: Sequence[str] = (),
    methods: Sequence[str] = (),
    datasets: Sequence[str] = (),
    form: str = "terminal",
    out: str | None = None,
    protocol: str = "",
    mix_protocols: bool = False,
    colours: bool = False,
    two_columns: bool = False,
) -> None:
    """Print a cut of the results, or write it to ``out``.

    Raises:
        UserError: An unknown dimension, metric, method, dataset or format; several protocols; ``xlsx`` without ``out``.
    """
    if form not in FORMATS:
        raise unknown_name("format", form, FORMATS, where="--format")
    if form == "xlsx" and not out:
        raise UserError("--format xlsx needs a file: add --out table.xlsx")
    results = _results(runs, protocol, mix_protocols, methods, datasets)
    table = cut(results, rows=rows, columns=columns, metrics=metrics or None)
    if form == "xlsx":
        from diadbench.reports.workbook.sheet import write_table

        write_table(table, Path(str(out)))
        print(f"table: {out}")
        return
    if form == "latex":
        from diadbench.reports.paper.latex import to_latex

        text = to_latex(table, colours=colours, two_columns=two_columns)
    elif form == "terminal":
        shown = to_rich(table)
        console = _console(out, shown)
        console.print(shown)
        text = console.export_text() if out else ""
    else:
        text = to_markdown(table) if form == "markdown" else to_csv(table)
    _give(text, out, shown=form == "terminal")


def _console(out: str | None, table: RichTable) -> Console:
    """Return a console; where the output is no terminal, it is as wide as the table, so that nothing is cut."""
    console = Console(record=out is not None, highlight=False)
    if not console.is_terminal or out:
        console = Console(record=out is not None, highlight=False, width=10_000, quiet=out is not None)
        console.width = max(80, console.measure(table).maximum)
    return console


def _give(text: str, out: str | None, *, shown: bool) -> None:
    if out:
        write_text(Path(out), text)
        print(f"table: {out}")
    elif not shown:
        print(text, end="")


def _results(
    runs: Sequence[str], protocol: str, mix: bool, methods: Sequence[str], datasets: Sequence[str]
) -> pd.DataFrame:
    if not runs:
        raise UserError("give at least one run directory")
    results = Source.load(list(runs), protocol=protocol, mix_protocols=mix).results
    if methods:
        names = list(results["method"].unique())
        results = results[results["method"].isin([find_method(names, name) for name in methods])]
    if datasets:
        chosen = [_dataset(results, name) for name in datasets]
        results = results[results["dataset"].isin(chosen)]
    return results


def _dataset(results: pd.DataFrame, wanted: str) -> str:
    for name, label in results[["dataset", "dataset_label"]].drop_duplicates().itertuples(index=False, name=None):
        if wanted in (name, label) or squeeze(wanted) == squeeze(name):
            return str(name)
    raise unknown_name("dataset", wanted, list(results["dataset_label"].unique()))


def print_comparison(
    runs: Sequence[str],
    *,
    methods: Sequence[str] = (),
    baseline: str = "",
    metrics: Sequence[str] = (),
    datasets: Sequence[str] = (),
    form: str = "terminal",
    protocol: str = "",
    mix_protocols: bool = False,
    seed: int = 0,
) -> None:
    """Print the comparison of methods with a baseline."""
    if form not in ("terminal", "csv", "markdown"):
        raise unknown_name("format", form, ("terminal", "csv", "markdown"), where="--format")
    results = _results(runs, protocol, mix_protocols, (), datasets)
    found = list(results["metric"].unique())
    for key in metrics:
        if key not in found:
            raise unknown_name("metric", key, [key for key in found if key], where="--metrics")
    chosen = metrics or [key for key in MAIN if key in found] or None
    table = versus(results, baseline, methods=methods or None, metrics=chosen, seed=seed)
    if table.empty:
        raise UserError("there is nothing to compare: give two methods that both have results")
    if form == "csv":
        for column in ("dataset", "method", "baseline"):
            table[column] = table[column].map(csv_text)
        print(table.to_csv(index=False), end="")
        return
    heads = [
        "dataset",
        "metric",
        "method",
        "classes",
        "difference",
        "95 % interval",
        "W/T/L",
        "p",
        "p (Holm)",
        "in words",
    ]
    lines = [_line(row) for row in records(table)]
    if form == "markdown":
        print("| " + " | ".join(heads) + " |\n|" + " --- |" * len(heads))
        for line in lines:
            print("| " + " | ".join(markdown(part) for part in line) + " |")
        return
    shown = RichTable(
        title=Text(f"Each method against {table['baseline'].iloc[0]}"), title_justify="left", header_style="bold"
    )
    for position, head in enumerate(heads):
        shown.add_column(head, justify="right" if 3 <= position <= 8 else "left", no_wrap=3 <= position <= 8)
    for line in lines:
        shown.add_row(*(Text(part) for part in line))
    _console(None, shown).print(shown)


def _line(values: dict[str, Any]) -> list[str]:
    signed = {
        key: "–" if pd.isna(values[key]) else f"{100 * float(str(values[key])):+.1f}"
        for key in ("difference", "low", "high")
    }
    p = ["–" if pd.isna(values[key]) else f"{float(str(values[key])):.4f}" for key in ("p", "p_holm")]
    return [
        clean(values["dataset"]),
        Metric(str(values["metric"])).text,
        clean(values["method"]),
        str(values["pairs"]) if values["pairs"] == values["classes"] else f"{values['pairs']} of {values['classes']}",
        signed["difference"],
        f"[{signed['low']}, {signed['high']}]",
        f"{values['wins']}/{values['ties']}/{values['losses']}",
        *p,
        str(values["verdict"]),
    ]


def print_published(dataset: str = "", method: str = "") -> None:
    """Print published rows, and what arithmetic says against them."""
    from diadbench.reports.published.literature import check_published, dataset_key, load_published

    table = load_published()
    for column, wanted, key in (("dataset", dataset, dataset_key), ("method", method, squeeze)):
        if wanted:
            same = table[column].map(key) == key(wanted)
            if not same.any():
                raise unknown_name(column, wanted, table[column].unique())
            table = table[same]
    shown = RichTable(header_style="bold")
    for head in ("dataset", "method", "source", "epochs", *(Metric(key).text for key in MAIN), "note"):
        shown.add_column(head, justify="left" if head in ("dataset", "method", "source", "note") else "right")
    for row in records(table):
        figures = [printed(float(row[key]) / 100) for key in MAIN]
        problems = check_published(row)
        epochs = "–" if pd.isna(row["epochs"]) else str(int(row["epochs"]))
        note = "; ".join(filter(None, [str(row["note"]), *problems]))
        shown.add_row(
            *(Text(clean(part)) for part in (row["dataset"], row["method"], row["source"], epochs, *figures, note))
        )
    _console(None, shown).print(shown)
