r"""Tables as LaTeX: booktabs, best in bold, second underlined, notes below. Needs what :data:`PREAMBLE` loads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from diadbench.reports.tables.cut import Entry, Head, Table, marks_text
from diadbench.reports.tables.escape import latex
from diadbench.reports.tables.frame import MEAN

PREAMBLE = r"""\usepackage[T1]{fontenc}
\usepackage[utf8]{inputenc}
\usepackage{textcomp}
\IfFileExists{lmodern.sty}{\usepackage{lmodern}}{}
\usepackage{booktabs}
\usepackage{multirow}
\usepackage{graphicx}
\usepackage[table]{xcolor}
% Letters beyond Latin-1: printed where the CJK fonts are installed, as their code point where not.
\newif\ifdiadcjk
\IfFileExists{c70gbsn.fd}{\diadcjktrue}{\diadcjkfalse}
\ifdiadcjk
  \usepackage{CJKutf8}
  \DeclareRobustCommand{\diadunicode}[2]{\begin{CJK*}{UTF8}{gbsn}#2\end{CJK*}}
\else
  \DeclareRobustCommand{\diadunicode}[2]{\texttt{U+#1}}
\fi
\definecolor{diadbest}{HTML}{DCE9F5}
\definecolor{diadsecond}{HTML}{F1F6FB}
"""
#: no wider than the text, and never blown up
SHRINK = r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{"
SKIPS = r"\setlength{\abovecaptionskip}{0pt}\setlength{\belowcaptionskip}{5pt}\setlength{\tabcolsep}{4pt}"


def to_latex(
    table: Table,
    *,
    colours: bool = False,
    two_columns: bool = False,
    resize: bool = True,
    cites: Mapping[str, str] | None = None,
    label: str = "",
) -> str:
    r"""Return a ``table`` environment.

    Args:
        table: The table.
        colours: Shade the best and second best too.
        two_columns: ``table*``, over both columns of the page.
        resize: Shrink the table to the width of the text when it is wider (``\resizebox``).
        cites: ``{method or dataset: BibTeX key}``; adds ``\cite``.
        label: Of the table; by default ``tab:`` and the table's name.
    """
    environment = "table*" if two_columns else "table"
    tabular = "\n".join(
        [
            _begin(table),
            *_head_lines(table),
            r"\midrule",
            *_body(table, colours, cites or {}),
            r"\bottomrule",
            r"\end{tabular}",
        ]
    )
    caption = " ".join(
        filter(None, [latex(table.caption), "Values times 100; best bold, second underlined.", latex_seeds(table)])
    )
    lines = [
        rf"\begin{{{environment}}}[tbp]",
        r"\centering",
        SKIPS,
        rf"\caption{{{caption}}}",
        rf"\label{{{label or f'tab:{table.name}'}}}",
        *([r"\footnotesize"] if len(table.rows) > 30 else []),
        SHRINK + "%\n" + tabular + "}" if resize else tabular,
        *_notes(table),
        rf"\end{{{environment}}}",
    ]
    return "\n".join(lines) + "\n"


def latex_seeds(table: Table) -> str:
    """Return the sentence about seeds."""
    return table.seeds_text().replace("±", r"$\pm$")


def _begin(table: Table) -> str:
    return (
        rf"\begin{{tabular}}{{@{{}}{'l' * len(table.row_names)}{'c' * len(table.columns)}@{{}}}}" + "\n" + r"\toprule"
    )


def _head_lines(table: Table) -> list[str]:
    """One line for each column name; equal neighbours are joined, with a rule below the group."""
    lines = []
    last = len(table.column_names) - 1
    if last and len({column[-1].text for column in table.columns}) == 1:
        last -= 1  # one metric: the caption names it
    if last == 0 and table.column_names == ["metric"] and len(table.columns) > 1:
        lines += _group_line(table, [column[0].metric.block if column[0].metric else "" for column in table.columns])
    for level in range(last):
        spans = _spans([column[: level + 1] for column in table.columns])
        cells = [
            rf"\multicolumn{{{stop - start}}}{{c}}{{{head(table.columns[start][level])}}}" for start, stop in spans
        ]
        offset = len(table.row_names)
        lines.append(" & " * offset + " & ".join(cells) + r" \\")
        lines.append(" ".join(rf"\cmidrule(lr){{{start + offset + 1}-{stop + offset}}}" for start, stop in spans))
    names = [latex(name.capitalize()) for name in table.row_names]
    lines.append(" & ".join([*names, *(head(column[last]) for column in table.columns)]) + r" \\")
    return lines


def _group_line(table: Table, blocks: list[str]) -> list[str]:
    spans = _spans(blocks)
    if len(spans) == len(blocks):
        return []
    offset = len(table.row_names)
    shown = {span: blocks[span[0]] for span in spans if blocks[span[0]] != "Overall"}
    cells = [rf"\multicolumn{{{stop - start}}}{{c}}{{{shown.get((start, stop), '')}}}" for start, stop in spans]
    rules = " ".join(rf"\cmidrule(lr){{{start + offset + 1}-{stop + offset}}}" for start, stop in shown)
    return [" & " * offset + " & ".join(cells) + r" \\", rules]


def _spans(keys: Sequence[object]) -> list[tuple[int, int]]:
    starts = [i for i in range(len(keys)) if i == 0 or keys[i] != keys[i - 1]]
    return list(zip(starts, [*starts[1:], len(keys)]))


def _body(table: Table, colours: bool, cites: Mapping[str, str]) -> list[str]:
    lines = []
    starts = table.block
    for position, (row, entries) in enumerate(zip(table.rows, table.entries)):
        if position and (starts[position] or (table.row_names == ["class"] and row[0].text == MEAN)):
            lines.append(r"\midrule")
        heads = [head(part, cites) for part in row]
        if len(row) > 1:
            first = position == 0 or starts[position]
            size = next((n for n, start in enumerate(starts[position + 1 :], 1) if start), len(starts) - position)
            heads[0] = rf"\multirow[t]{{{size}}}{{*}}{{{heads[0]}}}" if first else ""
        lines.append(" & ".join([*heads, *(entry(item, colours) for item in entries)]) + r" \\")
    return lines


def head(item: Head, cites: Mapping[str, str] | None = None) -> str:
    """Return a head: ``mAU-ROC$_I$``, or the escaped text with its citation and marks."""
    if item.metric is not None:
        text = latex(item.metric.base) + (f"$_{item.metric.level}$" if item.metric.level else "")
    else:
        text = latex(item.text)
        if cites and cites.get(item.text):
            text += rf"~\cite{{{cites[item.text]}}}"
    return text + _marks(item.marks)


def entry(item: Entry, colours: bool = False) -> str:
    """Return a figure as LaTeX."""
    text = "--" if item.text == "–" else item.text
    if item.rank == 1:
        text = rf"\textbf{{{text}}}"
    elif item.rank == 2:
        text = rf"\underline{{{text}}}"
    if item.spread:
        text += rf"{{\scriptsize\,$\pm$\,{item.spread}}}"
    if colours and item.rank:
        text = rf"\cellcolor{{{'diadbest' if item.rank == 1 else 'diadsecond'}}}" + text
    return text + _marks(item.marks)


def _marks(marks: tuple[int, ...]) -> str:
    return rf"\textsuperscript{{{marks_text(marks)}}}" if marks else ""


def _notes(table: Table) -> list[str]:
    if not table.notes:
        return []
    texts = [(rf"\textsuperscript{{{mark}}}\," if mark else "") + latex(text) for mark, text in table.notes]
    return ["", r"\smallskip", r"\parbox{\linewidth}{\footnotesize\raggedright " + r"\\ ".join(texts) + "}"]
