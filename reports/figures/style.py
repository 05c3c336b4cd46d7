"""What all figures share: sizes, fonts, saving."""

from __future__ import annotations

import atexit
import shutil
import tempfile
import warnings
from collections.abc import Iterator, Sequence
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

from diadbench.common.files import write_with
from diadbench.reports.tables.escape import clean

#: widths of a column and of a page of a two-column paper, in inches
COLUMN, PAGE = 3.4, 7.0
GREY = "#59636E"
#: of the PNGs
DPI = 160


CJK = ("Noto Sans CJK SC", "Noto Sans CJK JP", "WenQuanYi Zen Hei", "Source Han Sans SC", "Arial Unicode MS")
#: what the slim copy of the main font keeps: ASCII, Latin-1 and what labels and axes use
KEPT = [*range(0x20, 0x17F), 0x2013, 0x2014, 0x2018, 0x2019, 0x2022, 0x2026, 0x2212, 0xB1, 0xD7]


@lru_cache(maxsize=1)
def _fonts() -> list[str]:
    """Return DejaVu Sans (a slim copy first) and, for what it lacks, a CJK font that is installed."""
    names = {font.name for font in font_manager.fontManager.ttflist}
    return [_slim_font(), "DejaVu Sans", *(name for name in CJK if name in names)]


def _slim_font() -> str:
    """Register a copy of DejaVu Sans with few letters, which embeds ten times faster in a PDF; return its name."""
    from fontTools.subset import Options, Subsetter
    from fontTools.ttLib import TTFont

    name = "diadbench DejaVu"
    font = TTFont(font_manager.findfont("DejaVu Sans"), recalcTimestamp=False)  # the same bytes tomorrow
    options = Options()
    options.layout_features = []
    options.name_IDs = ["*"]
    options.glyph_names = True
    options.drop_tables += ["GPOS", "GSUB", "GDEF", "kern", "FFTM"]
    subsetter = Subsetter(options=options)
    subsetter.populate(unicodes=KEPT)
    subsetter.subset(font)
    for record in font["name"].names:
        if record.nameID in (1, 4, 16):
            record.string = name
    folder = Path(tempfile.mkdtemp(prefix="diadbench-font-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    font.save(folder / "slim.ttf")
    font_manager.fontManager.addfont(str(folder / "slim.ttf"))
    return name


@contextmanager
def style() -> Iterator[None]:
    """Set fonts and lines for the figures drawn inside; nothing global is left changed."""
    settings: dict[Any, Any] = {
        "font.family": _fonts(),
        "mathtext.fontset": "custom",
        **{f"mathtext.{name}": _fonts()[0] for name in ("rm", "it", "bf", "sf", "tt", "cal")},
        "font.size": 7.5,
        "axes.titlesize": 8,
        "axes.labelsize": 7.5,
        "xtick.labelsize": 7,
        "ytick.labelsize": 7,
        "legend.fontsize": 7,
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
        warnings.filterwarnings("ignore", message=r"Glyph .* missing from")  # no font for a name: a box is drawn
        yield


def new_figure(width: float, height: float) -> Figure:
    """Return an empty figure that lays itself out."""
    return Figure(figsize=(width, height), layout="constrained")


def legend_columns(names: Sequence[str], width: float) -> int:
    """Return how many entries of a legend of 7 pt stand beside each other in ``width`` inches."""
    widest = max(len(name) for name in names) * 0.058 + 0.32  # DejaVu Sans: 0.058 inches a letter, then the handle
    return int(np.clip(width / widest, 1, len(names)))


def label(text: object, limit: int = 28) -> str:
    """Return text for a figure: one line, not too long, and never read as mathematics."""
    plain = clean(text)
    plain = plain if len(plain) <= limit else plain[: limit - 1] + "…"
    return plain.replace("$", r"\$")


def save(figure: Figure, folder: Path, name: str) -> list[Path]:
    """Write a figure as PDF and PNG; the same figure gives the same bytes.

    It is laid out once, for the PDF. The PNG is drawn by its canvas: ``savefig`` would go through the figure once more.
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
    """Take ticks and frame away."""
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)
