"""Figures of methods' behaviour: score histograms, training curves, ranks with the critical difference."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from diadbench.benchmark.records.store import own_file, read_scores
from diadbench.reports.figures.curve_plots import finished
from diadbench.reports.figures.look import Look
from diadbench.reports.figures.overview import mathtext
from diadbench.reports.figures.style import (
    COLUMN,
    GREY,
    PAGE,
    bare,
    heading,
    label,
    legend,
    new_figure,
    panels,
    text_width,
)
from diadbench.reports.tables.labels import Metric
from diadbench.reports.tables.source import Source
from diadbench.reports.tables.stats import ranks

#: maximum number of logged values in a figure of trainings
PANELS = 6
#: maximum number of methods in a figure with one panel or line per method
MOST = 12


def _first_seeds(source: Source, dataset: str, file: str) -> tuple[dict[str, Path], str]:
    """Return for each method a file of its first finished cell on the dataset, and a text with the seed."""
    cells = {method: found[0] for method, found in finished(source, dataset).items() if found}
    cells = {method: cell for method, cell in cells.items() if (cell.directory / file).is_file()}
    seeds = {cell.seed for cell in cells.values()}
    words = f"seed {next(iter(seeds))}" if len(seeds) == 1 else "first seed that ended"
    return {method: cell.directory / file for method, cell in cells.items()}, words


def _first(shown: int, every: int, what: str) -> str:
    """Return a note on how many of a figure's methods or values are shown, if not all are."""
    return f", first {shown} of {every} {what}" if shown < every else ""


