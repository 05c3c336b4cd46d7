"""Figures of the means: grouped bars and the heat map of classes."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from diadbench.reports.figures.look import Look
from diadbench.reports.figures.style import (
    COLUMN,
    PAGE,
    SMALL,
    embolden,
    heading,
    label,
    legend,
    new_figure,
    text_width,
    upright,
)
from diadbench.reports.tables.labels import Metric
from diadbench.reports.tables.rows.result_rows import printed

MANY = 8
#: an axis of percent begins at 0 unless all bars are longer than this; otherwise the figure marks the break
LONG = 30.0
Floats = npt.NDArray[np.float64]


def mathtext(metric: str, *, mean: bool = True) -> str:
    """Return a metric's name with its level as an index, for matplotlib."""
    info = Metric(metric, mean)
    return f"{label(info.base)}$_{{{info.level}}}$" if info.level else label(info.base)


def bars(table: pd.DataFrame, metric: str, look: Look) -> Figure | None:
    """Draw the mean of every method on every dataset; whiskers are standard deviations over seeds, within [0, 100]."""
    rows = table[(table["scope"] == "mean") & (table["metric"] == metric)]
    values = rows.pivot(index="dataset", columns="method", values="value").reindex(columns=look.methods) * 100
    values = values.reindex(list(dict.fromkeys(rows["dataset"]))).dropna(how="all").dropna(how="all", axis=1)
    if values.empty:
        return None
    spread = rows.pivot(index="dataset", columns="method", values="std").reindex_like(values) * 100
    start = begin(values - spread.fillna(0))
    draw = _long_bars if values.shape[1] > MANY else _short_bars
    figure = draw(values, spread, metric, look, start)
    notes = [f"Missing: {', '.join(name for name in look.methods if name not in values)}"]
    notes += ["Whiskers: standard deviation over seeds, within [0, 100]"] if spread.notna().any(axis=None) else []
    notes += [f"The axis begins at {start:g}; the break is marked"] if start else []
    title = f"{Metric(metric).text} of methods and datasets"
    heading(figure, title, notes[values.shape[1] == len(look.methods) :], shown=False)
    return figure


def begin(values: pd.DataFrame) -> float:
    """Return the start of an axis of percent: 0 if any value is below :data:`LONG`, else slightly below the least."""
    least = float(np.nanmin(values.to_numpy(float)))
    return 0.0 if least < LONG else max(0.0, 10 * math.floor((least - 5) / 10))


def whiskers(values: Floats, spread: Floats) -> Floats:
    """Return the lengths of whiskers below and above values of percent, ``(2,n)``, cut at 0 and 100."""
    spread = np.nan_to_num(spread)
    return np.stack([np.minimum(spread, values), np.minimum(spread, 100 - values)]).clip(0)


def _short_bars(values: pd.DataFrame, spread: pd.DataFrame, metric: str, look: Look, start: float) -> Figure:
    figure = new_figure(COLUMN if values.size <= 18 else PAGE, 2.2)
    axes = figure.add_subplot()
    count = values.shape[1]
    step = 0.82 / count
    drawn: dict[str, Any] = {}
    for place, method in enumerate(values):
        x = np.arange(len(values)) + (place - (count - 1) / 2) * step
        drawn[label(method)] = axes.bar(x, values[method], step * 0.9, color=look.styles[str(method)].colour)
        some = spread[method].notna().to_numpy()
        if some.any():
            height = values[method].to_numpy(float)[some]
            lengths = whiskers(height, spread[method].to_numpy(float)[some])
            axes.errorbar(x[some], height, lengths, fmt="none", ecolor="#222222", elinewidth=0.7, capsize=1.2)
    upright(axes, [label(name) for name in values.index], (figure.get_figwidth() - 0.5) / len(values))
    axes.set_ylim(start, 100)
    _break(axes, start, "y")
    axes.set_ylabel(f"{mathtext(metric)} (%)")
    axes.grid(axis="y")
    axes.tick_params(axis="x", length=0)
    legend(figure, drawn, look.bold, above=True)
    return figure


def _break(axes: Axes, start: float, axis: str) -> None:
    """Draw a white wave across bars and axis if an axis doesn't begin at 0."""
    if not start:
        return
    along = np.linspace(-0.02, 1, 300)
    across = 0.05 + 0.008 * np.sin(along * 120)
    x, y = (along, across) if axis == "y" else (across, along)
    for width, colour in ((3.4, axes.spines["left"].get_edgecolor()), (2.4, "white")):
        outside = slice(0, 12) if colour != "white" else slice(None)  # The axis itself has an edge on both sides.
        axes.plot(
            x[outside], y[outside], color=colour, linewidth=width, transform=axes.transAxes, clip_on=False, zorder=3,
            solid_capstyle="butt", gid="break",
        )  # fmt: skip


