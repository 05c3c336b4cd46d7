"""A table of one's own, printed or written: what ``diadbench table``, ``compare`` and ``published list`` do."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from diadbench.common.errors import UserError, unknown_name
from diadbench.common.files import write_text
from diadbench.common.show import Show
from diadbench.reports.tables.escape import clean, csv_text, markdown, squeeze
from diadbench.reports.tables.frame import printed, records
from diadbench.reports.tables.labels import MAIN, Metric
from diadbench.reports.tables.plain_text import to_csv, to_markdown, to_rich
from diadbench.reports.tables.source import Source
from diadbench.reports.tables.stats import ALPHA, versus

FORMATS = ("terminal", "latex", "markdown", "csv", "xlsx")


def print_table(
    runs: Sequence[str],
    *,
    rows: Sequence[str],
    columns: Sequence[str],
    metrics: Sequence[str] = (),
    show: Show | Mapping[str, Any] | None = None,
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
    source = _source(runs, protocol, mix_protocols, show)
    table = source.cut(rows=rows, columns=columns, metrics=metrics or None)
    if form == "xlsx":
        from diadbench.reports.workbook.sheet import write_table

        write_table(table, Path(str(out)))
        print(f"table: {out}")
        return
    if form == "latex":
        from diadbench.reports.paper.latex import to_latex

        text = to_latex(table, colours=colours, two_columns=two_columns, label=source.show.label)
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
        # a quiet console records nothing
        file = io.StringIO() if out else None
        console = Console(record=out is not None, highlight=False, width=10_000, file=file)
        console.width = max(80, console.measure(table).maximum)
    return console


def _give(text: str, out: str | None, *, shown: bool) -> None:
    if out:
        write_text(Path(out), text)
        print(f"table: {out}")
    elif not shown:
        print(text, end="")


def _source(runs: Sequence[str], protocol: str, mix: bool, show: Show | Mapping[str, Any] | None) -> Source:
    if not runs:
        raise UserError("give at least one run directory")
    return Source.load(list(runs), protocol=protocol, mix_protocols=mix, show=show)


def print_comparison(
    runs: Sequence[str],
    *,
    methods: Sequence[str] = (),
    metrics: Sequence[str] = (),
    show: Show | Mapping[str, Any] | None = None,
    form: str = "terminal",
    protocol: str = "",
    mix_protocols: bool = False,
    seed: int = 0,
) -> None:
    """Print the comparison of methods with a baseline."""
    if form not in ("terminal", "csv", "markdown"):
        raise unknown_name("format", form, ("terminal", "csv", "markdown"), where="--format")
    source = _source(runs, protocol, mix_protocols, show)
    results, digits = source.results, source.show.digits
    found = list(results["metric"].unique())
    for key in metrics:
        if key not in found:
            raise unknown_name("metric", key, [key for key in found if key], where="--metrics")
    chosen = metrics or [key for key in MAIN if key in found] or None
    baseline, names = source.method(source.show.baseline), [source.method(name) for name in methods]
    table = versus(results, baseline, methods=names or None, metrics=chosen, seed=seed, table=source.table)
    if table.empty:
        raise UserError("there is nothing to compare: give two methods that both have results")
    if form == "csv":
        for column in ("dataset", "method", "baseline"):
            table[column] = table[column].map(csv_text)
        print(table.to_csv(index=False), end="")
        return
    rows = records(table)
    if form == "markdown":
        heads = ["dataset", *COMPARED, "in words"]
        print("| " + " | ".join(heads) + " |\n|" + " --- |" * len(heads))
        for row in rows:
            parts = [clean(row["dataset"]), *_compared(row, digits), str(row["verdict"])]
            print("| " + " | ".join(markdown(part) for part in parts) + " |")
        return
    shown = comparison(rows, digits)
    _console(None, shown).print(shown)


#: columns of a comparison
COMPARED = ("metric", "method", "difference", "95 % interval", "W/T/L", "effect", "p", "")
#: of the tables that fit 80 columns
NARROW: dict[str, Any] = {"box": SIMPLE_HEAD, "header_style": "bold", "pad_edge": False, "padding": (0, 1, 0, 0)}


def comparison(rows: Sequence[Mapping[str, Any]], digits: int = 1) -> RichTable:
    """Return what ``versus`` found as a table of 80 columns: a line each, its verdict a mark, the reasons below."""
    shown = RichTable(title=Text(f"Each method against {rows[0]['baseline']}"), title_justify="left", **NARROW)
    for place, head in enumerate(COMPARED):
        if head == "method":
            shown.add_column(head, overflow="fold", max_width=18)
        else:
            shown.add_column(head, justify="right" if place > 1 else "left", no_wrap=True)
    dataset = ""
    for row in rows:
        if row["dataset"] != dataset:
            dataset = str(row["dataset"])
            shown.add_section()
            shown.add_row(Text(""), Text(clean(dataset), style="italic"))
        shown.add_row(*(Text(part) for part in _compared(row, digits)))
    shown.caption = Text("\n".join(_reasons(rows)))
    shown.caption_justify = "left"
    return shown


def _reasons(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Say what the columns and the marks mean, and each reason once."""
    lines = [
        "Differences of means over classes, in points; wins/ties/losses over classes;",
        "effect: matched-pairs rank-biserial correlation; p: Wilcoxon, Holm's correction.",
    ]
    marks = {_mark(row) for row in rows}
    meanings = {
        "+": "+ better, p < 0.05.",
        "-": "- worse, p < 0.05.",
        "=": "= no significant difference.",
        "?": "? too few classes: even if one method wins on all of them, p stays above 0.05.",
    }
    lines += [text for mark, text in meanings.items() if mark in marks]
    partial = dict.fromkeys(
        f"{row['method']} on {row['dataset']}: {row['pairs']} of {row['classes']} classes have a value of both."
        for row in rows
        if row["pairs"] < row["classes"]
    )
    return [*lines, *map(clean, partial)]