def histograms(source: Source, dataset: str) -> Figure | None:
    """Draw the image scores of normal and anomalous test images, one panel per method, scaled within each class."""
    found: dict[str, pd.DataFrame] = {}
    paths, seed = _first_seeds(source, dataset, "scores.parquet")
    for method, path in list(paths.items())[:MOST]:
        table = read_scores(path.parent, ["class", "label", "score"])
        grouped = table.groupby("class")["score"]
        low, high = grouped.transform("min"), grouped.transform("max")
        table["score"] = (table["score"] - low) / (high - low).where(high > low, 1)
        found[method] = table.dropna()
    if not found:
        return None
    look = Look.of(source)
    most = 4 if len(found) > 2 else 2
    figure = new_figure(PAGE if len(found) > 2 else COLUMN, 0.75 + 1.2 * -(-len(found) // most))
    every = panels(figure, len(found), most, sharey=True, sharex=True)
    drawn: dict[str, Any] = {}
    for axes, (method, table) in zip(every, found.items()):
        for value, name, colour, hatch in ((0, "normal", "#56B4E9", ""), (1, "anomalous", "#D55E00", "//////")):
            part = table.loc[table["label"] == value, "score"]
            if len(part):
                drawn[name] = _histogram(axes, part, colour, hatch)
        axes.set_title(label(method), fontweight="bold" if method in look.ours else "normal")
        axes.set_xlim(0, 1)
        axes.set_xticks([0, 0.5, 1], ["0", "0.5", "1"])
    for axes in every:
        spec = axes.get_subplotspec()
        if spec is not None and spec.is_last_row():
            axes.set_xlabel("Image score, scaled")
    figure.supylabel("Share of images (%)")
    legend(figure, drawn)
    cut = _first(len(found), len(paths), "methods")
    heading(
        figure,
        f"{dataset}: image scores ({seed}{cut})",
        ["Scaled within each class, from its least score to its largest"],
        shown=look.titles,
    )
    return figure


def _histogram(axes: Axes, scores: pd.Series[float], colour: str, hatch: str) -> Any:
    """Draw the share of images in each of 20 parts of [0, 1], also distinguished by hatches; return the artists."""
    share = np.full(len(scores), 100 / len(scores))
    edges = [place / 20 for place in range(21)]
    draw: Any = axes.hist  # The return type depends on the options.
    drawn = draw(
        scores, edges, weights=share, histtype="stepfilled", alpha=0.55, facecolor=colour, hatch=hatch,
        edgecolor="white" if hatch else colour,
    )[2]  # fmt: skip
    draw(scores, edges, weights=share, histtype="step", color=colour, linewidth=0.8)
    return drawn[0]


def training(source: Source, dataset: str) -> Figure | None:
    """Draw the training curves of the first seed of every trained method, one panel per logged value.

    A method that trains a model for each class has one line for each.
    """
    series: dict[str, list[tuple[str, pd.DataFrame]]] = {}
    paths, seed = _first_seeds(source, dataset, "history.csv")
    for method, path in list(paths.items())[:MOST]:
        with own_file(path):
            history = pd.read_csv(path).groupby("name", sort=False)
        for name, rows in history:
            series.setdefault(str(name), []).append((method, _lines(rows)))
    if not series:
        return None
    names = sorted(series, key=lambda name: (-len(series[name]), name))[:PANELS]
    look = Look.of(source)
    figure = new_figure(COLUMN if len(names) == 1 else PAGE, 0.7 + 1.45 * -(-len(names) // 3))
    drawn: dict[str, Any] = {}
    for axes, name in zip(panels(figure, len(names), 3), names):
        for method, part in series[name]:
            style = look.styles[method]
            wide = 1.8 if method in look.ours else 1.2
            (line,) = axes.plot(part["step"], part["value"], color=style.colour, linestyle=style.line, linewidth=wide)
            drawn[label(method)] = line
        values = np.concatenate([part["value"].to_numpy(float) for _, part in series[name]])
        values = values[np.isfinite(values)]
        if len(values) and values.min() > 0 and values.max() > 30 * values.min():
            axes.set_yscale("log")
        axes.set_title(label(name))
        axes.set_xlabel("step")
        axes.grid()
    legend(figure, {name: drawn[name] for name in map(label, look.methods) if name in drawn}, look.bold)
    cut = _first(len(names), len(series), "values") + _first(min(len(paths), MOST), len(paths), "methods")
    heading(figure, f"{dataset}: training ({seed}{cut})", shown=look.titles)
    return figure


def _lines(rows: pd.DataFrame) -> pd.DataFrame:
    """Return ``step, value`` of a logged value, with gaps so that no line joins two trained models."""
    rows = rows.dropna(subset=["value"])
    if "part" not in rows:
        return rows[["step", "value"]]
    gap = pd.DataFrame({"step": [np.nan], "value": [np.nan]})
    parts = [part[["step", "value"]] for _, part in rows.groupby("part", sort=False)]
    return pd.concat([table for part in parts for table in (part, gap)][:-1], ignore_index=True)


def critical_difference(source: Source, metric: str) -> Figure | None:
    """Draw mean ranks over all classes; bars join methods that Nemenyi's test can't distinguish."""
    found = ranks(source.results, metric, table=source.table)
    mean = found.mean_rank
    if len(mean) < 3 or not np.isfinite(found.critical):
        return None
    look = Look.of(source)
    methods, values = list(mean.index), mean.to_numpy(float)
    groups = cliques(values, found.critical)
    half = -(-len(methods) // 2)
    names = max(text_width(f"{label(name)}  0.00", weight="bold") for name in methods) + 0.15
    width = COLUMN if COLUMN - 2 * names > 0.9 else PAGE
    step = 0.19
    figure = new_figure(width, 0.65 + step * half + 0.09 * len(groups) + (0.32 if look.titles else 0))
    axes = figure.add_subplot()
    bare(axes)
    low, high = 1, len(methods)
    depth = 0.25 + 0.28 * len(groups)
    span = high - low
    room = span * names / (width - 2 * names)  # width of the names, in ranks
    axes.set_xlim(low - room, high + room)
    axes.set_ylim(depth + 0.55 * half + 0.2, -1.2)
    _ruler(axes, low, high, found.critical)
    for place, (method, value) in enumerate(zip(methods, values.tolist())):
        left = place < half
        line = depth + 0.55 * ((place if left else len(methods) - 1 - place) + 0.4)
        edge = low - 0.03 * span if left else high + 0.03 * span
        wide = 1.6 if method in look.ours else 0.9
        axes.plot([value, value, edge], [0.0, line, line], color=look.styles[method].colour, linewidth=wide)
        text = f"{label(method)}  {value:.2f}" if left else f"{value:.2f}  {label(method)}"
        gap = -0.015 * span if left else 0.015 * span
        weight = "bold" if method in look.ours else "normal"
        axes.text(edge + gap, line, text, ha="right" if left else "left", va="center", fontweight=weight)
    for place, (first, last) in enumerate(groups):
        y = 0.25 + 0.28 * place
        ends = [values[first] - 0.01 * span, values[last] + 0.01 * span]
        axes.plot(ends, [y, y], color="black", linewidth=2.2, solid_capstyle="round")
    title = f"mean rank over {found.blocks} classes"
    friedman = f"Friedman p = {found.friedman_p:.2g}"
    said = "Bars join methods that Nemenyi's test can't tell apart"
    heading(figure, f"{Metric(metric).text}: {title}", [friedman, said], shown=False)
    if look.titles:
        axes.set_title(f"{mathtext(metric)}: {title}\n({friedman})")
    return figure


def _ruler(axes: Axes, low: int, high: int, critical: float) -> None:
    """Draw the axis of ranks, with the critical difference above it."""
    span = high - low
    axes.plot([low, high], [0, 0], color="black", linewidth=0.8)
    for tick in range(low, high + 1, 1 if span <= 14 else 5):
        axes.plot([tick, tick], [0, -0.12], color="black", linewidth=0.8)
        axes.text(tick, -0.2, str(tick), ha="center", va="bottom")
    end = low + min(critical, span)
    axes.plot([low, end], [-0.95, -0.95], color=GREY, linewidth=1.4)
    axes.text(end + 0.02 * span, -0.95, f"CD {critical:.2f}", va="center", color=GREY)


def cliques(values: np.ndarray, critical: float) -> list[tuple[int, int]]:
    """Return the longest intervals (first, last) of sorted mean ranks that lie within the critical difference."""
    found: list[tuple[int, int]] = []
    for first in range(len(values)):
        last = int(np.searchsorted(values, values[first] + critical, side="right")) - 1
        if last > first and not (found and found[-1][1] >= last):
            found.append((first, last))
    return found
