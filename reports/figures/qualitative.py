"""The qualitative grid: selected images, ground truth, and every method's map on one scale."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.figure import Figure

from diadbench.common.heatmap import PALETTE, paint
from diadbench.reports.figures.gallery import Choice, Picture, choose, gallery_of, scale
from diadbench.reports.figures.look import Look
from diadbench.reports.figures.style import COLUMN, PAGE, SIZE, bare, embolden, heading, label, text_width
from diadbench.reports.tables.source import Source

Array = npt.NDArray[Any]
GAP, COLUMNS = 6, 10
#: side of an embedded picture
DPI = 250
#: maximum number of pages of a dataset; beyond it, each class shows only its median
PAGES = 4
#: height of a figure's pictures in inches, which leaves room for heads and a caption on a page
HEIGHT = 7.6
#: colour of the true mask's contour, unlike all colours of the palette
CONTOUR = (0, 255, 255)
#: reconstructions that differ by less than this (of 255) between the images of a class are left out
SAME = 4


@dataclass(frozen=True)
class Column:
    """A column of the grid: its head, its method (``""``: none), and whether it shows reconstructions."""

    head: str
    method: str = ""
    rebuilt: bool = False


def qualitative(source: Source, dataset: str) -> list[Figure]:
    """Draw the selected images of a dataset, with one page of rows per figure, and at most ten methods.

    With more rows than four figures hold, each class shows only its median image.
    """
    gallery = gallery_of(source, dataset)
    chosen = choose(gallery, source.show.images or ("median",))
    if not chosen:
        return []
    look = Look.of(source)
    notes = [f"The first {COLUMNS} of {len(gallery)} methods"] if len(gallery) > COLUMNS else []
    gallery = dict(list(gallery.items())[:COLUMNS])
    columns, without = _columns(gallery)
    if without:
        notes.append(f"Not shown: reconstructions that are the same for all images of a class ({', '.join(without)})")
    grid = _Grid(dataset, gallery, columns, look, chosen)
    if len(chosen) > PAGES * grid.rows:
        chosen = [choice for choice in chosen if choice.why in ("median", "only")] or chosen
        notes.append("Of each class the median image alone")
    return [grid.draw(rows, notes) for rows in _pages(chosen, grid.rows)]


def _columns(gallery: Mapping[str, list[Picture]]) -> tuple[list[Column], list[str]]:
    """Return the columns, and the methods whose reconstructions are left out."""
    columns, without = [Column("Image"), Column("Ground truth")], []
    for method, shown in gallery.items():
        columns.append(Column(method, method))
        if any(picture.maps()[1] is not None for picture in shown[:3]):
            if tells_something(shown):
                columns.append(Column(f"{method} reconstruction", method, rebuilt=True))
            else:
                without.append(method)
    return columns, without


def tells_something(shown: Sequence[Picture]) -> bool:
    """Return whether a method's reconstructions depend on the images, rather than being one picture for a class."""
    first: dict[str, Array] = {}
    compared = 0
    for picture in shown:
        rebuilt = picture.maps()[1]
        if rebuilt is None:
            continue
        other = first.setdefault(picture.kind, rebuilt)
        if other is not rebuilt:
            compared += 1
            if other.shape != rebuilt.shape or int(np.abs(other.astype(int) - rebuilt).max()) >= SAME:
                return True
        if compared >= 8:
            break
    return not compared


def _pages(chosen: Sequence[Choice], most: int) -> list[list[Choice]]:
    """Split the rows into pages; classes are kept together if they fit."""
    pages: list[list[Choice]] = []
    page: list[Choice] = []
    for kind in dict.fromkeys(choice.kind for choice in chosen):
        rows = [choice for choice in chosen if choice.kind == kind]
        if page and len(page) + len(rows) > most:
            pages.append(page)
            page = []
        page = [*page, *rows]
        while len(page) > most:
            pages.append(page[:most])
            page = page[most:]
    return [*pages, page] if page else pages


