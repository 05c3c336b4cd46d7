"""Tables as LaTeX source, cell by cell, set in the largest size that fits. The one writer of LaTeX rows.

Each file begins with the packages that it needs, and defines the commands and colours that it uses. A table is never
scaled. It is set in 9, 8 or 7 pt, the largest size that fits, and if necessary in several panels of columns below each
other in 7 pt.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, field

from diadbench.reports.paper.layout import (
    COLUMN_PT,
    COLUMN_SHEETS,
    LEAST,
    PAGE_PT,
    PAGE_SHEETS,
    Sheet,
    body_height,
    font_size,
    panels,
    stub_limit,
    text_height,
    width,
)

#: commands that a table may use -> their definitions, which the document can give first
COMMANDS = {
    r"\diadfit": r"""\providecommand{\diadtry}[4]{\sbox0{\setlength{\tabcolsep}{#3}\fontsize{#1}{#2}\selectfont#4}}
\providecommand{\diadfit}[1]{% the largest of 9, 8 and 7 pt that fits
  \diadtry{9}{10.8}{4pt}{#1}\ifdim\wd0>\linewidth\diadtry{8}{9.6}{3pt}{#1}\fi
  \ifdim\wd0>\linewidth\diadtry{7}{8.4}{1.75pt}{#1}\fi\usebox0}""",
    r"\diadmark": r"\providecommand{\diadmark}[1]{\raisebox{.55ex}{\fontsize{7}{7}\selectfont#1}}",
    r"\diadlevel": r"\providecommand{\diadlevel}[1]{\raisebox{-.35ex}{\fontsize{7}{7}\selectfont\itshape#1}}",
    r"\diadstd": r"\providecommand{\diadstd}[1]{{\fontsize{7}{8.4}\selectfont\,$\pm$\,#1}}",
    r"\diadunicode": r"\providecommand{\diadunicode}[2]{\texttt{U+#1}}",
}
BREAK = r"\\"
COLOURS = {"diadbest": "DCE9F5", "diadsecond": "F1F6FB"}
PACKAGES = (
    (r"\toprule", r"\usepackage{booktabs}"),
    (r"\cellcolor", r"\usepackage[table]{xcolor}"),
    (r"\textquotedbl", r"\usepackage[T1]{fontenc}"),
    (r"\textquotesingle", r"\usepackage{textcomp}"),
)


@dataclass
class Column:
    """A column of figures: its heads from top to bottom, its cells, and its block, as LaTeX source."""

    heads: tuple[str, ...]
    cells: list[str]
    block: object = ""


@dataclass
class Rows:
    """A table as LaTeX source, cell by cell.

    Attributes:
        name: Name of the file and the label.
        caption: LaTeX source.
        stub_head: Head of the first column.
        stub: First cell of each row.
        columns: All other columns.
        groups: Row -> text above it, over the whole width.
        rules: Rows with a rule above them.
        notes: LaTeX source of each note.
        label: Label in place of ``tab:NAME``.
        short: Caption of the parts after the first, if a table is split.
    """

    name: str
    caption: str
    stub_head: str
    stub: list[str]
    columns: list[Column]
    groups: dict[int, list[str]] = field(default_factory=dict)
    rules: set[int] = field(default_factory=set)
    notes: list[str] = field(default_factory=list)
    label: str = ""
    short: str = ""


def write_rows(rows: Rows, *, two_columns: bool | None = False) -> str:
    """Return the text of a file with one ``table``, or several if one would be too long.

    Args:
        rows: The table.
        two_columns: ``table*``, over both columns of the page; ``None``: if one column can't hold it in one panel.
    """
    two_columns = len(_panels(rows, COLUMN_PT)) > 1 if two_columns is None else two_columns
    limit, sheets = (PAGE_PT, PAGE_SHEETS) if two_columns else (COLUMN_PT, COLUMN_SHEETS)
    pieces = [Piece(panel, range(len(rows.stub))) for panel in _panels(rows, limit)]
    if _fits(rows, pieces, rows.notes, limit, sheets):
        floats = [Float(pieces, rows.notes)]
    else:
        floats = _notes_below(
            [Float([part]) for piece in pieces for part in _short(rows, piece, limit, sheets)], rows, limit, sheets
        )
    label = rows.label or f"tab:{rows.name}"
    parts = []
    for number, each in enumerate(floats, 1):
        caption = rows.caption if number == 1 else rows.short or rows.caption
        caption += f" Part {number} of {len(floats)}." if len(floats) > 1 else ""
        own = label if number == 1 else f"{label}-{number}"
        body = _stacked_panels([_tabular(rows, piece, limit) for piece in each.pieces])
        parts.append(_environment(caption, own, body, each.notes, two_columns))
    return head_of_file("\n".join(parts), two_columns=two_columns) + "\n".join(parts)


@dataclass(frozen=True)
class Piece:
    """Columns and rows of a table that stand in one ``tabular``."""

    panel: tuple[int, ...]
    rows: range


@dataclass(frozen=True)
class Float:
    """Pieces below each other in one environment, and the notes below them."""

    pieces: Sequence[Piece]
    notes: Sequence[str] = ()


def _fits(rows: Rows, pieces: Sequence[Piece], notes: Sequence[str], limit: float, sheets: Sequence[Sheet]) -> bool:
    """Whether pieces below each other, with caption and notes, are no taller than a page of any class."""
    return all(_height(rows, pieces, notes, limit, sheet) <= sheet.height for sheet in sheets)


def _height(rows: Rows, pieces: Sequence[Piece], notes: Sequence[str], limit: float, sheet: Sheet) -> float:
    stub = [rows.stub_head, *rows.stub]
    texts = [[*column.heads, *column.cells] for column in rows.columns]
    sizes = [font_size(stub, [texts[place] for place in piece.panel], sheet.width) for piece in pieces]
    bodies = sum(
        (body_height(_tabular(rows, piece, limit)) + _more(rows, piece, limit)) * min(sizes) + 6 for piece in pieces
    )
    below = sum(text_height(text, LEAST, sheet.width) for text in notes) + (6 if notes else 0)
    return bodies + text_height(f"{rows.caption} Table 10: Part 1 of 9.", 10.0, sheet.width) + below


def _more(rows: Rows, piece: Piece, limit: float) -> float:
    """Return the height of the further lines of long first cells, in em."""
    lines = (math.ceil(width(rows.stub[place], LEAST) / (0.93 * stub_limit(limit))) for place in piece.rows)
    return 1.2 * sum(count - 1 for count in lines if count > 1)


def _short(rows: Rows, piece: Piece, limit: float, sheets: Sequence[Sheet]) -> list[Piece]:
    """Divide a piece that is taller than a page, between its groups if it can be."""
    if len(piece.rows) < 2 or _fits(rows, [piece], (), limit, sheets):
        return [piece]
    first, stop = piece.rows.start, piece.rows.stop
    ends = range(first + 1, stop)

    def is_tall(end: int) -> bool:
        return not _fits(rows, [Piece(piece.panel, range(first, end))], (), limit, sheets)

    fitting = ends[: bisect_left(ends, True, key=is_tall)] or ends[:1]
    end = next((end for end in reversed(fitting) if end in rows.groups), fitting[-1])
    top, rest = (Piece(piece.panel, range(*part)) for part in ((first, end), (end, stop)))
    return [top, *_short(rows, rest, limit, sheets)]


def _notes_below(floats: list[Float], rows: Rows, limit: float, sheets: Sequence[Sheet]) -> list[Float]:
    """Put the notes below the last float; those that its page has no room for stand in floats of their own."""
    found = list(floats)
    for note in rows.notes:
        last = found[-1]
        if _fits(rows, last.pieces, [*last.notes, note], limit, sheets):
            found[-1] = Float(last.pieces, [*last.notes, note])
        else:
            found.append(Float((), [note]))
    return found


def _panels(rows: Rows, limit: float) -> tuple[tuple[int, ...], ...]:
    texts = [[*column.heads, *column.cells] for column in rows.columns]
    return panels([rows.stub_head, *rows.stub], texts, [column.block for column in rows.columns], limit)


def _stacked_panels(bodies: Sequence[str]) -> str:
    """Return panels below each other in one box, so that they have the same size."""
    if len(bodies) < 2:
        return "".join(bodies)
    return "\n".join([r"\begin{tabular}{@{}c@{}}", "\\\\[6pt]\n".join(bodies), r"\end{tabular}"])


def head_of_file(text: str, *, two_columns: bool = False) -> str:
    """Return the comment with the packages of a file, and the definitions that it uses."""
    needs = [package for command, package in PACKAGES if command in text]
    target = "both columns of the page" if two_columns else "one column"
    lines = [f"% A table over {target}. It needs, in the preamble:", *(f"%   {package}" for package in needs)]
    lines += [definition for command, definition in COMMANDS.items() if command in text]
    lines += [rf"\providecolor{{{name}}}{{HTML}}{{{code}}}" for name, code in COLOURS.items() if name in text]
    return "\n".join([*lines, ""])


def _environment(caption: str, label: str, body: str, notes: Sequence[str], two_columns: bool) -> str:
    environment = "table*" if two_columns else "table"
    small = rf"\fontsize{{{LEAST:g}}}{{{1.2 * LEAST:.3g}}}\selectfont"
    below = ["", r"\smallskip", rf"\parbox{{\linewidth}}{{{small}\raggedright {BREAK.join(notes)}}}"] if notes else []
    return "\n".join(
        [
            rf"\begin{{{environment}}}[tbp]",
            r"\centering",
            r"\setlength{\abovecaptionskip}{0pt}\setlength{\belowcaptionskip}{4pt}",
            rf"\caption{{{caption}}}",
            rf"\label{{{label}}}",
            *([r"\diadfit{%", body + "}"] if body else []),
            *below,
            rf"\end{{{environment}}}",
            "",
        ]
    )


def _tabular(rows: Rows, piece: Piece, limit: float) -> str:
    columns = [rows.columns[place] for place in piece.panel]
    broken = max(width(text, LEAST) for text in [rows.stub_head, *rows.stub]) > stub_limit(limit)
    # in em, so that it grows with the font size; an em of Computer Modern at 7 pt is 8.2 pt
    first = f"p{{{stub_limit(limit) / 8.2:.1f}em}}" if broken else "l"
    lines = [
        rf"\begin{{tabular}}{{@{{}}{first}{'c' * len(columns)}@{{}}}}",
        r"\toprule",
        *_head_lines(rows.stub_head, columns),
        r"\midrule",
    ]
    begin = piece.rows.start
    groups = dict(rows.groups)
    if groups:  # a divided group has its text again
        groups.setdefault(begin, groups[max(place for place in groups if place <= begin)])
    for place in piece.rows:
        lines += [r"\midrule"] if place in rows.rules and place > begin else []
        if place in groups:
            lines += [r"\addlinespace"] if place > begin else []
            span = rf"\multicolumn{{{1 + len(columns)}}}{{@{{}}l}}"
            lines += [rf"{span}{{{line}}} \\" for line in _folded(groups[place], 0.9 * limit)]
        text = rf"\raggedright {rows.stub[place]}" if broken else rows.stub[place]
        lines.append(" & ".join([text, *(column.cells[place] for column in columns)]) + r" \\")
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}"])


def _folded(words: Sequence[str], limit: float) -> list[str]:
    """Return the text above a block as lines that are no wider than ``limit`` points."""
    lines = [words[0]]
    for word in words[1:]:
        joined = f"{lines[-1]} {word}"
        lines[-1:] = [joined] if width(joined, LEAST) <= limit else [lines[-1], word]
    return [rf"\textit{{{line}}}" for line in lines]


def _head_lines(stub_head: str, columns: Sequence[Column]) -> list[str]:
    """Return one line for each level of heads; equal neighbours of upper levels are joined, with a rule below."""
    lines = []
    levels = len(columns[0].heads)
    for level in range(levels - 1):
        spans = _spans([column.heads[: level + 1] for column in columns])
        shown = [columns[start].heads[level] for start, _ in spans]
        if not any(shown):
            continue
        cells = [rf"\multicolumn{{{stop - start}}}{{c}}{{{text}}}" for (start, stop), text in zip(spans, shown)]
        lines.append(" & ".join(["", *cells]) + r" \\")
        rules = [rf"\cmidrule(lr){{{start + 2}-{stop + 1}}}" for (start, stop), text in zip(spans, shown) if text]
        lines.append(" ".join(rules))
    return [*lines, " & ".join([stub_head, *(column.heads[-1] for column in columns)]) + r" \\"]


def _spans(keys: Sequence[object]) -> list[tuple[int, int]]:
    starts = [i for i in range(len(keys)) if i == 0 or keys[i] != keys[i - 1]]
    return list(zip(starts, [*starts[1:], len(keys)]))
