"""Common parts of all figures: sizes, fonts, saving."""

from __future__ import annotations

import math
import re
import textwrap
import warnings
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib import font_manager
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.textpath import text_to_path

from diadbench.common.files import write_with
from diadbench.reports.figures.slim_font import register
from diadbench.reports.tables.escape import clean

#: widths of a column and of a page of a two-column paper, in inches: those of CVPR, which fit IEEE's too
COLUMN, PAGE = 3.25, 6.875
#: size of all text, in points; numbers in the cells of a heat map may have the smaller one
SIZE, SMALL = 8.0, 7.0
GREY = "#59636E"
#: resolution of the PNGs
DPI = 160


CJK = ("Noto Sans CJK SC", "Noto Sans CJK JP", "WenQuanYi Zen Hei", "Source Han Sans SC", "Arial Unicode MS")


@lru_cache(maxsize=1)
def _fonts() -> list[str]:
    """Return DejaVu Sans (subsets first) and, for characters that it lacks, an installed CJK font."""
    names = {font.name for font in font_manager.fontManager.ttflist}
    return [register(), "DejaVu Sans", *(name for name in CJK if name in names)]


@contextmanager
def style() -> Iterator[None]:
    """Set fonts and lines for figures drawn in the block; global settings are restored."""
    settings: dict[Any, Any] = {
        "font.family": _fonts(),
        "mathtext.fontset": "custom",
        **{f"mathtext.{name}": _fonts()[0] for name in ("rm", "it", "bf", "sf", "tt", "cal")},
        "font.size": SIZE,
        **dict.fromkeys(("axes.titlesize", "axes.labelsize", "figure.titlesize", "figure.labelsize"), SIZE),
        **dict.fromkeys(("xtick.labelsize", "ytick.labelsize", "legend.fontsize"), SIZE),
        "hatch.linewidth": 0.5,
        "axes.linewidth": 0.6,
        "axes.edgecolor": GREY,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.axisbelow": True,
        "grid.linewidth": 0.4,
        "grid.color": "#D5DAE0",
        "lines.linewidth": 1.2,
        "legend.frameon": False,
        "pdf.fonttype": 42,
        "figure.facecolor": "white",
        "savefig.facecolor": "white",
        "path.simplify": True,
    }
    with mpl.rc_context(settings), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r"Glyph .* missing from")  # Without a font for a name a box is drawn.
        yield


def new_figure(width: float, height: float) -> Figure:
    """Return an empty figure with automatic layout."""
    return Figure(figsize=(width, height), layout="constrained")


#: a metric's name as captions write it, ``mAU-ROC_I``; drawn with its level as an index
_LEVEL = re.compile(r"\b(m?(?:AU-ROC|AU-PRO|AP|F1-max|IoU-max))_([IPRS])\b")


def heading(figure: Figure, title: str, notes: Iterable[str] = (), *, shown: bool = True) -> None:
    """Set a figure's title and notes as its caption (its label), and draw them above it if ``shown``.

    Args:
        figure: The figure with its final width.
        title: One line.
        notes: Limitations of the figure; wrapped to the figure's width.
        shown: Whether title and notes are drawn.
    """
    said = [text for text in notes if text]
    figure.set_label(" ".join(clean(text).rstrip(".") + "." for text in (title, *said)))
    if shown:
        width = int(figure.get_figwidth() / 0.062)  # letters of 8 pt
        lines = textwrap.wrap(title, width) + [line for note in said for line in textwrap.wrap(note, width)]
        # Lines beyond the second make the figure higher, not the plot flatter.
        figure.set_figheight(figure.get_figheight() + max(0, len(lines) - 2) * 1.3 * SIZE / 72)
        figure.suptitle("\n".join(_LEVEL.sub(r"\1$_{\2}$", line.replace("$", r"\$")) for line in lines))


