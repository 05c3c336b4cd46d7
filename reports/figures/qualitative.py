"""The qualitative grid: images chosen by rule, ground truth, and every method's map on one scale."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.cm import ScalarMappable
from matplotlib.figure import Figure

from diadbench.common.heatmap import PALETTE, paint
from diadbench.reports.figures.gallery import Choice, Picture, choose, gallery_of, scale
from diadbench.reports.figures.style import PAGE, bare, label, new_figure
from diadbench.reports.tables.source import Source

Array = npt.NDArray[Any]
GAP, ROWS, COLUMNS = 4, 12, 10
DPI = 200
#: pages of a dataset; with more rows than these hold, each class shows its median alone
PAGES = 4


def qualitative(source: Source, dataset: str) -> list[Figure]:
    """Draw the chosen images of a dataset, at most twelve rows and ten columns a figure.

    With more rows than four such figures hold, each class shows its median image alone.
    """
    gallery = gallery_of(source, dataset)
    chosen = choose(gallery)
    if not chosen:
        return []
    if len(chosen) > PAGES * ROWS:
        chosen = [choice for choice in chosen if choice.why in ("median", "only")] or chosen
    gallery = dict(list(gallery.items())[:COLUMNS])
    pages: list[list[Choice]] = []
    page: list[Choice] = []
    for kind in dict.fromkeys(choice.kind for choice in chosen):
        rows = [choice for choice in chosen if choice.kind == kind]
        if page and len(page) + len(rows) > ROWS:
            pages.append(page)
            page = []
        page = [*page, *rows]
    return [_page(dataset, gallery, rows) for rows in [*pages, page]]


def _page(dataset: str, gallery: dict[str, list[Picture]], rows: Sequence[Choice]) -> Figure:
    by_row = {method: {picture.row: picture for picture in shown} for method, shown in gallery.items()}
    limits = {method: scale(shown) for method, shown in gallery.items()}
    rebuilt = [m for m, shown in gallery.items() if any(picture.maps()[1] is not None for picture in shown[:3])]
    first = next(iter(by_row.values()))
    names = [
        "image",
        "ground truth",
        *(x for m in gallery for x in ([m, f"{m}: reconstruction"] if m in rebuilt else [m])),
    ]
    inch = min(0.95, (PAGE - 1.2) / len(names))
    side = round(DPI * inch)  # what print shows; more only makes the file large and slow
    canvas = np.full((len(rows) * (side + GAP) - GAP, len(names) * (side + GAP) - GAP, 3), 255, np.uint8)
    for line, choice in enumerate(rows):
        base = first[choice.row]
        tiles: list[Array | None] = [base.image, _truth(base)]
        for method in gallery:
            picture = by_row[method][choice.row]
            heat, reconstruction = picture.maps()
            tiles.append(None if heat is None else paint(heat, *limits[method]))
            if method in rebuilt:
                tiles.append(reconstruction)
        for column, tile in enumerate(tiles):
            y, x = line * (side + GAP), column * (side + GAP)
            canvas[y : y + side, x : x + side] = 235 if tile is None else _fit(tile, side)
    return _draw(canvas, names, rows, dataset, inch)


def _draw(canvas: Array, names: list[str], rows: Sequence[Choice], dataset: str, inch: float) -> Figure:
    width = inch * len(names) + 1.2
    figure = new_figure(width, inch * len(rows) + 0.9)
    axes = figure.add_subplot()
    axes.imshow(canvas, interpolation="nearest")
    bare(axes)
    axes.tick_params(length=0)
    step = (canvas.shape[1] + GAP) / len(names)
    middle = (step - GAP) / 2
    axes.set_yticks(
        [line * step + middle for line in range(len(rows))], [f"{label(c.kind, 14)}\n{c.why}" for c in rows]
    )
    axes.xaxis.tick_top()
    many = len(names) > 6
    axes.set_xticks(
        [column * step + middle for column in range(len(names))],
        [label(name, 26).replace(": ", ":\n") for name in names],
        rotation=35 if many else 0, ha="left" if many else "center", fontsize=6.5,
    )  # fmt: skip
    bar = figure.colorbar(ScalarMappable(cmap=PALETTE), ax=axes, fraction=0.02, pad=0.01, ticks=[0, 1])
    bar.ax.set_yticklabels(["low", "high"])
    bar.outline.set_visible(False)
    figure.supxlabel(f"{label(dataset)}: one scale a method, over all its images", fontsize=6.5)
    return figure


def _truth(picture: Picture) -> Array | None:
    """Return the mask as an image; grey when there is none, black for a normal image."""
    if picture.mask is None:
        return None if picture.label else np.zeros_like(picture.image)
    return np.repeat((picture.mask[..., None] * 255).astype(np.uint8), 3, axis=2)


def _fit(tile: Array, side: int) -> Array:
    """Return a tile of ``side`` x ``side``, whatever its size was."""
    from PIL import Image

    return np.asarray(Image.fromarray(tile).resize((side, side), Image.Resampling.BILINEAR))
