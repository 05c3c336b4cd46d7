"""The figure of few-shot settings: each method's mean against the training images of a class."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from diadbench.reports.figures.look import Look
from diadbench.reports.figures.overview import mathtext, whiskers
from diadbench.reports.figures.style import COLUMN, PAGE, heading, label, legend, new_figure, panels
from diadbench.reports.tables.labels import Metric
from diadbench.reports.tables.shots_dimension import ALL, aggregate_by_shots, by_shots, has_shots, in_shots_order
from diadbench.reports.tables.source import Source

#: Most datasets that are drawn, a panel each.
PANELS = 6


def shots(source: Source, metric: str) -> Figure | None:
    """Draw a metric's mean over classes against the number of shots, a panel for each dataset, a line a method."""
    if not has_shots(source.results):
        return None
    results = by_shots(source.results)
    table = aggregate_by_shots(results[results["metric"].isin(["", metric])], by_seed=False, digits=source.show.digits)
    table = table[(table["scope"] == "mean") & (table["metric"] == metric)].dropna(subset="value")
    datasets = [name for name in source.datasets if (table["dataset"] == name).any()]
    if not datasets:
        return None
    look, order = Look.of(source), in_shots_order(results)
    full = dict(zip(results["method"], source.results["method"], strict=True))  # a name that has a style, by plain name
    figure = new_figure(COLUMN if len(datasets) == 1 else PAGE, 0.9 + 1.5 * -(-len(datasets[:PANELS]) // 3))
    drawn: dict[str, Any] = {}
    for axes, dataset in zip(panels(figure, len(datasets[:PANELS]), 3), datasets):
        for method, rows in table[table["dataset"] == dataset].groupby("method", sort=False):
            drawn[label(method)] = _line(axes, rows, order, look, full[str(method)])
        axes.set_title(label(dataset))
        axes.set_xticks(range(len(order)), order)
        axes.set_xlabel("Training images a class")
        axes.grid()
    figure.axes[0].set_ylabel(f"{mathtext(metric)} (%)")
    legend(figure, drawn, {label(name) for name, style in full.items() if style in look.ours})
    notes = ["Whiskers: standard deviation over seeds"] if table["std"].notna().any() else []
    notes += [f"The first {PANELS} of {len(datasets)} datasets"] if len(datasets) > PANELS else []
    heading(figure, f"{Metric(metric).text} by training images of a class", notes, shown=look.titles)
    return figure


def _line(axes: Axes, rows: pd.DataFrame, order: list[str], look: Look, name: str) -> Any:
    style = look.styles[name]
    ordered = rows.assign(place=[order.index(text) for text in rows["shots"]]).sort_values("place")
    value, spread = 100 * ordered["value"].to_numpy(float), 100 * ordered["std"].to_numpy(float)
    few = ordered["shots"] != ALL  # All images are another setting: their point stands apart from the line.
    axes.errorbar(
        ordered["place"], value, whiskers(value, spread), fmt="none", ecolor=style.colour, elinewidth=0.8, capsize=1.5
    )
    axes.plot(ordered["place"][~few], value[~few.to_numpy()], style.marker, color=style.colour, markersize=4)
    (line,) = axes.plot(
        ordered["place"][few], value[few.to_numpy()], color=style.colour, linestyle=style.line, marker=style.marker,
        markersize=4, linewidth=1.8 if name in look.ours else 1.2,
    )  # fmt: skip
    assert np.isfinite(value).all()
    return line
