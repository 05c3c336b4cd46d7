"""ROC, PR and PRO curves, drawn so that the area under each equals the figure in tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from diadbench.benchmark.records.store import CURVES, CellRecord, CurveInfo
from diadbench.reports.figures.look import Look
from diadbench.reports.figures.overview import MANY, mathtext
from diadbench.reports.figures.style import (
    COLUMN,
    PAGE,
    bare,
    embolden,
    heading,
    label,
    legend,
    new_figure,
    panels,
)
from diadbench.reports.tables.labels import Metric
from diadbench.reports.tables.source import Source

Floats = npt.NDArray[np.float64]
Kept = tuple[float, Mapping[str, Mapping[str, tuple[Floats, Floats]]]]
#: number of columns of the axis of a drawn curve
COLUMNS = 500
#: if an area differs by more than this from the table's figure, a note says that the table uses another rule
TOLERANCE = 0.002


@dataclass(frozen=True)
class MeanCurve:
    """A mean curve over classes and seeds.

    Attributes:
        x: ``float64 (n,)``, ascending, in [0, limit].
        y: ``float64 (n,)`` in [0,1].
        area: Mean of the areas, each counted by the rule of its kind and divided by the limit.
        limit: End of the axis: 1, or the largest false positive rate that AU-PRO counts.
    """

    x: Floats
    y: Floats
    area: float
    limit: float


#: kind -> method -> its curve, or the reason why there is none
Found = Mapping[str, Mapping[str, MeanCurve | str]]


def column_means(info: CurveInfo, x: Floats, y: Floats, limit: float) -> Floats:
    """Return the mean height of a curve in each of :data:`COLUMNS` columns of [0, limit].

    Args:
        info: The curve's kind; its rule defines the values between two points.
        x: ``(n,)`` ascending; several points may share an x.
        y: ``(n,)``; of points with the same x, the one with the highest threshold comes first.
        limit: End of the last column.
    """
    if info.rule == "step":  # The height of a step is that of its upper end.
        x, first = np.unique(x, return_index=True)
        x, y = np.repeat(np.append(0.0, x), 2)[1:-1], np.repeat(y[first], 2)
    area = np.append(0.0, np.cumsum(np.diff(x) * (y[1:] + y[:-1]) / 2))
    edges = np.linspace(0, limit, COLUMNS + 1)
    left = np.clip(np.searchsorted(x, edges, "right") - 1, 0, len(x) - 2)
    width, into = x[left + 1] - x[left], np.clip(edges - x[left], 0, None)
    slope = np.divide(y[left + 1] - y[left], width, out=np.zeros_like(width), where=width > 0)
    upto = area[left] + into * y[left] + into**2 * slope / 2
    return np.asarray(np.diff(upto) * COLUMNS / limit)


def finished(source: Source, dataset: str) -> dict[str, list[CellRecord]]:
    """Return each method's finished cells on a dataset, in the order of the grid."""
    facts = source.facts
    done = facts[(facts["dataset"] == dataset) & (facts["state"] == "done")]
    return {method: list(done[done["method"] == method]["cell"]) for method in source.methods}


def mean_curve(cells: Sequence[Kept], info: CurveInfo, only: str | None = None) -> MeanCurve | str:
    """Return the mean of a kind of curve over classes and cells, or the reason why there is none.

    Like a mean in tables, it is undefined if a class of any cell has no curve. Classes and seeds have equal weights.

    Args:
        cells: For each cell of one method on one dataset: the limit of its AU-PRO and its curves, class by class.
        info: The kind of curve.
        only: Use only this class.
    """
    limit = min((limit for limit, _ in cells), default=1.0) if info.limited else 1.0
    of_cells, missing, total = [], 0, 0
    for _, classes in cells:
        kept = [kinds.get(info.key) for name, kinds in classes.items() if only in (None, name)]
        found = [column_means(info, *curve, limit) for curve in kept if curve is not None]
        missing, total = missing + len(kept) - len(found), total + len(kept)
        if found:
            of_cells.append(np.mean(found, axis=0))
    if missing or len(of_cells) < len(cells) or not of_cells:
        return f"{total - missing}/{total} curves" if total > missing else "undefined"
    heights = np.mean(of_cells, axis=0)
    middle = (np.arange(COLUMNS) + 0.5) * limit / COLUMNS
    start = 0.0 if info.rule == "ramp" else heights[0]
    x, y = np.concatenate([[0, 0], middle, [limit]]), np.concatenate([[start, heights[0]], heights, heights[-1:]])
    return MeanCurve(x, y, float(heights.mean()), limit)


