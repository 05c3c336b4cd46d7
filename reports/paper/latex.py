r"""Tables as LaTeX: best in bold, second underlined, notes below, with the citations of their methods."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from diadbench.reports.paper.latex_rows import BREAK, Column, Rows, write_rows
from diadbench.reports.paper.references import source_key
from diadbench.reports.tables.escape import clean, latex
from diadbench.reports.tables.labels import Metric
from diadbench.reports.tables.rows.result_rows import MEAN
from diadbench.reports.tables.table_shape import Entry, Head, Table, marks_text


def to_latex(
    table: Table,
    *,
    colours: bool = False,
    two_columns: bool | None = False,
    cites: Mapping[str, str] | None = None,
    label: str = "",
    said: Mapping[str, str] | None = None,
) -> str:
    r"""Return a ``table`` environment that pastes: below a comment with the packages that it needs.

    Args:
        table: The table.
        colours: Also shade the best and second best.
        two_columns: ``table*``, over both columns of the page; ``None``: if one column is too narrow.
        cites: ``{method or dataset: BibTeX key}``; adds ``\cite``.
        label: Label of the table; by default ``tab:`` and the table's name.
        said: ``{note: label of the table with this note}``; such a note is replaced by a reference to that table.
    """
    rows = Rows(
        table.name,
        _caption(table),
        latex(table.row_names[-1].capitalize()),
        [head(row[-1], cites) for row in table.rows],
        _columns(table, colours),
        _groups(table, cites),
        {n for n, row in enumerate(table.rows) if n and table.row_names == ["class"] and row[0].text == MEAN},
        _notes(table, cites or {}, said or {}),
        label,
        latex(table.caption),
    )
    return write_rows(rows, two_columns=two_columns)


def _caption(table: Table) -> str:
    unit = "Values times 100; best bold, second underlined."
    unit += " Published rows are not ranked." if table.sources else ""
    own = table.caption.rstrip()
    own += "." if own and own[-1] not in ".!?:" else ""  # sentences follow
    return " ".join(filter(None, [latex(own), unit, latex_seeds(table)]))


def latex_seeds(table: Table) -> str:
    """Return the sentence on the number of seeds."""
    return table.seeds_text().replace("±", r"$\pm$")


def _groups(table: Table, cites: Mapping[str, str] | None) -> dict[int, list[str]]:
    """Return the text above each block of rows: all row heads but the last."""
    if len(table.row_names) < 2:
        return {}
    keys = [tuple(part.text for part in row[:-1]) for row in table.rows]
    starts = [place for place in range(len(keys)) if not place or keys[place] != keys[place - 1]]
    return {place: _words(table.rows[place][:-1], cites or {}) for place in starts}


def _words(heads: Sequence[Head], cites: Mapping[str, str]) -> list[str]:
    """Return the heads of a block word by word; citation and marks belong to the last word of each head."""
    found: list[str] = []
    for place, item in enumerate(heads):
        text = item.metric.text if item.metric else item.text
        words = [latex(word) for word in clean(text).split(" ")]
        words[-1] += rf"~\cite{{{cites[item.text]}}}" if cites.get(item.text) else ""
        words[-1] += _marks(item.marks) + ("," if place + 1 < len(heads) else "")
        found += words
    return found


def _columns(table: Table, colours: bool) -> list[Column]:
    last = len(table.column_names) - 1
    if last and len({column[-1].text for column in table.columns}) == 1:
        last -= 1  # A single metric is named in the caption.
    levelled = table.column_names[last] == "metric" and len(table.columns) > 1
    found = []
    for place, column in enumerate(table.columns):
        upper = [head(part) for part in column[:last]]
        block: object = tuple(upper)
        metric = column[last].metric
        lowest = stacked(head(column[last]))
        if levelled and metric is not None:
            block = (*upper, metric.block)
            upper.append("" if metric.block == "Overall" else metric.block)
            lowest = latex(metric.base) + _marks(column[last].marks) if metric.block else lowest
        elif not upper:
            block = place
        found.append(Column((*upper, lowest), [entry(line[place], colours) for line in table.entries], block))
    return found


def stacked(source: str) -> str:
    """Return a long head in several lines, broken at its spaces."""
    if len(re.sub(r"\\\w+|[{}]", "", source)) <= 12 or " " not in source:
        return source
    lines = [""]
    for word in source.split(" "):
        lines[-1:] = [f"{lines[-1]} {word}".strip()] if len(lines[-1]) + len(word) < 12 else [*lines[-1:], word]
    return rf"\shortstack{{{BREAK.join(line for line in lines if line)}}}"


def head(item: Head, cites: Mapping[str, str] | None = None) -> str:
    r"""Return a head: the escaped text with its citation and marks; ours in bold, a metric with its level."""
    if item.metric is not None:
        text = metric_latex(item.metric)
    else:
        text = breakable(item.text)
        text = rf"\textbf{{{text}}}" if item.ours else text
        if cites and cites.get(item.text):
            text += rf"~\cite{{{cites[item.text]}}}"
    return text + _marks(item.marks)


def metric_latex(metric: Metric) -> str:
    """Return the name of a metric with its level."""
    return latex(metric.base) + (rf"\diadlevel{{{metric.level}}}" if metric.level else "")


def entry(item: Entry, colours: bool = False) -> str:
    """Return a figure as LaTeX."""
    text = "--" if item.text == "–" else item.text
    if item.rank == 1:
        text = rf"\textbf{{{text}}}"
    elif item.rank == 2:
        text = rf"\underline{{{text}}}"
    if item.spread:
        text += rf"\diadstd{{{item.spread}}}"
    if colours and item.rank:
        text = rf"\cellcolor{{{'diadbest' if item.rank == 1 else 'diadsecond'}}}" + text
    return text + _marks(item.marks)


def _marks(marks: tuple[int, ...]) -> str:
    return rf"\diadmark{{{latex(marks_text(marks))}}}" if marks else ""


def _notes(table: Table, cites: Mapping[str, str], said: Mapping[str, str]) -> list[str]:
    """Return the notes; notes that stand under another table become one reference to it."""
    own = [(mark, text) for mark, text in table.notes if text not in said]
    elsewhere = {said[text]: None for _, text in table.notes if text in said}
    found = [note(mark, _told(text, mark in table.sources), table.sources.get(mark, "")) for mark, text in own]
    return [*found, *(rf"Other notes: see Table~\ref{{{label}}}." for label in elsewhere)]


def _told(text: str, published: bool) -> str:
    """Return a note as a paper prints it: of the figures of other sources, those that contradict."""
    found = re.search(r"; (other sources print other figures): (.*): diadbench published list .*$", text)
    if not published or not found:
        return text
    against = [part for part in found[2].split(", ") if "contradicted by" in part]
    return text[: found.start()] + "; " + ": ".join(filter(None, [found[1], ", ".join(against)]))


def note(mark: str, text: str, source: str = "") -> str:
    """Return a note with its mark; for a published row, with the citation of its source."""
    key = source_key(source)
    cited = rf"~\cite{{{key}}}" if key else ""
    return (rf"\diadmark{{{latex(mark)}}}\," if mark else "") + breakable(text) + cited


def breakable(text: str, longest: int = 14) -> str:
    r"""Return escaped text whose long words may be broken after each of their parts."""
    words = []
    for word in clean(text).split(" "):
        wide = len(word) > longest or any(ord(char) > 0xFF for char in word)
        parts = re.findall(r"[^\x00-\xff]|[\x00-\xff]{1,8}?[/_.=:-]+|[\x00-\xff]{1,8}", word) if wide else [word]
        words.append(r"\allowbreak{}".join(map(latex, parts)))
    return " ".join(words)
