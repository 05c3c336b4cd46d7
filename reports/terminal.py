"""Print or write tables, for ``diadbench table``, ``compare`` and ``published list``."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from diadbench.common.errors import UserError, unknown_name
from diadbench.common.files import write_text
from diadbench.common.show import Show
from diadbench.reports.tables.escape import clean, csv_text, markdown, squeeze
from diadbench.reports.tables.labels import MAIN, Metric
from diadbench.reports.tables.plain_text import NARROW, to_csv, to_markdown, to_rich
from diadbench.reports.tables.rows.result_rows import records
from diadbench.reports.tables.source import Source
from diadbench.reports.tables.stats import versus
from diadbench.reports.tables.verdicts import COMPARED, Versus, compared, explained, reasons
from diadbench.reports.terminal_panels import terminal_panels

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
    source = _source(runs, protocol, mix_protocols, show, means_alone="class" not in (*rows, *columns))
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
        console = _console(out, to_rich(table))
        for panel in terminal_panels(table, console):
            console.print(panel)
        text = console.export_text() if out else ""
    else:
        text = to_markdown(table) if form == "markdown" else to_csv(table)
    _give(text, out, shown=form == "terminal")


def _console(out: str | None, table: RichTable) -> Console:
    """Return a console; without a terminal, it is as wide as the table, so that nothing is cut off."""
    console = Console(record=out is not None, highlight=False)
    if not console.is_terminal or out:
        # A quiet console records nothing.
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


def _source(
    runs: Sequence[str],
    protocol: str,
    mix: bool,
    show: Show | Mapping[str, Any] | None,
    *,
    means_alone: bool = False,
) -> Source:
    if not runs:
        raise UserError("give at least one run directory")
    return Source.load(list(runs), protocol=protocol, mix_protocols=mix, show=show, means_alone=means_alone)


def compared_methods(source: Source, methods: Sequence[str], metrics: Sequence[str], seed: int = 0) -> Versus:
    """Return the comparison of each method with the baseline of the results.

    Args:
        source: The results.
        methods: Compare only these, by label or printed name.
        metrics: Metric keys; by default those of the seven and mAD that are available.
        seed: Seed of the bootstrap.

    Raises:
        UserError: An unknown method or metric, or nothing to compare.
    """
    found = list(source.results["metric"].unique())
    for key in metrics:
        if key not in found:
            raise unknown_name("metric", key, [key for key in found if key], where="--metrics")
    chosen = list(metrics) or [key for key in MAIN if key in found] or None
    baseline, names = source.method(source.show.baseline), [source.method(name) for name in methods]
    table = versus(source.results, baseline, methods=names or None, metrics=chosen, seed=seed, table=source.table)
    if table.empty:
        raise UserError("there is nothing to compare: give two methods that both have results")
    return table


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
    digits = source.show.digits
    table = compared_methods(source, methods, metrics, seed)
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
            parts = [clean(row["dataset"]), *compared(row, digits), str(row["verdict"])]
            print("| " + " | ".join(markdown(part) for part in parts) + " |")
        return
    shown = comparison(rows, digits)
    _console(None, shown).print(shown)


def comparison(rows: Sequence[Mapping[str, Any]], digits: int = 1) -> RichTable:
    """Return the result of ``versus`` as a table of 80 columns: a line per row, verdicts as marks, reasons below."""
    shown = RichTable(title=Text(f"Each method against {rows[0]['baseline']}"), title_justify="left", **NARROW)
    texts = [compared(row, digits) for row in rows]
    for place, head in enumerate(COMPARED):
        if head == "method":
            shown.add_column(head, overflow="fold")
        else:
            shown.add_column(head, justify="right" if place > 1 else "left", no_wrap=True)
    dataset = ""
    for row, text in zip(rows, texts):
        if row["dataset"] != dataset:
            dataset = str(row["dataset"])
            shown.add_section()
            shown.add_row(Text(""), Text(clean(dataset), style="italic"))
        shown.add_row(*(Text(part) for part in text))
    too_wide = Console(width=1000).measure(shown).maximum - 80
    if too_wide > 0:
        method = shown.columns[COMPARED.index("method")]
        method.max_width = max(8, max(cell_len(str(cell)) for cell in method.cells) - too_wide)
    shown.caption = Text("\n".join([*explained(), *reasons(rows)]))
    shown.caption_justify = "left"
    return shown


def print_published(dataset: str = "", method: str = "", run: str = "", setting: str = "") -> None:
    """Print published rows, and the contradictions that arithmetic finds in them.

    Args:
        dataset: Print only rows of this dataset.
        method: Print only rows of this method.
        run: A run directory whose own rows are listed as well.
        setting: Print only this setting: ``multi-class``, ``one-per-class``, ``few-shot``, ``zero-shot``, or another.
    """
    from diadbench.reports.published.comparable import dataset_key, same_setting, setting_of
    from diadbench.reports.published.published_files import load_published

    table = load_published([run] if run else [])
    for column, wanted, key in (("dataset", dataset, dataset_key), ("method", method, squeeze)):
        if wanted:
            same = table[column].map(key) == key(wanted)
            if not same.any():
                raise unknown_name(column, wanted, table[column].unique())
            table = table[same]
    if setting:
        same = table["setting"].map(lambda text: same_setting(str(text), setting))
        if not same.any():
            raise unknown_name("setting", setting, table["setting"].map(setting_of).unique())
        table = table[same]
    shown = published_table(records(table))
    _console(None, shown).print(shown)


def _headings(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return dataset and setting of each row; a dataset goes by its first spelling: ``mvtec`` is ``MVTec AD``."""
    from diadbench.reports.published.comparable import dataset_key

    spelled: dict[str, str] = {}
    for row in rows:
        spelled.setdefault(dataset_key(str(row["dataset"])), str(row["dataset"]))
    names = (spelled[dataset_key(str(row["dataset"]))] for row in rows)
    return [", ".join(filter(None, [name, str(row["setting"])])) for name, row in zip(names, rows)]


