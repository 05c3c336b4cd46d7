"""Estimate the width and height of what LaTeX sets, to find the columns and rows of a table that fit on a page in 7 pt.

Widths are estimates from Computer Modern, which is wider than Times, so tables that fit here fit in journal classes.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple


class Sheet(NamedTuple):
    """A column or a page of a journal class, in points."""

    width: float
    height: float


#: widths in points that tables are made for: the narrowest column (``article`` with two columns; CVPR and IEEE have
#: 237 and 252), and the narrowest page (``article`` with one column; CVPR and IEEE have 496 and 516)
COLUMN_PT, PAGE_PT = 198.0, 343.0
#: what tables over one column, and over a page, are made for: ``article``, CVPR, IEEE
COLUMN_SHEETS = (Sheet(COLUMN_PT, 550.0), Sheet(237.0, 639.0), Sheet(252.0, 672.0))
PAGE_SHEETS = (Sheet(PAGE_PT, 550.0), Sheet(496.0, 639.0), Sheet(516.0, 672.0))
#: maximum number of rows of a table on one page; a longer table is split
PAGE_ROWS = 48
#: smallest font size
LEAST = 7.0
#: minimum space between two columns
GAP = 3.5
#: widths of Computer Modern at 10 pt, in em; small sizes are relatively wider
_WIDTHS = {
    **dict.fromkeys("ijl.,:;'|![]", 0.28),
    **dict.fromkeys("tfrsI()-", 0.4),
    **dict.fromkeys("acezgo0123456789/=", 0.5),
    **dict.fromkeys("bdhknpquvxyS*", 0.556),
    **dict.fromkeys("EFLJPBT", 0.68),
    **dict.fromkeys("mwACDGHKNOQRUVXYZ+±", 0.78),
    **dict.fromkeys("MW@%", 1.03),
    " ": 0.34,
    "\u2009": 0.17,  # a thin space
}
_WIDER = {9.0: 1.03, 8.0: 1.0625, 7.0: 1.14}
_BOLD = 1.16


@lru_cache(maxsize=1 << 16)
def width(source: str, size: float) -> float:
    """Return the width in points of LaTeX source on one line; of stacked lines, that of the widest."""
    lines = source.removeprefix(r"\shortstack{").split(r"\\")
    return max(_line(line, size) for line in lines)


def _line(source: str, size: float) -> float:
    bold = r"\textbf" in source
    text = re.sub(r"\\cite\{[^}]*\}", "[00]", source.replace(r"\allowbreak{}", ""))
    text = re.sub(r"\\diadunicode\{[^}]*\}\{[^}]*\}", "U+MMMM", text)
    text = re.sub(r"\\diadstd\{([^}]*)\}", "\u2009±\u2009\\1", text).replace(r"\,", "\u2009").replace("~", " ")
    text = re.sub(r"\\cellcolor\{[^}]*\}|\\(?:textbf|textit|underline|diadmark|diadlevel|shortstack)\b", "", text)
    text = re.sub(r"\\text\w+(?:\{\})?|\\[a-zA-Z]+", "M", text)
    text = re.sub(r"\\(.)", r"\1", text)
    plain = re.sub(r"[{}$]", "", text)
    em = size * _WIDER.get(size, 1.0)
    return sum(_WIDTHS.get(char, 0.78 if ord(char) > 0x7F else 0.6) for char in plain) * em * (_BOLD if bold else 1.0)


def panels(
    stub: Sequence[str], columns: Sequence[Sequence[str]], blocks: Sequence[object], limit: float
) -> tuple[tuple[int, ...], ...]:
    """Return the columns of each panel of a table, with as few panels as 7 pt allow, and of similar width.

    Args:
        stub: Texts of the first column, which every panel repeats.
        columns: Texts of each further column.
        blocks: Block of each column; a panel ends within a block only if the block is too wide.
        limit: Width of the page or column, in points.
    """
    widths = _widths(columns, LEAST)
    room = limit - _stub(stub, LEAST, limit)
    parts = [part for block in _blocks(blocks) for part in _packed([[i] for i in block], widths, room)]
    fewest = len(_packed(parts, widths, room))
    tight = room
    for _ in range(24):  # as narrow as possible with the same number of panels
        smaller = tight * 0.95
        packed = _packed(parts, widths, smaller)
        if len(packed) > fewest or any(_wide(part, widths) > smaller for part in packed):
            break
        tight = smaller
    return tuple(tuple(panel) for panel in _packed(parts, widths, tight))


def _stub(stub: Sequence[str], size: float, limit: float) -> float:
    return min(max(width(text, size) for text in stub), stub_limit(limit))


def stub_limit(limit: float) -> float:
    """Return the width of the first column beyond which its texts are broken into lines."""
    return 0.42 * limit


def _widths(columns: Sequence[Sequence[str]], size: float) -> list[float]:
    return [max(width(text, size) for text in column) for column in columns]


def _blocks(blocks: Sequence[object]) -> list[list[int]]:
    found: list[list[int]] = []
    for place, block in enumerate(blocks):
        if place and blocks[place - 1] == block:
            found[-1].append(place)
        else:
            found.append([place])
    return found


def _wide(part: Sequence[int], widths: Sequence[float]) -> float:
    return sum(widths[place] + GAP for place in part)


def _packed(parts: Sequence[list[int]], widths: Sequence[float], room: float) -> list[list[int]]:
    """Join neighbouring parts that fit together."""
    found: list[list[int]] = []
    for part in parts:
        if found and _wide([*found[-1], *part], widths) <= room:
            found[-1] = [*found[-1], *part]
        else:
            found.append(list(part))
    return found


def font_size(stub: Sequence[str], columns: Sequence[Sequence[str]], limit: float) -> float:
    r"""Return the size in which ``\diadfit`` sets a panel: the largest of 9, 8 and 7 pt that fits."""
    for size, gap in ((9.0, 8.0), (8.0, 6.0)):
        if _stub(stub, size, limit) + sum(each + gap for each in _widths(columns, size)) <= limit:
            return size
    return LEAST


def body_height(body: str) -> float:
    """Return the height of a ``tabular`` in em."""
    return sum(_line_height(line.strip()) for line in body.splitlines())


def _line_height(line: str) -> float:
    if line.startswith((r"\toprule", r"\midrule", r"\bottomrule", r"\cmidrule", r"\addlinespace")):
        return 0.55
    if not line.endswith(r"\\"):
        return 0.0
    return 1.2 * max(cell.count(r"\\") + 1 for cell in line.removesuffix(r"\\").split(" & "))


def text_height(text: str, size: float, limit: float) -> float:
    """Return the height of a paragraph in points; its lines may be a word shorter than ``limit``."""
    return 1.2 * size * math.ceil(width(text, size) / (0.93 * limit))
