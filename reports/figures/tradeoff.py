"""Accuracy against cost: each method is a named point, and a line joins the Pareto front."""

from __future__ import annotations

import itertools
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator
from matplotlib.transforms import Bbox

from diadbench.reports.figures.look import Look
from diadbench.reports.figures.overview import mathtext
from diadbench.reports.figures.style import COLUMN, GREY, PAGE, SIZE, heading, label, new_figure, text_width
from diadbench.reports.tables.costs import HEADS
from diadbench.reports.tables.labels import Metric

#: with more methods than this, only those on the front and the emphasised ones are named
NAMED = 24
#: maximum number of ticks on an axis of cost
TICKS = 5
Floats = npt.NDArray[np.float64]


def pareto(
    table: pd.DataFrame,
    cost: pd.DataFrame,
    dataset: str,
    metric: str,
    look: Look,
    note: str = "",
    unlike: Mapping[str, str] | None = None,
) -> Figure | None:
    """Draw a metric against time per image and against peak memory.

    Args:
        table: Result of ``aggregate``.
        cost: Result of :func:`~diadbench.reports.tables.costs.cost`.
        dataset: Printed name of the dataset.
        metric: Key of the metric.
        look: How methods are drawn.
        note: Note on the load of the machine.
        unlike: Methods that were measured under another load than the rest, with the load; their points are hollow.
    """
    rows = table[(table["scope"] == "mean") & (table["dataset"] == dataset) & (table["metric"] == metric)]
    values = rows.set_index("method")["value"] * 100
    facts = cost[cost["dataset"] == dataset].set_index("method")
    key = "gpu_gib" if (facts["gpu_gib"] > 0).any() else "cpu_gib"  # A run without a GPU may report 0.
    panels = [("Inference, ms an image", 1000 / facts["images_per_second"]), (HEADS[key], facts[key])]
    panels = [(name, x) for name, x in panels if (x.notna() & np.isfinite(x)).any()]
    if not panels or values.notna().sum() == 0:
        return None
    hollow = {method: why for method, why in (unlike or {}).items() if method in values.index}
    figure = new_figure(COLUMN if len(panels) == 1 else PAGE, 2.5)
    heading(figure, f"{dataset}: accuracy against cost", [note, _said_of(hollow)], shown=look.titles)
    drawn = []
    for axes, (name, x) in zip(figure.subplots(1, len(panels), squeeze=False, sharey=True)[0], panels):
        points = pd.DataFrame({"x": x, "y": values}).replace([np.inf, -np.inf], np.nan).dropna()
        drawn.append((axes, _points(axes, points, look, hollow if name != HEADS[key] else {})))
        _cost_axis(axes, points["x"])
        axes.set_xlabel(name)
        axes.grid()
    figure.axes[0].set_ylabel(f"{mathtext(metric)} (%)")
    figure.draw_without_rendering()  # computes the layout, so that positions on paper are known
    for axes, points in drawn:
        name_points(axes, points, look.ours)
    said = f"{Metric(metric).text} of each method; the line joins what no method beats in both."
    figure.set_label(f"{figure.get_label()} {said}")
    return figure


def _said_of(hollow: Mapping[str, str]) -> str:
    """Return in one sentence how the methods with hollow points were measured, and once how the others were."""
    loads: dict[str, list[str]] = {}
    for method, why in hollow.items():
        own, _, others = why.partition(", the others ")
        loads.setdefault(others, []).append(f"{method} {own}")
    said = [", ".join([*own, *([f"the others {others}"] if others else [])]) for others, own in loads.items()]
    return f"Hollow: measured under another load: {'; '.join(said)}" if said else ""


def _points(axes: Axes, points: pd.DataFrame, look: Look, hollow: Mapping[str, str]) -> pd.DataFrame:
    """Draw the points and the front; return the points to name."""
    for method, x, y in points.itertuples():
        style = look.styles[method]
        inside = "white" if method in hollow else style.colour
        axes.plot(
            x, y, style.marker, color=style.colour, markerfacecolor=inside, markersize=5.5, markeredgewidth=0.9,
            gid=f"point {method}",
        )  # fmt: skip
    front = pareto_front(points)
    axes.plot(front["x"], front["y"], color=GREY, linewidth=0.9, linestyle="--", zorder=0, drawstyle="steps-post")
    axes.margins(0.14)
    return points if len(points) <= NAMED else points[points.index.isin([*front.index, *look.ours])]


def _cost_axis(axes: Axes, x: pd.Series[float]) -> None:
    """Choose the scale and at most five ticks that don't touch. Similar values are not drawn far apart."""
    low, high = float(x.min()), float(x.max())
    if low > 0 and high > 5 * low:
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(FixedLocator(log_ticks(*axes.get_xlim())))
        axes.xaxis.set_minor_locator(NullLocator())
    else:
        if high - low < 0.2 * high:
            middle = (low + high) / 2
            axes.set_xlim(middle - 0.15 * high, middle + 0.15 * high)
        axes.xaxis.set_major_locator(MaxNLocator(TICKS - 1))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.6g}"))


