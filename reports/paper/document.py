"""The LaTeX side of a report: tables, macros, references and a ``main.tex`` that compiles alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pandas as pd

from diadbench.common.files import write_text
from diadbench.reports.paper.latex import PREAMBLE, SHRINK, SKIPS, to_latex
from diadbench.reports.paper.macros import macro_names, metric_name, to_macros
from diadbench.reports.paper.references import bbl, citations, source_key
from diadbench.reports.published.literature import check_published
from diadbench.reports.tables.cut import Table, cut
from diadbench.reports.tables.escape import file_names, latex
from diadbench.reports.tables.frame import printed, records
from diadbench.reports.tables.labels import MAIN, Metric
from diadbench.reports.tables.source import Source
from diadbench.reports.tables.stats import ALPHA

#: rows of a table on one page; a longer one is set as several
PAGE_ROWS = 48
#: lets a page be filled with tables, from its top, where LaTeX would leave it half empty
FLOATS = (
    r"\renewcommand{\topfraction}{.95}\renewcommand{\bottomfraction}{.95}\renewcommand{\textfraction}{.05}",
    r"\renewcommand{\floatpagefraction}{.9}",
    r"\setcounter{topnumber}{9}\setcounter{bottomnumber}{9}\setcounter{totalnumber}{9}",
    r"\makeatletter\setlength{\@fptop}{0pt}\setlength{\@fpbot}{0pt plus 1fil}\makeatother",
)


def write_latex(
    source: Source,
    folder: Path,
    tables: list[Table],
    versus: pd.DataFrame,
    published: pd.DataFrame,
    *,
    colours: bool = False,
) -> list[Path]:
    """Write ``tables/*.tex``, ``macros.tex``, ``references.bib`` and ``main.tex`` into ``folder``; return the paths."""
    keys, references = citations(source)
    written, inputs = [], []
    for table in tables:
        for part in _pages(table):
            path = folder / "tables" / f"{part.name}.tex"
            write_text(path, to_latex(part, colours=colours, cites=keys if part.name.startswith("summary") else None))
            written.append(path)
            inputs.append(part.name)
    extra = {"versus": versus_latex(versus), "published": published_latex(published)}
    for name, text in extra.items():
        if text:
            write_text(folder / "tables" / f"{name}.tex", text)
            written.append(folder / "tables" / f"{name}.tex")
            inputs.append(name)
    wide = cut(
        source.results,
        table=source.table,
        rows=["dataset", "method"],
        columns=["metric"],
        name="summary_wide",
        caption="Means over classes.",
    )
    write_text(folder / "tables" / "summary_twocolumn.tex", to_latex(wide, colours=True, two_columns=True, cites=keys))
    write_text(folder / "macros.tex", to_macros(source.results, source.table))
    write_text(folder / "references.bib", references)
    write_text(folder / "main.bbl", bbl(references))
    write_text(folder / "main.tex", _main(source, inputs))
    return [
        *written,
        *(folder / name for name in ("tables/summary_twocolumn.tex", "macros.tex", "references.bib", "main.tex")),
    ]


def paper_tables(source: Source) -> list[Table]:
    """Return the tables of a paper: the summary, and for each dataset its classes by method, metric by metric."""
    results = source.results
    tables = [
        cut(results, table=source.table, rows=["dataset", "method"], columns=["metric"], name="summary",
            caption=f"{'Multi-class anomaly detection: means' if _one_setting(results) else 'Means'} over classes.")
    ]  # fmt: skip
    names = file_names(source.datasets)
    for dataset in source.datasets:
        rows = results[results["dataset"] == dataset]
        of_dataset = source.table[source.table["dataset"] == dataset]
        if (rows["metric"] == "").all():
            continue
        found = [key for key in MAIN if rows.loc[rows["metric"] == key, "value"].notna().any()]
        for metric in found[:1] + [key for key in ("p_auroc", "aupro") if key in found]:
            info = Metric(metric, mean=False)
            caption = f"{dataset}: {info.base}{f' ({info.level})' if info.level else ''} by class."
            tables.append(
                cut(
                    rows,
                    table=of_dataset,
                    rows=["class"],
                    columns=["method"],
                    metrics=[metric],
                    name=f"{names[dataset]}_{metric}",
                    caption=caption,
                )
            )
    return tables


def _one_setting(results: pd.DataFrame) -> bool:
    return set(results["setting"]) == {"multi-class"}


def _pages(table: Table) -> list[Table]:
    """Split a table that is longer than a page, at its blocks where it has any."""
    if len(table.rows) <= PAGE_ROWS:
        return [table]
    starts = [0, *(i for i, start in enumerate(table.block) if start)]
    pages, begin = [], 0
    for start, stop in zip(starts, [*starts[1:], len(table.rows)]):
        while stop - begin > PAGE_ROWS:
            cut_at = start if start > begin else begin + PAGE_ROWS
            pages.append((begin, cut_at))
            begin = cut_at
    pages.append((begin, len(table.rows)))
    return [
        replace(
            table,
            name=f"{table.name}_{number}" if number > 1 else table.name,
            rows=table.rows[first:last],
            entries=table.entries[first:last],
        )
        for number, (first, last) in enumerate(pages, 1)
    ]


def versus_latex(table: pd.DataFrame, metrics: tuple[str, ...] = ("i_auroc", "p_ap", "aupro")) -> str:
    """Return the comparison with the baseline as a LaTeX table: difference, interval, wins/ties/losses, p."""
    shown = table[table["metric"].isin(metrics) & (table["pairs"] > 0)]
    if shown.empty:
        return ""
    baseline = latex(shown["baseline"].iloc[0])
    lines = []
    last = None
    for row in records(shown.head(PAGE_ROWS)):
        place = (row["dataset"], row["metric"])
        if last is not None and place != last:
            lines.append(r"\addlinespace")
        name = Metric(str(row["metric"]))
        first = (
            [latex(row["dataset"]), f"{latex(name.base)}$_{name.level}$" if name.level else latex(name.base)]
            if place != last
            else ["", ""]
        )
        last = place
        star = r"\textsuperscript{*}" if row["p_least"] >= ALPHA else ""
        part = rf"\textsuperscript{{{row['pairs']}/{row['classes']}}}" if row["pairs"] < row["classes"] else ""
        p = "--" if pd.isna(row["p_holm"]) else _p(row["p_holm"]) + star
        p = rf"\textbf{{{p}}}" if row["significant"] else p
        interval = "--" if pd.isna(row["low"]) else f"$[{100 * row['low']:+.1f}, {100 * row['high']:+.1f}]$"
        lines.append(" & ".join([*first, latex(row["method"]), f"${100 * row['difference']:+.1f}$", interval,
                                 f"{row['wins']}/{row['ties']}/{row['losses']}{part}", p]) + r" \\")  # fmt: skip
    more = len(shown) - PAGE_ROWS
    partial = bool((shown["pairs"] < shown["classes"]).any())
    note = (
        "Difference of means over classes, in points; 95\\,\\% bootstrap interval over classes; wins/ties/losses over "
        "classes; Wilcoxon signed-rank $p$ with Holm's correction over the methods of one dataset and metric, bold "
        r"below 0.05. \textsuperscript{*}\,Too few classes for this test, after the correction, to fall below 0.05."
        + (r" \textsuperscript{2/3}\,So many of the classes have a value of both." if partial else "")
        + (f" {more} more rows stand in the workbook." if more > 0 else "")
    )
    head = r"Dataset & Metric & Method & Difference & Interval & W/T/L & $p$ \\"
    return _environment("versus", f"Each method against {baseline}.", "lllcccc", head, lines, note)


def published_latex(table: pd.DataFrame) -> str:
    """Return the published rows of methods and datasets that this run has, ours below each."""
    shown = table[table["ours"] != ""] if len(table) else table
    if shown.empty:
        return ""
    lines: list[str] = []
    notes: list[str] = []
    for (dataset, method), group in shown.head(PAGE_ROWS).groupby(["our_dataset", "ours"], sort=False):
        if lines:
            lines.append(r"\addlinespace")
        for place, row in enumerate(records(group)):
            said = "; ".join(filter(None, [str(row["note"]), *check_published(row)]))
            if said and said not in notes:
                notes.append(said)
            mark = rf"\textsuperscript{{{notes.index(said) + 1}}}" if said else ""
            key = source_key(str(row["source"]))
            origin = rf"{latex(row['source'])}~\cite{{{key}}}" if key else latex(row["source"])
            heads = [latex(dataset), latex(method)] if place == 0 else ["", ""]
            values = [_percent(float(row[metric])) for metric in MAIN]
            lines.append(" & ".join([*heads, rf"\textit{{published}}, {origin}{mark}", *values]) + r" \\")
        ours = [_percent(float(group.iloc[0][f"{metric}_ours"])) for metric in MAIN]
        lines.append(" & ".join(["", "", r"\textbf{this run}", *ours]) + r" \\")
    heads = [f"{latex(Metric(m).base)}$_{Metric(m).level}$" if Metric(m).level else Metric(m).base for m in MAIN]
    head = " & ".join(["Dataset", "Method", "Source", *heads]) + r" \\"
    note = "Published figures as their source prints them; budgets and protocols differ. " + r" ".join(
        rf"\textsuperscript{{{n}}}\,{latex(text)}." for n, text in enumerate(notes, 1)
    )
    return _environment("published", "Published figures beside ours.", "lll" + "c" * len(MAIN), head, lines, note)


def _p(value: float) -> str:
    return "$<$0.001" if value < 0.0005 else f"{value:.3f}"


def _percent(value: float) -> str:
    return "--" if pd.isna(value) else printed(value / 100)


def _environment(name: str, caption: str, columns: str, head: str, lines: list[str], note: str) -> str:
    return "\n".join(
        [
            r"\begin{table}[tbp]",
            r"\centering",
            SKIPS,
            rf"\caption{{{caption}}}",
            rf"\label{{tab:{name}}}",
            r"\footnotesize",
            SHRINK + "%",
            rf"\begin{{tabular}}{{@{{}}{columns}@{{}}}}",
            r"\toprule",
            head,
            r"\midrule",
            *lines,
            r"\bottomrule",
            r"\end{tabular}}",
            "",
            r"\smallskip",
            rf"\parbox{{\linewidth}}{{\footnotesize\raggedright {note}}}",
            r"\end{table}",
            "",
        ]
    )


def _main(source: Source, inputs: list[str]) -> str:
    names = macro_names(source.results)
    example = ""
    rows = source.results
    done = rows[(rows["scope"] == "mean") & rows["value"].notna()]
    if len(done):
        first = done.iloc[0]
        macro = names[first["dataset"], first["method"]] + metric_name(str(first["metric"]))
        info = Metric(str(first["metric"]))
        metric = f"{latex(info.base)}$_{info.level}$" if info.level else latex(info.base)
        example = (
            f"A sentence made of macros: {latex(first['method'])} reaches {metric} "
            rf"\{macro}\ on {latex(first['dataset'])}."
        )
    body = "\n".join(
        rf"\input{{tables/{name}}}" + ("\n\\clearpage" if n % 12 == 11 else "") for n, name in enumerate(inputs)
    )
    return "\n".join(
        [
            r"\documentclass[10pt]{article}",
            r"\usepackage[a4paper,margin=2cm]{geometry}",
            PREAMBLE.rstrip(),
            *FLOATS,
            r"\input{macros}",
            r"\begin{document}",
            rf"\section*{{{latex(source.title)}}}",
            r"\suppressfloats[t]",
            example,
            "",
            body,
            r"\clearpage",
            r"\bibliographystyle{plain}",
            r"\bibliography{references}",
            r"\end{document}",
            "",
        ]
    )