class _Grid:
    """The sizes of a dataset's grid, and a function that draws a page of it."""

    def __init__(
        self,
        dataset: str,
        gallery: Mapping[str, list[Picture]],
        columns: list[Column],
        look: Look,
        chosen: Sequence[Choice],
    ) -> None:
        self.dataset, self.columns, self.look = dataset, columns, look
        self.by_row = {method: {picture.row: picture for picture in shown} for method, shown in gallery.items()}
        self.limits = {method: scale(shown) for method, shown in gallery.items()}
        self.one_why = len({choice.why for choice in chosen}) == 1
        self.left = max(text_width(self._row_head(choice)) for choice in chosen) + 0.1
        self.right = 0.5
        self.width = COLUMN if len(columns) <= 4 else PAGE
        self.inch = min(1.0, (self.width - self.left - self.right) / len(columns))
        self.rows = max(1, int(HEIGHT / self.inch))

    def _row_head(self, choice: Choice) -> str:
        return label(choice.kind, 40) if self.one_why or not choice.why else f"{label(choice.kind, 40)}\n{choice.why}"

    def draw(self, rows: Sequence[Choice], notes: Sequence[str]) -> Figure:
        """Return the figure of one page."""
        heads, level = self._heads()
        weights = ["bold" if column.method in self.look.ours else "normal" for column in self.columns]
        size = max(text_width(head, SIZE, weight) for head, weight in zip(heads, weights))
        top = 0.13 * max(head.count("\n") + 1 for head in heads) + 0.08 if level else 0.66 * size + 0.2
        body = self.inch * len(rows)
        shown = self.look.titles
        figure = Figure(figsize=(self.width, 1.0))
        why = f" ({rows[0].why} image of each class)" if self.one_why and rows[0].why not in ("", "only") else ""
        scales = "One scale a method, over all its images; the contour is that of the ground truth"
        heading(figure, f"{self.dataset}: images and maps{why}", [scales, *notes], shown=shown)
        said = 0.145 * (figure.get_suptitle().count("\n") + 1) + 0.05 if shown else 0.0
        height = said + top + body + 0.05
        figure.set_figheight(height)
        if shown:
            figure.suptitle(figure.get_suptitle(), y=1 - 0.02 / height)
        wide = self.inch * len(self.columns)
        axes = figure.add_axes(
            (self.left / self.width, 0.05 / height, wide / self.width, body / height), label="pictures"
        )
        axes.imshow(self._canvas(rows), interpolation="nearest", aspect="auto")
        self._name(axes, rows, heads, level=level)
        self._bar(figure, (self.left + wide + 0.06) / self.width, height, body)
        return figure

    def _heads(self) -> tuple[list[str], bool]:
        """Return the heads of the columns, in several lines if they then fit, and whether they are horizontal."""
        heads = [_wrapped(column, self.inch - 0.05, self.look) for column in self.columns]
        if all(heads):
            return heads, True
        return [label(column.head, 60) for column in self.columns], False

    def _canvas(self, rows: Sequence[Choice]) -> Array:
        side = round(DPI * self.inch)  # enough for print; a higher resolution only makes the file large and slow
        size = (len(rows) * (side + GAP) - GAP, len(self.columns) * (side + GAP) - GAP, 3)
        canvas = np.full(size, 255, np.uint8)
        for line, choice in enumerate(rows):
            for place, column in enumerate(self.columns):
                y, x = line * (side + GAP), place * (side + GAP)
                canvas[y : y + side, x : x + side] = self._tile(column, choice.row, side)
        return canvas

    def _tile(self, column: Column, row: int, side: int) -> Array | int:
        """Return a picture ``uint8 (side,side,3)``, grey if there is none."""
        picture = self.by_row[column.method or next(iter(self.by_row))][row]
        if not column.method:
            tile = picture.image if column.head == "Image" else _truth(picture)
            return 235 if tile is None else fit(tile, side)
        heat, rebuilt = picture.maps()
        if column.rebuilt:
            return 235 if rebuilt is None else fit(rebuilt, side)
        if heat is None:
            return 235
        return with_contour(fit(paint(heat, *self.limits[column.method]), side), picture.mask)

    def _name(self, axes: Axes, rows: Sequence[Choice], heads: list[str], *, level: bool) -> None:
        bare(axes)
        axes.tick_params(length=0, pad=2)
        step = round(DPI * self.inch) + GAP
        middle = (step - GAP) / 2
        axes.set_yticks([line * step + middle for line in range(len(rows))], [self._row_head(row) for row in rows])
        axes.xaxis.tick_top()
        turned: dict[str, Any] = {} if level else {"rotation": 40, "ha": "left", "rotation_mode": "anchor"}
        axes.set_xticks([place * step + middle for place in range(len(heads))], heads, **turned)
        ours = {head for head, column in zip(heads, self.columns) if column.method in self.look.ours}
        embolden(axes.get_xticklabels(), ours)

    def _bar(self, figure: Figure, left: float, height: float, body: float) -> None:
        """Draw the colour scale of the maps beside them, with a limited length."""
        length = min(1.1, body - 0.1)
        bottom = (0.05 + (body - length) / 2) / height
        place = figure.add_axes((left, bottom, 0.08 / self.width, length / height), label="scale")
        bar = figure.colorbar(ScalarMappable(cmap=PALETTE), cax=place, ticks=[0, 1])
        bar.ax.set_yticklabels(["low", "high"])
        bar.ax.tick_params(length=0, pad=2)
        bar.outline.set_visible(False)


def _wrapped(column: Column, width: float, look: Look) -> str:
    """Return a head in as many lines as it needs, at most three; ``""`` if a word is too wide."""
    weight = "bold" if column.method in look.ours else "normal"
    lines = [""]
    for word in label(column.head, 60).replace("-", "- ").split():
        joined = lines[-1] + word if lines[-1].endswith("-") or not lines[-1] else f"{lines[-1]} {word}"
        if text_width(joined, SIZE, weight) <= width:
            lines[-1] = joined
        elif text_width(word, SIZE, weight) <= width:
            lines.append(word)
        else:
            return ""
    lines = [line for line in lines if line]
    return "\n".join(lines) if len(lines) <= 3 else ""


def _truth(picture: Picture) -> Array | None:
    """Return the mask as an image; grey when there is none, black for a normal image."""
    if picture.mask is None:
        return None if picture.label else np.zeros_like(picture.image)
    return np.repeat((picture.mask[..., None] * 255).astype(np.uint8), 3, axis=2)


def fit(tile: Array, side: int) -> Array:
    """Resize a picture of any size to a tile ``uint8 (side,side,3)``."""
    from PIL import Image

    return np.asarray(Image.fromarray(tile).resize((side, side), Image.Resampling.BILINEAR))


def with_contour(tile: Array, mask: Array | None) -> Array:
    """Return a painted map ``uint8 (S,S,3)`` with the contour of the true mask, two pixels wide, just outside it."""
    if mask is None or not mask.any():
        return tile
    inside = fit(np.repeat((mask[..., None] * 255).astype(np.uint8), 3, axis=2), tile.shape[0])[..., 0] > 127
    grown = inside.copy()
    for _ in range(2):
        wide = np.pad(grown, 1)
        grown = wide[1:-1, 1:-1] | wide[:-2, 1:-1] | wide[2:, 1:-1] | wide[1:-1, :-2] | wide[1:-1, 2:]
    drawn = tile.copy()
    drawn[grown & ~inside] = CONTOUR
    return drawn
