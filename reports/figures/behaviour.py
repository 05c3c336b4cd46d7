"""Figures of how methods behave: curves, score histograms, training, ranks with the critical difference."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from diadbench.benchmark.store import CellRecord
from diadbench.reports.figures.overview import MANY, mathtext
from diadbench.reports.figures.style import COLUMN, GREY, PAGE, bare, label, new_figure
from diadbench.reports.palette import styles
from diadbench.reports.source import Source
from diadbench.reports.stats import ranks

CURVES = {
    "roc": ("False positive rate", "True positive rate", "ROC, images"),
    "pr": ("Recall", "Precision", "PR, pixels"),
    "pro": ("False positive rate", "Region overlap", "PRO"),
}


def _cells(source: Source, dataset: str) -> dict[str, list[CellRecord]]:
    facts = source.facts
    done = facts[(facts["dataset"] == dataset) & (facts["state"] == "done")]
    return {method: list(done[done["method"] == method]["cell"]) for method in source.methods}


def mean_curve(cells: Sequence[CellRecord], kind: str) -> tuple[np.ndarray, np.ndarray] | None:
    """Return the mean over classes and seeds of a curve, on a common grid; None when no cell has it."""
    grid, found = None, []
    for cell in cells:
        path = cell.directory / "curves.npz"
        if not path.is_file():
            continue
        with np.load(path, allow_pickle=False) as arrays:
            for position in range(len(arrays["classes"]) if "classes" in arrays else 0):
                if f"{position}/{kind}/x" not in arrays:
                    continue
                x = arrays[f"{position}/{kind}/x"].astype(float)
                y = arrays[f"{position}/{kind}/y"].astype(float)
                if len(x) < 2:
                    continue
                order = np.argsort(x, kind="stable")
                if grid is None:
                    grid = np.linspace(0, 0.3 if kind == "pro" else 1, 201)
                found.append(np.interp(grid, x[order], y[order]))
    return None if grid is None else (grid, np.mean(found, axis=0))


def curves(source: Source, dataset: str) -> Figure | None:
    """Draw ROC, PR and PRO curves, each the mean over classes and seeds, for at most eight methods."""
    methods = _leaders(source, dataset)
    cells = _cells(source, dataset)
    found = {kind: {m: mean_curve(cells[m], kind) for m in methods} for kind in CURVES}
    kinds = [kind for kind in CURVES if any(curve is not None for curve in found[kind].values())]
    if not kinds:
        return None
    colours = styles(source.methods)
    figure = new_figure(PAGE if len(kinds) > 1 else COLUMN, 2.5)
    for axes, kind in zip(figure.subplots(1, len(kinds), squeeze=False)[0], kinds):
        x_name, y_name, title = CURVES[kind]
        for method, curve in found[kind].items():
            if curve is not None:
                axes.plot(
                    curve[0], curve[1], color=colours[method][0], linestyle=colours[method][2], label=label(method)
                )
        axes.set_xlabel(x_name)
        axes.set_ylabel(y_name)
        axes.set_title(title)
        axes.set_xlim(0, 0.3 if kind == "pro" else 1)
        axes.set_ylim(0, 1.02)
        axes.grid()
    handles, names = figure.axes[0].get_legend_handles_labels()
    figure.legend(
        handles, names, loc="outside lower center", ncols=min(5 if len(kinds) > 1 else 3, len(names)), handlelength=1.6
    )
    figure.suptitle(f"{label(dataset)} (mean over classes)", fontsize=8)
    return figure


def _leaders(source: Source, dataset: str) -> list[str]:
    """Return at most eight methods, the best by image AU-ROC, in the grid's order."""
    results = source.results
    rows = results[(results["dataset"] == dataset) & (results["scope"] == "mean") & (results["metric"] == "i_auroc")]
    best = set(rows.groupby("method")["value"].mean().sort_values(ascending=False).index[:MANY])
    return [method for method in source.methods if method in best] or source.methods[:MANY]


def histograms(source: Source, dataset: str) -> Figure | None:
    """Draw the image scores of normal and anomalous test images, a panel a method, scaled within each class."""
    found: dict[str, pd.DataFrame] = {}
    for method, cells in _cells(source, dataset).items():
        if len(found) == 12:
            break
        path = cells[0].directory / "scores.parquet" if cells else None
        if path is not None and path.is_file():
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
    figure.suptitle(f"{label(dataset)}: image scores, scaled within each class", fontsize=8)
    return figure


def training(source: Source, dataset: str) -> Figure | None:
    """Draw the training curves of the first seed of every method that trains, a panel a logged value."""
    series: dict[str, list[tuple[str, pd.DataFrame]]] = {}
    for method, cells in _cells(source, dataset).items():
        path = cells[0].directory / "history.csv" if cells else None
        if path is None or not path.is_file():
            continue
        table = pd.read_csv(path)
        for name, part in table.groupby("name", sort=False):
            series.setdefault(str(name), []).append((method, part.dropna(subset=["value"])))
    if not series:
        return None
    names = sorted(series, key=lambda name: (-len(series[name]), name))[:6]
    colours = styles(source.methods)
    columns = min(3, len(names))
    lines = -(-len(names) // columns)
    figure = new_figure((COLUMN, COLUMN * 1.6, PAGE)[columns - 1], 0.6 + 1.5 * lines)
    panels = figure.subplots(lines, columns, squeeze=False).ravel()
    for axes, name in zip(panels, names):
        for method, part in series[name][:12]:
            axes.plot(
                part["step"], part["value"], color=colours[method][0], linestyle=colours[method][2], label=label(method)
            )
        values = np.concatenate([part["value"].to_numpy(float) for _, part in series[name]])
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
    figure.suptitle(f"{label(dataset)}: training", fontsize=8)
    return figure


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
