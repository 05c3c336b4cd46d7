"""Figures of the means: grouped bars, radar, heat map of classes, accuracy against cost."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, NullFormatter, ScalarFormatter

from diadbench.reports.figures.palette import styles
from diadbench.reports.figures.style import COLUMN, GREY, PAGE, label, legend_columns, new_figure
from diadbench.reports.tables.costs import HEADS
from diadbench.reports.tables.frame import DIGITS, printed
from diadbench.reports.tables.labels import MAIN, Metric

MANY = 8
Floats = npt.NDArray[np.float64]


def mathtext(metric: str, *, mean: bool = True) -> str:
    """Return a metric's name with its level as an index, for matplotlib."""
    info = Metric(metric, mean)
    return f"{label(info.base)}$_{{{info.level}}}$" if info.level else label(info.base)


def bars(table: pd.DataFrame, metric: str, methods: Sequence[str]) -> Figure | None:
    """Draw the mean of every method on every dataset; whiskers are standard deviations over seeds."""
    rows = table[(table["scope"] == "mean") & (table["metric"] == metric)]
    values = rows.pivot(index="dataset", columns="method", values="value").reindex(columns=list(methods)) * 100
    values = values.reindex(list(dict.fromkeys(rows["dataset"]))).dropna(how="all")
    if values.empty:
        return None
    spread = rows.pivot(index="dataset", columns="method", values="std").reindex_like(values) * 100
    if len(methods) > MANY:
        return _long_bars(values, spread, metric)
    colours = styles(list(methods))
    figure = new_figure(min(PAGE, max(COLUMN, 0.5 + 0.22 * values.size)), 2.3)
    axes = figure.add_subplot()
    step = 0.82 / len(methods)
    for place, method in enumerate(methods):
        x = np.arange(len(values)) + (place - (len(methods) - 1) / 2) * step
        axes.bar(x, values[method], step * 0.92, color=colours[method][0], label=label(method))
        some = spread[method].notna()
        axes.errorbar(
            x[some],
            values[method][some],
            spread[method][some],
            fmt="none",
            ecolor="#222222",
            elinewidth=0.7,
            capsize=1.2,
        )
    axes.set_xticks(range(len(values)), [label(name, 16) for name in values.index])
    _from_below(axes, values.to_numpy(), spread.fillna(0).to_numpy())
    axes.set_ylabel(f"{mathtext(metric)} (%)")
    axes.grid(axis="y")
    columns = legend_columns([label(method) for method in methods], figure.get_figwidth())
    figure.legend(loc="outside upper center", ncols=columns, handlelength=1, columnspacing=1)
    return figure


def _from_below(axes: Axes, values: Floats, spread: Floats) -> None:
    """Let the axis begin below the least value; it says so by its ticks."""
    low, high = float(np.nanmin(values - spread)), float(np.nanmax(values + spread))
    room = max(0.5, (high - low) * 0.15)
    axes.set_ylim(max(0.0, low - room), min(101.0, high + 0.3 * room))


def _long_bars(values: pd.DataFrame, spread: pd.DataFrame, metric: str) -> Figure:
    order = list(values.mean().sort_values().index)
    colours = styles(list(values.columns))
    figure = new_figure(PAGE, 0.7 + 0.135 * len(order))
    panels = figure.subplots(1, len(values), sharey=True, squeeze=False)[0]
    for axes, (dataset, row) in zip(panels, values.iterrows()):
        axes.barh(
            range(len(order)), row[order], 0.7, color=[colours[m][0] for m in order],
            xerr=spread.loc[[dataset], order].iloc[0].fillna(0), error_kw={"elinewidth": 0.6, "ecolor": "#222222"},
        )  # fmt: skip
        low = float(row.min(skipna=True)) if row.notna().any() else 0.0
        axes.set_xlim(max(0.0, low - 5), 100)
        axes.set_title(label(dataset, 18))
        axes.grid(axis="x")
    panels[0].set_yticks(range(len(order)), [label(name, 24) for name in order])
    figure.supxlabel(f"{mathtext(metric)} (%)", fontsize=7.5)
    return figure


def radar(table: pd.DataFrame, dataset: str, methods: Sequence[str]) -> Figure | None:
    """Draw all metrics of a dataset as a radar, for at most eight methods (the best by mean).

    Each axis has its own scale, from a little below the worst value to the best, and says both.
    """
    rows = table[(table["scope"] == "mean") & (table["dataset"] == dataset)]
    values = rows.pivot(index="method", columns="metric", values="value").dropna(axis=1, how="all")
    values = values[[key for key in (*MAIN, "p_ioumax") if key in values]].reindex(list(methods)).dropna() * 100
    if values.shape[0] < 1 or values.shape[1] < 3:
        return None
    best = set(values.mean(axis=1).sort_values(ascending=False).index[:MANY])
    shown = [method for method in values.index if method in best]
    colours = styles(list(methods))
    figure = new_figure(COLUMN, 3.5)
    axes = figure.add_subplot(projection="polar")
    angles = np.linspace(0, 2 * np.pi, values.shape[1], endpoint=False)
    low, high = values.loc[shown].min(), values.loc[shown].max()
    room = (high - low).where(high - low > 0.5, 0.5)
    level = (values - low + 0.3 * room) / (high - low + 0.3 * room)
    for method in shown:
        colour, _, line = colours[method]
        points = level.loc[method].to_numpy()
        axes.plot([*angles, angles[0]], [*points, points[0]], color=colour, linestyle=line, label=label(method))
    names = [f"{mathtext(key)}\n{printed(low[key] / 100)}–{printed(high[key] / 100)}" for key in map(str, values)]
    axes.set_xticks(angles, names)
    axes.tick_params(axis="x", pad=9, labelsize=6.5)
    axes.set_ylim(0, 1.03)
    axes.set_yticks([0.25, 0.5, 0.75, 1.0], [])
    axes.spines["polar"].set_visible(False)
    axes.set_title(f"{label(dataset)} (each axis from the worst to the best)", pad=14, fontsize=7.5)
    figure.legend(loc="outside lower center", ncols=min(3, len(shown)), handlelength=1.4)
    return figure