def _long_bars(values: pd.DataFrame, spread: pd.DataFrame, metric: str, look: Look, start: float) -> Figure:
    """Draw one panel per dataset, with the best method on top."""
    order = list(values.mean().sort_values().index)
    columns = min(5, len(values))
    lines = -(-len(values) // columns)
    figure = new_figure(PAGE if columns > 1 else COLUMN, lines * (0.6 + 0.145 * len(order)))
    panels = figure.subplots(lines, columns, sharey=True, squeeze=False).ravel()
    for axes, (dataset, row) in zip(panels, values.iterrows()):
        height = row[order].to_numpy(float)
        lengths = whiskers(np.nan_to_num(height), spread.loc[[dataset], order].iloc[0].to_numpy(float))
        axes.barh(
            range(len(order)), height, 0.72, color=[look.styles[m].colour for m in order],
            xerr=lengths if lengths.any() else None, error_kw={"elinewidth": 0.6, "ecolor": "#222222"},
        )  # fmt: skip
        axes.set_xlim(start, 100)
        axes.set_ylim(-0.6, len(order) - 0.4)
        axes.xaxis.set_major_locator(MaxNLocator(3, steps=[1, 2, 5, 10]))
        axes.set_title(label(dataset))
        axes.grid(axis="x")
        _break(axes, start, "x")
    for axes in panels[len(values) :]:
        axes.set_visible(False)
    for axes in panels[::columns]:
        axes.set_yticks(range(len(order)), [label(name) for name in order])
        embolden(axes.get_yticklabels(), look.bold)
    figure.supxlabel(f"{mathtext(metric)} (%)")
    return figure


def heat_map(table: pd.DataFrame, dataset: str, metric: str, look: Look) -> Figure | None:
    """Draw one metric of every class and method of a dataset as a heat map with numbers.

    Classes are placed side by side if they fit a page, else below each other.
    """
    rows = table[(table["scope"] == "class") & (table["dataset"] == dataset) & (table["metric"] == metric)]
    values = rows.pivot(index="method", columns="class", values="value")
    values = values.reindex(index=look.methods, columns=list(dict.fromkeys(rows["class"]))).dropna(how="all")
    if values.empty:
        return None
    cell = text_width(printed(1.0, look.digits), SMALL) + 0.08
    if _needed(values, cell) > PAGE and _needed(values.T, cell) < _needed(values, cell):
        values = values.T
    needed = _needed(values, cell)
    figure = new_figure(COLUMN if needed <= COLUMN else PAGE, 1.0)
    axes = figure.add_subplot()
    shown = axes.imshow(values.to_numpy(float) * 100, aspect="auto", cmap="viridis")
    columns, lines = [label(name) for name in values.columns], [label(name) for name in values.index]
    inner = figure.get_figwidth() - _margins(lines)
    upright(axes, columns, inner / len(columns), look.bold)
    axes.set_yticks(range(len(lines)), lines)
    embolden(axes.get_yticklabels(), look.bold)
    axes.tick_params(length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)
    turned = axes.get_xticklabels()[0].get_rotation() > 0
    under = 0.66 * max(map(text_width, columns)) + 0.1 if turned else 0.2
    figure.set_figheight(0.17 * len(lines) + under + (0.3 if look.titles else 0.1))
    if needed <= PAGE:  # Otherwise too small to read: only colours.
        _write(axes, values, look.digits)
    bar = figure.colorbar(shown, ax=axes, pad=0.01, fraction=0.04)
    bar.outline.set_visible(False)
    bar.ax.yaxis.set_major_locator(MaxNLocator(4))
    name = Metric(metric, mean=False)
    heading(figure, f"{dataset}: {name.text} by class (%)", shown=False)
    if look.titles:
        axes.set_title(f"{label(dataset)}: {mathtext(metric, mean=False)} (%)", loc="left")
    return figure


def _margins(lines: list[str]) -> float:
    """Return the widths of the margins left and right of a heat map's cells, in inches."""
    return max(map(text_width, lines)) + 0.65


def _needed(values: pd.DataFrame, cell: float) -> float:
    """Return the width at which a heat map's numbers are legible, in inches."""
    return _margins([label(name) for name in values.index]) + cell * values.shape[1]


def _write(axes: Axes, values: pd.DataFrame, digits: int) -> None:
    low, high = np.nanmin(values), np.nanmax(values)
    for (line, column), value in np.ndenumerate(values.to_numpy(float)):
        dark = not np.isfinite(value) or value > low + 0.55 * (high - low)
        axes.text(
            column,
            line,
            printed(value, digits),
            ha="center",
            va="center",
            fontsize=SMALL,
            color="black" if dark else "white",
        )