def _size(row: Mapping[str, Any]) -> str:
    return f"at {row['resolution']}" if str(row["resolution"]) not in ("", "256") else ""


def _published_order(rows: Sequence[Mapping[str, Any]]) -> list[int]:
    """Return the positions of rows in printed order."""
    best: dict[tuple[str, str], float] = {}
    headings = _headings(rows)
    for heading, row in zip(headings, rows):
        key = (heading, squeeze(str(row["method"])))
        value = float(row["i_auroc"])
        best[key] = max(best.get(key, 0.0), 0.0 if pd.isna(value) else value)

    def order(place: int) -> tuple[Any, ...]:
        heading, method = headings[place], squeeze(str(rows[place]["method"]))
        return heading, -best[heading, method], method

    return sorted(range(len(rows)), key=order)


def published_table(rows: Sequence[Mapping[str, Any]]) -> RichTable:
    """Return published rows as a table of 80 columns, with datasets and settings as headings and each note once below.

    Under a heading, the rows of a method are adjacent, and the method with the best image AU-ROC comes first.
    """
    from diadbench.reports.published.comparable import disagreements
    from diadbench.reports.published.figure_arithmetic import check_published
    from diadbench.reports.published.published_files import as_published

    shown = RichTable(**NARROW)
    shown.add_column("method", overflow="fold", max_width=11)
    shown.add_column("source", overflow="fold", max_width=10)
    for key in MAIN:
        info = Metric(key, mean=False)
        shown.add_column(f"{info.base.replace('AU-', '').replace('F1-max', 'F1')}\n{info.level}", justify="right")
    notes: list[str] = []
    last = ""
    others, headings = disagreements(rows), _headings(rows)
    for place in _published_order(rows):
        row = rows[place]
        if headings[place] != last:
            last = headings[place]
            shown.add_section()
            shown.add_row(Text(clean(last), style="italic"))
        parts = [_size(row), str(row["note"]), *check_published(row), others.get(place, "")]
        said = clean("; ".join(filter(None, parts)))
        notes += [said] if said and said not in notes else []
        mark = f" ({notes.index(said) + 1})" if said else ""
        epochs = "" if pd.isna(row["epochs"]) or "epochs" in row["source"] else f", {int(row['epochs'])} epochs"
        heads = (clean(row["method"]) + mark, clean(row["source"]) + epochs)
        shown.add_row(*(Text(part) for part in heads), *(as_published(float(row[key])) for key in MAIN))
    numbered = [f"({number}) {text}" for number, text in enumerate(notes, 1)]
    shown.caption = Text("\n".join(["Percent, as printed there.", *numbered]))
    shown.caption_justify = "left"
    return shown