def heat_map(
    table: pd.DataFrame, dataset: str, metric: str, methods: Sequence[str], digits: int = DIGITS
) -> Figure | None:
    """Draw one metric of every class and method of a dataset, numbers with so many decimals written in the cells."""
    rows = table[(table["scope"] == "class") & (table["dataset"] == dataset) & (table["metric"] == metric)]
    values = rows.pivot(index="method", columns="class", values="value")
    values = values.reindex(index=list(methods), columns=list(dict.fromkeys(rows["class"]))).dropna(how="all")
    if values.empty:
        return None
    names = [label(name, 18) for name in values.columns]
    width = min(PAGE, max(COLUMN, 1.2 + 0.42 * len(names)))
    figure = new_figure(width, 0.9 + 0.19 * len(values) + 0.035 * max(map(len, names)))
    axes = figure.add_subplot()
    shown = axes.imshow(values.to_numpy(float) * 100, aspect="auto", cmap="viridis")
    axes.set_xticks(range(len(names)), names, rotation=40, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(len(values)), [label(name) for name in values.index])
    axes.tick_params(length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)
    size = 6.2 if len(names) <= 16 else 4.6
    middle = np.nanmin(values) * 100 + 0.55 * (np.nanmax(values) - np.nanmin(values)) * 100
    written = values.to_numpy(float) if values.size <= 300 else np.empty((0, 0))  # too small to read: colours alone
    for (line, column), value in np.ndenumerate(written):
        dark = not np.isfinite(value) or value * 100 > middle
        axes.text(
            column,
            line,
            printed(value, digits),
            ha="center",
            va="center",
            fontsize=size,
            color="black" if dark else "white",
        )
    bar = figure.colorbar(shown, ax=axes, pad=0.01, fraction=0.04)
    bar.outline.set_visible(False)
    axes.set_title(f"{label(dataset)}: {mathtext(metric, mean=False)} (%)", loc="left")
    return figure


def pareto(
    table: pd.DataFrame, cost: pd.DataFrame, dataset: str, metric: str, methods: Sequence[str], note: str = ""
) -> Figure | None:
    """Draw a metric against time an image and against peak memory; the line joins what nothing beats in both.

    ``note`` stands below the title: how busy the machine was.
    """
    rows = table[(table["scope"] == "mean") & (table["dataset"] == dataset) & (table["metric"] == metric)]
    values = rows.set_index("method")["value"] * 100
    facts = cost[cost["dataset"] == dataset].set_index("method")
    key = "gpu_gib" if (facts["gpu_gib"] > 0).any() else "cpu_gib"  # a run without a GPU may say 0
    panels = [("Inference, ms an image", 1000 / facts["images_per_second"]), (HEADS[key], facts[key])]
    panels = [(name, x) for name, x in panels if (x.notna() & np.isfinite(x)).any()]
    if not panels or values.notna().sum() == 0:
        return None
    colours = styles(list(methods))
    figure = new_figure(COLUMN * len(panels), 2.6)
    for axes, (name, x) in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels):
        points = pd.DataFrame({"x": x, "y": values}).replace([np.inf, -np.inf], np.nan).dropna()
        for method, x_value, y_value in points.itertuples():
            colour, marker, _ = colours[method]
            axes.plot(
                x_value, y_value, marker, color=colour, markersize=5, markeredgecolor="white", markeredgewidth=0.4
            )
        front = pareto_front(points)
        axes.plot(front["x"], front["y"], color=GREY, linewidth=0.9, linestyle="--", zorder=0, drawstyle="steps-post")
        if len(points) and (points["x"] > 0).all() and points["x"].max() > 5 * points["x"].min():
            axes.set_xscale("log")
            axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axes.xaxis.set_major_formatter(ScalarFormatter())
            axes.xaxis.set_minor_formatter(NullFormatter())
        axes.set_xlabel(name)
        axes.grid()
    figure.axes[0].set_ylabel(f"{mathtext(metric)} (%)")
    present = [method for method in methods if method in values.index and method in facts.index]
    marks = [Line2D([], [], color=colours[m][0], marker=colours[m][1], linestyle="", markersize=4.5) for m in present]
    figure.legend(
        marks, [label(m, 20) for m in present], loc="outside lower center", ncols=3 if len(panels) == 1 else 5
    )
    figure.suptitle("\n".join([label(dataset), *textwrap.wrap(note, 62 * len(panels))]), fontsize=7.5)
    return figure


def pareto_front(points: pd.DataFrame) -> pd.DataFrame:
    """Return the points (columns ``x``, less is better, and ``y``, more is better) that no other beats in both."""
    ordered = points.sort_values(["x", "y"], ascending=[True, False])
    return ordered[ordered["y"] > ordered["y"].cummax().shift(fill_value=-np.inf)]
