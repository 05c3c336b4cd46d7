"""The LaTeX side of a report: tables, macros, references and a ``main.tex`` that compiles alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pandas as pd

from diadbench.common.files import write_text
from diadbench.reports.paper.comparison_latex import published_latex, versus_latex
from diadbench.reports.paper.latex import metric_latex, to_latex
from diadbench.reports.paper.latex_rows import COMMANDS
from diadbench.reports.paper.layout import PAGE_ROWS
from diadbench.reports.paper.macros import macro_names, metric_name, to_macros
from diadbench.reports.paper.references import bbl, citations
from diadbench.reports.paper.threshold_latex import thresholds_latex
from diadbench.reports.tables.escape import file_names, latex
from diadbench.reports.tables.labels import MAIN, Metric
from diadbench.reports.tables.source import Source
from diadbench.reports.tables.table_builder import ours_of
from diadbench.reports.tables.table_shape import Table

PREAMBLE = r"""\usepackage[T1]{fontenc}
\usepackage[utf8]{inputenc}
\usepackage{textcomp}
\IfFileExists{lmodern.sty}{\usepackage{lmodern}}{}
\usepackage{booktabs}
% Letters beyond Latin-1: printed where the CJK fonts are installed, as their code point where not.
\newif\ifdiadcjk
\IfFileExists{c70gbsn.fd}{\diadcjktrue}{\diadcjkfalse}
\ifdiadcjk
  \usepackage{CJKutf8}
  \DeclareRobustCommand{\diadunicode}[2]{\begin{CJK*}{UTF8}{gbsn}#2\end{CJK*}}
\else
  \DeclareRobustCommand{\diadunicode}[2]{\texttt{U+#1}}
\fi
"""
#: lets a page be filled with tables from its top, where LaTeX would leave half of it empty
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
    texts = _table_texts(source, tables, keys, colours=colours)
    digits = source.show.digits
    ours = ours_of(source.results, source.show)
    extra = {
        "versus": versus_latex(versus, digits=digits, ours=ours),
        "published": published_latex(published, digits=digits),
    }
    texts.update({name: text for name, text in extra.items() if text})
    texts.update(thresholds_latex(source))
    inputs = list(texts)
    label = source.show.label or "tab:summary"
    texts["summary_twocolumn"] = to_latex(
        tables[0], colours=colours, two_columns=True, cites=keys, label=f"{label}-twocolumn"
    )
    files = {
        **{f"tables/{name}.tex": text for name, text in texts.items()},
        "macros.tex": to_macros(source.results, source.table, digits=digits),
        "references.bib": references,
        "main.bbl": bbl(references),
        "main.tex": _main(source, inputs, colours=colours),
    }
    for name, text in files.items():
        write_text(folder / name, text)
    return [folder / name for name in files if name != "main.bbl"]


def _table_texts(source: Source, tables: list[Table], keys: dict[str, str], *, colours: bool) -> dict[str, str]:
    """Return the text of each table by its name. A note is printed once, under the first table that has it."""
    said: dict[str, str] = {}
    texts = {}
    for place, table in enumerate(tables):
        for part in _pages(table):
            label = source.show.label if part is table and not place else ""
            cites = keys if not place else None
            wide = None if place else False  # The summary is made for one column, and for two as well.
            texts[part.name] = to_latex(part, colours=colours, two_columns=wide, cites=cites, label=label, said=said)
            own = {text: label or f"tab:{part.name}" for _, text in part.notes}
            said = {**own, **said}
    return texts


def paper_tables(source: Source) -> list[Table]:
    """Return the tables of a paper: the summary, methods by shots if there are any, each dataset by class a metric."""
    results = source.results
    tables = [
        source.cut(
            rows=["dataset", "method"],
            columns=["metric"],
            name="summary",
            caption=source.show.caption
            or f"{'Multi-class anomaly detection: means' if _one_setting(results) else 'Means'} over classes.",
        )
    ]
    tables += source.shots_tables()
    names = file_names(source.datasets)
    for dataset in source.datasets:
        rows = results[results["dataset"] == dataset]
        if (rows["metric"] == "").all():
            continue
        found = [key for key in MAIN if rows.loc[rows["metric"] == key, "value"].notna().any()]
        for metric in found[:1] + [key for key in ("p_auroc", "aupro") if key in found]:
            info = Metric(metric, mean=False)
            caption = f"{dataset}: {info.base}{f' ({info.level})' if info.level else ''} by class."
            tables.append(
                source.cut(
                    dataset=dataset,
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
    """Split a table that is longer than a page, between its blocks if it has any."""
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


def _main(source: Source, inputs: list[str], *, colours: bool) -> str:
    names = macro_names(source.results)
    example = ""
    rows = source.results
    done = rows[(rows["scope"] == "mean") & rows["value"].notna()]
    if len(done):
        first = done.iloc[0]
        macro = names[first["dataset"], first["method"]] + metric_name(str(first["metric"]))
        info = Metric(str(first["metric"]))
        metric = metric_latex(info)
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
            *([r"\usepackage[table]{xcolor}"] if colours else []),
            *(COMMANDS[name] for name in (r"\diadfit", r"\diadmark", r"\diadlevel", r"\diadstd")),
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