def log_ticks(low: float, high: float) -> list[float]:
    """Return at most :data:`TICKS` round values in (low, high): 1, 2, 5 of each power of ten, or fewer of them."""
    powers = range(int(np.floor(np.log10(low))), int(np.ceil(np.log10(high))) + 1)
    ways = [((1, 2, 5), 1), ((1, 3), 1), *(((1,), step) for step in range(1, len(powers) + 1))]
    for factors, step in ways:
        found = [factor * 10.0**power for power in powers if power % step == 0 for factor in factors]
        found = [value for value in found if low < value < high]
        if len(found) <= TICKS:
            return found
    return []


def pareto_front(points: pd.DataFrame) -> pd.DataFrame:
    """Return the points (columns ``x``, less is better, and ``y``, more is better) that no other dominates."""
    ordered = points.sort_values(["x", "y"], ascending=[True, False])
    return ordered[ordered["y"] > ordered["y"].cummax().shift(fill_value=-np.inf)]


def name_points(axes: Axes, points: pd.DataFrame, ours: frozenset[str]) -> None:
    """Write the name of each point where it overlaps no point, name or front.

    A line leads to a name that is distant, or nearer to another point than to its own.

    Args:
        axes: Axes after layout.
        points: ``x``, ``y``, by name.
        ours: Names to emphasise.
    """
    if not len(points):
        return
    scale = 72 / axes.figure.dpi
    at = axes.transData.transform(points[["x", "y"]].to_numpy(float)) * scale
    inside = Bbox(axes.bbox.get_points() * scale)
    taken = [Bbox.from_bounds(x - 4, y - 4, 8, 8) for x, y in at]
    taken += _steps(axes.transData.transform(pareto_front(points)[["x", "y"]].to_numpy(float)) * scale)
    crowd = [float(np.sort(np.hypot(*(at - place).T))[:4].sum()) for place in at]
    for number in np.argsort(crowd, kind="stable"):  # names in crowded places are placed first
        name = str(points.index[number])
        weight = "bold" if name in ours else "normal"
        size = text_width(label(name), SIZE, weight) * 72, SIZE * 1.15
        box, far = _place(at[number], size, taken, inside)
        taken.append(box)
        gaps = [_gap(box, place) for place in at]
        far = far or min(gaps) < gaps[number]
        x, y = (box.x0 + box.x1) / 2 - at[number][0], (box.y0 + box.y1) / 2 - at[number][1]
        line = {"arrowstyle": "-", "color": GREY, "linewidth": 0.5} if far else None
        axes.annotate(
            label(name), points[["x", "y"]].iloc[number], (x, y), textcoords="offset points", ha="center", va="center",
            fontweight=weight, arrowprops=line, gid="name",
        ).set_in_layout(False)  # fmt: skip


def _steps(front: Floats) -> list[Bbox]:
    """Return the boxes of the line that joins the front, level and then upright, with its thickness in points."""
    found = []
    for (x, y), (to_x, to_y) in itertools.pairwise(front):
        found += [Bbox.from_extents(x, y - 1, to_x, y + 1), Bbox.from_extents(to_x - 1, y, to_x + 1, to_y)]
    return found


def _place(at: Floats, size: tuple[float, float], taken: list[Bbox], inside: Bbox) -> tuple[Bbox, bool]:
    """Return the position of a name around a point, in points, with the least overlap; and whether it is distant."""
    found: list[tuple[float, Bbox, bool]] = []
    width, height = size
    for ring, (gap, angle) in enumerate(itertools.product((6, 13, 22, 34, 48), np.linspace(0, 2 * np.pi, 16, False))):
        x = at[0] + np.cos(angle) * (gap + width / 2)
        y = at[1] + np.sin(angle) * (gap + height / 2)
        box = Bbox.from_bounds(x - width / 2, y - height / 2, width, height)
        covered = sum(_common(box, other) for other in taken)
        outside = width * height - _common(box, inside)
        found.append((20 * covered + 40 * outside + gap + 0.01 * ring, box, gap > 13))
    _, box, far = min(found, key=lambda entry: entry[0])
    return box, far


def _gap(box: Bbox, place: Floats) -> float:
    """Return the distance of a point from a box."""
    x, y = (max(low - at, 0.0, at - high) for low, at, high in zip(box.min, place, box.max))
    return float(np.hypot(x, y))


def _common(one: Bbox, other: Bbox) -> float:
    """Return the overlap area of two boxes."""
    width = min(one.x1, other.x1) - max(one.x0, other.x0)
    height = min(one.y1, other.y1) - max(one.y0, other.y0)
    return float(max(0.0, width) * max(0.0, height))