def curves(source: Source, dataset: str, only: str | None = None) -> Figure | None:
    """Draw every kind of curve that the cells have, for at most eight methods; note the curves that are left out.

    Args:
        source: The results.
        dataset: Printed name of the dataset.
        only: Draw only this class; ``None``: means over all classes.
    """
    methods = leaders(source, dataset)
    cells = finished(source, dataset)
    kept = {method: [(cell.pro_limit, cell.curves()) for cell in cells[method]] for method in methods}
    found = {kind: {m: mean_curve(kept[m], info, only) for m in methods} for kind, info in CURVES.items()}
    kinds = [kind for kind in CURVES if any(isinstance(one, MeanCurve) for one in found[kind].values())]
    if not kinds:
        return None
    what = "mean over classes and seeds" if only is None else f"{label(only)}, mean over seeds"
    notes = [*_left_out(source, found), *_other_areas(source, dataset, found, only)]
    look = Look.of(source)
    one = len(kinds) == 1
    figure = new_figure(COLUMN if one else PAGE, 0.6 + 1.9 * -(-len(kinds) // 3))
    heading(figure, f"{dataset} ({what})", ["; ".join(notes)], shown=look.titles)
    spare = not one and len(kinds) % 3 == 2 and len(kinds) > 3  # The legend fills the last line.
    every = panels(figure, len(kinds) + spare, 3)
    for axes, kind in zip(every, kinds):
        _panel(axes, CURVES[kind], found[kind], look)
    _legend(figure, every[-1] if spare else None, look)
    return figure


def _legend(figure: Figure, spare: Axes | None, look: Look) -> None:
    """Draw the legend in the free panel, else below all panels."""
    handles = {text: line for axes in figure.axes for line, text in zip(*axes.get_legend_handles_labels())}
    handles = {name: handles[name] for name in map(label, look.methods) if name in handles}
    if spare is not None:
        bare(spare)
        drawn = spare.legend(handles.values(), handles.keys(), loc="center", handlelength=3)
        embolden(drawn.get_texts(), look.bold)
    else:
        legend(figure, handles, look.bold)


def _panel(axes: Axes, info: CurveInfo, found: Mapping[str, MeanCurve | str], look: Look) -> None:
    """Draw one kind of curve. A line's gid is the key of its kind; dash and marker distinguish it without colour."""
    drawn = {method: curve for method, curve in found.items() if isinstance(curve, MeanCurve)}
    for place, (method, curve) in enumerate(drawn.items()):
        style = look.styles[method]
        axes.plot(
            curve.x, curve.y, color=style.colour, linestyle=style.line, marker=style.marker, markersize=3.2,
            markevery=(0.04 + 0.2 * place / len(drawn), 0.2), markeredgewidth=0, label=label(method), gid=info.key,
            linewidth=1.8 if method in look.ours else 1.1,
        )  # fmt: skip
    axes.set_xlabel(info.x)
    axes.set_ylabel(info.y)
    axes.set_title(f"{info.label} ({mathtext(info.metric, mean=False)})")
    axes.set_xlim(0, max(curve.limit for curve in drawn.values()))
    axes.set_ylim(0, 1.02)
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.grid()


def _left_out(source: Source, found: Found) -> list[str]:
    """Return notes on the methods and curves that the figure lacks, with the reasons."""
    shown = len(next(iter(found.values())))
    cut = [f"{shown} of {len(source.methods)} methods, the best by {Metric('i_auroc').text}"]
    notes = cut if shown < len(source.methods) else []
    nowhere: dict[str, list[str]] = {}
    for kind, of_methods in found.items():
        why = {method: one for method, one in of_methods.items() if isinstance(one, str)}
        if len(why) == len(of_methods):
            nowhere.setdefault(", ".join(dict.fromkeys(why.values())), []).append(CURVES[kind].label)
        else:
            notes += [f"{CURVES[kind].label}: without {method} ({reason})" for method, reason in why.items()]
    return [*notes, *(f"{reason}: {' / '.join(labels)}" for reason, labels in nowhere.items())]


def _other_areas(source: Source, dataset: str, found: Found, only: str | None) -> list[str]:
    """Return notes on areas that differ from the table's figures because the protocol uses another rule."""
    rows = source.table[source.table["dataset"] == dataset]
    rows = rows[rows["scope"] == "mean"] if only is None else rows[(rows["scope"] == "class") & (rows["class"] == only)]
    figures = rows.set_index(["method", "metric"])["value"]
    notes = []
    for kind, of_methods in found.items():
        key = CURVES[kind].metric
        curves = {method: one for method, one in of_methods.items() if isinstance(one, MeanCurve)}
        other = [m for m, one in curves.items() if not abs(figures.get((m, key), np.nan) - one.area) <= TOLERANCE]
        if other:
            name = Metric(key, mean=only is None).text
            notes.append(f"{CURVES[kind].label}: the area is not the table's {name} of {', '.join(other)}")
    protocols = ", ".join(sorted({name for name in source.results["protocol"] if name}))
    return [*notes, f"the protocol ({protocols}) computes these otherwise"] if notes else []


def leaders(source: Source, dataset: str) -> list[str]:
    """Return at most eight methods, the best by image AU-ROC, in the grid's order."""
    results = source.results
    rows = results[(results["dataset"] == dataset) & (results["scope"] == "mean") & (results["metric"] == "i_auroc")]
    best = set(rows.groupby("method")["value"].mean().sort_values(ascending=False).index[:MANY])
    return [method for method in source.methods if method in best] or source.methods[:MANY]