def text_width(text: str, size: float = SIZE, weight: str = "normal") -> float:
    """Return the width of the widest line of a text in inches, inside :func:`style`; mathematics is parsed."""
    properties = font_manager.FontProperties(family=mpl.rcParams["font.family"], size=size, weight=weight)
    lines = (line.replace(r"\$", "") for line in text.split("\n"))
    measure = text_to_path.get_text_width_height_descent
    return max(float(measure(line, properties, ismath="$" in line)[0]) for line in lines) / 72 if text.strip() else 0.0


def legend(figure: Figure, entries: Mapping[str, Any], ours: Container[str] = (), *, above: bool = False) -> None:
    """Draw a legend outside, in rows in the order of the entries; those of ``ours`` are bold.

    Args:
        figure: The figure.
        entries: ``{text: artist}``.
        ours: Texts that are emphasised.
        above: Above the figure, else below it.
    """
    names = list(entries)
    widest = max(text_width(name, weight="bold") for name in names) + 0.4  # handle and spacing
    most = int(np.clip(figure.get_figwidth() / widest, 1, len(names)))
    lines = -(-len(names) // most)
    columns = -(-len(names) // lines)
    # matplotlib fills columns; the last ones have one entry less.
    order = [name for first in range(columns) for name in names[first::columns]]
    drawn = figure.legend(
        [entries[name] for name in order],
        order,
        loc="outside upper center" if above else "outside lower center",
        ncols=columns,
        handlelength=2.2,
        columnspacing=1.2,
    )
    for text in drawn.get_texts():
        text.set_fontweight("bold" if text.get_text() in ours else "normal")


def panels(figure: Figure, count: int, most: int, **options: Any) -> list[Axes]:
    """Return ``count`` axes in rows of at most ``most``, whose panels fill the figure's width in each row."""
    lines = -(-count // most)
    wide, more = divmod(count, lines)
    counts = [wide + (line < more) for line in range(lines)]
    every = math.lcm(*counts)
    grid = figure.add_gridspec(lines, every)
    found: list[Axes] = []
    for line, columns in enumerate(counts):
        span = every // columns
        for place in range(columns):
            shared = {key: found[0] for key, value in options.items() if value and found}
            found.append(figure.add_subplot(grid[line, place * span : (place + 1) * span], **shared))
    return found


def upright(axes: Axes, names: Sequence[str], width: float, ours: Container[str] = ()) -> None:
    """Write the names of a figure's columns below it: horizontally if all fit ``width`` (in inches), else rotated."""
    level = all(text_width(name, weight="bold" if name in ours else "normal") < width - 0.04 for name in names)
    turned: dict[str, Any] = {} if level else {"rotation": 40, "ha": "right", "rotation_mode": "anchor"}
    axes.set_xticks(range(len(names)), list(names), **turned)
    embolden(axes.get_xticklabels(), ours)


def embolden(texts: Iterable[Any], ours: Container[str]) -> None:
    """Make the texts of emphasised methods bold."""
    for text in texts:
        if text.get_text() in ours:
            text.set_fontweight("bold")


def label(text: object, limit: int = 40) -> str:
    """Return text for a figure: one line, limited in length, and never parsed as mathematics."""
    plain = clean(text)
    plain = plain if len(plain) <= limit else plain[: limit - 1] + "…"
    return plain.replace("$", r"\$")


def save(figure: Figure, folder: Path, name: str) -> list[Path]:
    """Write a figure as PDF and PNG; the same figure gives the same bytes.

    The layout is computed once, for the PDF. The PNG is drawn by the canvas, since ``savefig`` would repeat the layout.
    """
    pdf, png = folder / f"{name}.pdf", folder / f"{name}.png"
    metadata = {"CreationDate": None, "Producer": None}
    write_with(pdf, lambda target: figure.savefig(target, format="pdf", dpi=DPI, metadata=metadata))
    figure.set_layout_engine("none")
    figure.set_dpi(DPI)
    canvas: Any = FigureCanvasAgg(figure)
    write_with(png, lambda target: canvas.print_png(target, metadata={"Software": None}))
    return [pdf, png]


def bare(axes: Axes) -> None:
    """Remove ticks and frame."""
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)
