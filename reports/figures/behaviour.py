"""Figures of how methods behave: score histograms, training, ranks with the critical difference."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from diadbench.reports.figures.curve_plots import finished
from diadbench.reports.figures.overview import mathtext
from diadbench.reports.figures.palette import styles
from diadbench.reports.figures.style import COLUMN, GREY, PAGE, bare, label, new_figure
from diadbench.reports.tables.source import Source
from diadbench.reports.tables.stats import ranks

#: values that a figure of trainings shows
PANELS = 6
#: methods that a figure with a panel or a line each shows
MOST = 12


def _first_seeds(source: Source, dataset: str, file: str) -> tuple[dict[str, Path], str]:
    """Return method -> a file of its first cell on the dataset that has ended, and in words which seed that is."""
    cells = {method: found[0] for method, found in finished(source, dataset).items() if found}
    cells = {method: cell for method, cell in cells.items() if (cell.directory / file).is_file()}
    seeds = {cell.seed for cell in cells.values()}
    words = f"seed {next(iter(seeds))}" if len(seeds) == 1 else "first seed that ended"
    return {method: cell.directory / file for method, cell in cells.items()}, words


def _first(shown: int, every: int, what: str) -> str:
    """Say how many of a figure's methods or values are shown, where that is not all."""
    return f", first {shown} of {every} {what}" if shown < every else ""