def _mark(row: Mapping[str, Any]) -> str:
    """Return the verdict as a mark."""
    if not row["pairs"]:
        return ""
    if row["p_least"] >= ALPHA:
        return "?"
    return "=" if not row["significant"] else "+" if row["difference"] > 0 else "-"


def _compared(row: Mapping[str, Any], digits: int) -> list[str]:
    keys = ("difference", "low", "high")
    signed = {key: "–" if pd.isna(row[key]) else f"{100 * float(row[key]):+.{digits}f}" for key in keys}
    p = "–" if pd.isna(row["p_holm"]) else "<.0001" if row["p_holm"] < 0.00005 else f"{float(row['p_holm']):.4f}"
    return [
        Metric(str(row["metric"])).text,
        clean(row["method"]),
        signed["difference"],
        f"[{signed['low']}, {signed['high']}]",
        f"{row['wins']}/{row['ties']}/{row['losses']}",
        "–" if pd.isna(row["effect"]) else f"{float(row['effect']):+.2f}",
        p,
        _mark(row),
    ]


def print_published(dataset: str = "", method: str = "", run: str = "") -> None:
    """Print published rows, and what arithmetic says against them.

    Args:
        dataset: Keep this dataset.
        method: Keep this method.
        run: A run directory whose own rows are listed too.
    """
    from diadbench.reports.published.literature import dataset_key, load_published

    table = load_published([run] if run else [])
    for column, wanted, key in (("dataset", dataset, dataset_key), ("method", method, squeeze)):
        if wanted:
            same = table[column].map(key) == key(wanted)
            if not same.any():
                raise unknown_name(column, wanted, table[column].unique())
            table = table[same]
    shown = published_table(records(table))
    _console(None, shown).print(shown)


def published_table(rows: Sequence[Mapping[str, Any]]) -> RichTable:
    """Return published rows as a table of 80 columns: datasets as headings, notes below, each once."""
    from diadbench.reports.published.literature import check_published

    shown = RichTable(**NARROW)
    shown.add_column("method", overflow="fold", max_width=13)
    shown.add_column("source", overflow="fold", max_width=15)
    for key in MAIN:
        info = Metric(key, mean=False)
        shown.add_column(f"{info.base.replace('AU-', '').replace('F1-max', 'F1')}\n{info.level}", justify="right")
    notes: list[str] = []
    last = ""
    for row in sorted(rows, key=lambda row: str(row["dataset"])):
        if row["dataset"] != last:
            last = str(row["dataset"])
            shown.add_section()
            shown.add_row(Text(clean(last), style="italic"))
        said = clean("; ".join(filter(None, [str(row["note"]), *check_published(row)])))
        notes += [said] if said and said not in notes else []
        mark = f" ({notes.index(said) + 1})" if said else ""
        epochs = "" if pd.isna(row["epochs"]) or "epochs" in row["source"] else f", {int(row['epochs'])} epochs"
        heads = (clean(row["method"]) + mark, clean(row["source"]) + epochs)
        shown.add_row(*(Text(part) for part in heads), *(printed(float(row[key]) / 100) for key in MAIN))
    numbered = [f"({number}) {text}" for number, text in enumerate(notes, 1)]
    shown.caption = Text("\n".join(["Percent, as printed there.", *numbered]))
    shown.caption_justify = "left"
    return shown
