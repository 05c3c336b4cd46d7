"""Text from outside (names of methods, datasets, classes; reasons; notes) made harmless for each format.

HTML is escaped by jinja2 itself (``autoescape``); Excel cells are written by :mod:`diadbench.reports.workbook.sheet`.
"""

from __future__ import annotations

import html
import itertools
import re
import unicodedata
from collections.abc import Iterable, Sequence

_LATEX = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "%": r"\%",
    "_": r"\_",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
    "`": r"\textasciigrave{}",
    "'": r"\textquotesingle{}",
    "\u2013": r"\textendash{}",
    "\u2014": r"\textemdash{}",
    "\u2026": r"\ldots{}",
    "\u00b1": r"\ensuremath{\pm}",
    "\u00d7": r"\ensuremath{\times}",
    "\u00a0": "~",
    "\u2020": r"\dag{}",
    "\u2021": r"\ddag{}",
    "\u00a7": r"\S{}",
    "\u00b6": r"\P{}",
}
_MARKDOWN = re.compile(r"([\\`*_{}\[\]<>#|~$^&])")
#: An absolute path on this machine, alone or in quotes; no address of the web, no fraction.
_FOLDERS = re.compile(r"(?<![\w.:/~<>])~?/(?:[^\s/'\"`;:,()]+/)*(?=[^\W\d]|\.)")
_QUOTED_FOLDERS = re.compile(r"(?<=['\"`])~?/(?:[^/'\"`]+/)*(?=[^/'\"`]+/?['\"`])")
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def clean(text: object) -> str:
    """Return ``text`` on one line, without control characters and lone surrogates (no format supports them)."""
    text = str(text)
    if text.isprintable() and (text.isascii() or not any(char in "\u2028\u2029\ufffe\uffff" for char in text)):
        return text.strip()
    kept = (" " if unicodedata.category(char) in ("Cc", "Zl", "Zp") else char for char in text)
    return "".join(
        "\ufffd" if "\ud800" <= char <= "\udfff" or char in "\ufffe\uffff" else char for char in kept
    ).strip()


def latex(text: object) -> str:
    r"""Return ``text`` so that pdflatex prints it as it stands.

    ASCII and the letters of Latin-1 are printed by every font; any other character becomes ``\diadunicode{hex}{char}``,
    which ``main.tex`` defines: the character where the fonts are installed, ``U+4E2D`` where not.
    """
    escaped = "".join(_latex_char(char) for char in clean(text))
    for pair in ("--", ",,"):  # LaTeX would form a ligature.
        while pair in escaped:
            escaped = escaped.replace(pair, pair[0] + "{}" + pair[1])
    # After a line break, a bracket or star would be parsed as its option.
    return "{}" + escaped if escaped.startswith(("[", "*")) else escaped


def _latex_char(char: str) -> str:
    if char in _LATEX:
        return _LATEX[char]
    code = ord(char)
    if code < 0x7F or 0xC0 <= code <= 0xFF:
        return char
    return rf"\diadunicode{{{code:04X}}}{{{char}}}"


def markdown(text: object) -> str:
    """Return ``text`` for a cell of a Markdown table, with all markup characters escaped."""
    return _MARKDOWN.sub(r"\\\1", clean(text)).replace("\\<", "&lt;").replace("\\>", "&gt;").replace("\\&", "&amp;")


def csv_text(text: object) -> str:
    """Return ``text`` for a CSV cell, with an apostrophe before texts that a spreadsheet would run as a formula."""
    plain = clean(text)
    return "'" + plain if plain.startswith(_FORMULA) else plain


def without_folders(text: str) -> str:
    """Return ``text`` with absolute paths as their last part: ``/home/me/VisA`` is ``VisA``; folders are the user's."""
    return _FOLDERS.sub("", _QUOTED_FOLDERS.sub("", text))


def squeeze(text: str) -> str:
    """Return only letters and digits, in lower case, so that ``PatchCore`` and ``patch-core`` are the same."""
    return re.sub(r"[^\w]|_", "", text, flags=re.UNICODE).lower()


def file_names(labels: list[str]) -> dict[str, str]:
    """Return a short, safe and unique file name for each label."""
    names: dict[str, str] = {}
    for label in labels:
        plain = re.sub(r"[^a-z0-9]+", "", squeeze(label).encode("ascii", "ignore").decode())[:40] or "set"
        unique, number = plain, 1
        while unique in names.values():
            number += 1
            unique = f"{plain}{number}"
        names[label] = unique
    return names


# -- tables as HTML for notebooks: plain elements, no style sheet ----------------------------------------------


def escaped(value: object, tag: str = "") -> str:
    """Return a text escaped for HTML, inside an element if ``tag`` is given."""
    plain = html.escape(clean(value))
    return f"<{tag}>{plain}</{tag}>" if tag and plain else plain


def row_of(cells: Iterable[str], tag: str = "td", stub: int = 0) -> str:
    """Return a table row from the contents of its cells; the first ``stub`` of them are left-aligned heads."""
    parts = []
    for place, inside in enumerate(cells):
        kind, style = ("th", ' style="text-align:left"') if place < stub else (tag, "")
        parts.append(f"<{kind}{style}>{inside}</{kind}>")
    return "<tr>" + "".join(parts) + "</tr>"


def group_heads(insides: Sequence[str], stub: int) -> str:
    """Return a row of heads over groups of columns: equal neighbours are joined, after ``stub`` empty cells."""
    parts = ["<th></th>"] * stub
    for inside, same in itertools.groupby(insides):
        parts.append(f'<th colspan="{len(list(same))}" style="text-align:center">{inside}</th>')
    return "<tr>" + "".join(parts) + "</tr>"


def element(caption: str, lines: Sequence[str], notes: Iterable[str] = ()) -> str:
    """Return a table made of its rows, with a caption above and notes below, each on a line."""
    head = f'<caption style="text-align:left">{escaped(caption, "b")}</caption>' if caption else ""
    said = "<br>".join(escaped(note) for note in notes if note)
    return f"<table>{head}{''.join(lines)}</table>" + (f"<p><small>{said}</small></p>" if said else "")