def histograms(source: Source, dataset: str) -> Figure | None:
    """Draw the image scores of normal and anomalous test images, a panel a method, scaled within each class."""
    found: dict[str, pd.DataFrame] = {}
    paths, seed = _first_seeds(source, dataset, "scores.parquet")
    for method, path in list(paths.items())[:MOST]:
        table = pd.read_parquet(path, columns=["class", "label", "score"])
        grouped = table.groupby("class")["score"]
        low, high = grouped.transform("min"), grouped.transform("max")
        table["score"] = (table["score"] - low) / (high - low).where(high > low, 1)
        found[method] = table.dropna()
    if not found:
        return None
    columns = min(4, len(found))
    lines = -(-len(found) // columns)
    figure = new_figure(PAGE if columns > 2 else COLUMN, 0.7 + 1.15 * lines)
    panels = figure.subplots(lines, columns, squeeze=False, sharex=True).ravel()
    edges = np.linspace(0, 1, 31)
    for axes, (method, table) in zip(panels, found.items()):
        for value, name, colour in ((0, "normal", "#0072B2"), (1, "anomalous", "#D55E00")):
            part = table.loc[table["label"] == value, "score"]
            if len(part):
                axes.hist(part, edges, density=True, histtype="stepfilled", alpha=0.5, color=colour, label=name)
        axes.set_title(label(method))
        axes.set_yticks([])
    for axes in panels[len(found) :]:
        bare(axes)
    handles, names = panels[0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=2, handlelength=1)
    cut = _first(len(found), len(paths), "methods")
    figure.suptitle(f"{label(dataset)}: image scores, scaled within each class\n({seed}{cut})", fontsize=8)
    return figure


def training(source: Source, dataset: str) -> Figure | None:
    """Draw the training curves of the first seed of every method that trains, a panel a logged value.

    A method that trains a model for each class has a line for each.
    """
    series: dict[str, list[tuple[str, pd.DataFrame]]] = {}
    paths, seed = _first_seeds(source, dataset, "history.csv")
    for method, path in list(paths.items())[:MOST]:
        for name, rows in pd.read_csv(path).groupby("name", sort=False):
            series.setdefault(str(name), []).append((method, _lines(rows)))
    if not series:
        return None
    names = sorted(series, key=lambda name: (-len(series[name]), name))[:PANELS]
    colours = styles(source.methods)
    columns = min(3, len(names))
    lines = -(-len(names) // columns)
    figure = new_figure((COLUMN, COLUMN * 1.6, PAGE)[columns - 1], 0.6 + 1.5 * lines)
    panels = figure.subplots(lines, columns, squeeze=False).ravel()
    for axes, name in zip(panels, names):
        for method, part in series[name]:
            axes.plot(
                part["step"], part["value"], color=colours[method][0], linestyle=colours[method][2], label=label(method)
            )
        values = np.concatenate([part["value"].to_numpy(float) for _, part in series[name]])
        values = values[np.isfinite(values)]
        if len(values) and values.min() > 0 and values.max() > 30 * values.min():
            axes.set_yscale("log")
        axes.set_title(label(name))
        axes.set_xlabel("step")
        axes.grid()
    for axes in panels[len(names) :]:
        bare(axes)
    handles, texts = [], []
    for axes in panels:
        for handle, text in zip(*axes.get_legend_handles_labels()):
            if text not in texts:
                handles.append(handle)
                texts.append(text)
    figure.legend(handles, texts, loc="outside lower center", ncols=min(2 + columns, len(texts)), handlelength=1.6)
    cut = _first(len(names), len(series), "values") + _first(min(len(paths), MOST), len(paths), "methods")
    figure.suptitle(f"{label(dataset)}: training ({seed}{cut})", fontsize=8)
    return figure


def _lines(rows: pd.DataFrame) -> pd.DataFrame:
    """Return ``step, value`` of a logged value, with a gap between trained models so that no line joins them."""
    rows = rows.dropna(subset=["value"])
    if "part" not in rows:
        return rows[["step", "value"]]
    gap = pd.DataFrame({"step": [np.nan], "value": [np.nan]})
    parts = [part[["step", "value"]] for _, part in rows.groupby("part", sort=False)]
    return pd.concat([table for part in parts for table in (part, gap)][:-1], ignore_index=True)


def critical_difference(source: Source, metric: str) -> Figure | None:
    """Draw mean ranks over all classes; bars join methods that Nemenyi's test can't tell apart."""
    found = ranks(source.results, metric, table=source.table)
    mean = found.mean_rank
    if len(mean) < 3 or not np.isfinite(found.critical):
        return None
    methods, values = list(mean.index), mean.to_numpy(float)
    groups = cliques(values, found.critical)
    half = -(-len(methods) // 2)
    step = 0.17
    figure = new_figure(PAGE if len(methods) > 12 else COLUMN * 1.3, 0.75 + step * half + 0.09 * len(groups))
    axes = figure.add_subplot()
    bare(axes)
    low, high = 1, len(methods)
    depth = 0.25 + 0.28 * len(groups)
    span = high - low
    axes.set_xlim(low - 0.45 * span, high + 0.45 * span)
    axes.set_ylim(depth + 0.55 * half + 0.2, -1.1)
    axes.plot([low, high], [0, 0], color="black", linewidth=0.8)
    for tick in range(low, high + 1, 1 if span <= 14 else 5):
        axes.plot([tick, tick], [0, -0.12], color="black", linewidth=0.8)
        axes.text(tick, -0.2, str(tick), ha="center", va="bottom", fontsize=6.5)
    axes.plot([low, low + min(found.critical, span)], [-0.8, -0.8], color=GREY, linewidth=1.4)
    axes.text(
        low + min(found.critical, span) + 0.02 * span,
        -0.8,
        f"critical difference {found.critical:.2f}",
        va="center",
        fontsize=6.5,
        color=GREY,
    )
    colours = styles(source.methods)
    for place, (method, value) in enumerate(zip(methods, values)):
        left = place < half
        line = depth + 0.55 * ((place if left else len(methods) - 1 - place) + 0.4)
        edge = low - 0.03 * span if left else high + 0.03 * span
        axes.plot([float(value), float(value), edge], [0.0, line, line], color=colours[method][0], linewidth=0.9)
        text = f"{label(method, 22)}  {value:.2f}" if left else f"{value:.2f}  {label(method, 22)}"
        gap = -0.015 * span if left else 0.015 * span
        axes.text(edge + gap, line, text, ha="right" if left else "left", va="center", fontsize=6.8)
    for place, (first, last) in enumerate(groups):
        y = 0.25 + 0.28 * place
        axes.plot(
            [values[first] - 0.01 * span, values[last] + 0.01 * span],
            [y, y],
            color="black",
            linewidth=2.2,
            solid_capstyle="round",
        )
    title = f"{mathtext(metric)}: mean rank over {found.blocks} classes (Friedman p = {found.friedman_p:.2g})"
    axes.set_title(title, fontsize=7.5)
    return figure


def cliques(values: np.ndarray, critical: float) -> list[tuple[int, int]]:
    """Return the widest runs (first, last) of sorted mean ranks that lie within the critical difference."""
    found: list[tuple[int, int]] = []
    for first in range(len(values)):
        last = int(np.searchsorted(values, values[first] + critical, side="right")) - 1
        if last > first and not (found and found[-1][1] >= last):
            found.append((first, last))
    return found
