"""Draw all figures of a report. Each is drawn from the results alone, so any of them can be left out."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from matplotlib.figure import Figure

from diadbench.reports.figures import behaviour, overview
from diadbench.reports.figures import curve_plots as curves
from diadbench.reports.figures.qualitative import qualitative
from diadbench.reports.figures.style import save
from diadbench.reports.tables.costs import cost, measured_at
from diadbench.reports.tables.escape import file_names
from diadbench.reports.tables.source import Source

Drawn = Figure | None | list[Figure]
Plan = tuple[str, str, Callable[[], Drawn]]
PER_DATASET: tuple[tuple[str, str, Callable[[Source, str], Drawn]], ...] = (
    ("curves", "ROC, PR, PRO", curves.curves),
    ("histograms", "image scores", behaviour.histograms),
    ("training", "training", behaviour.training),
    ("qualitative", "images and maps", qualitative),
)


def plan(source: Source) -> Iterator[Plan]:
    """Yield ``(file name, what it shows, function that draws it)``."""
    table = source.table
    spent, note = cost(source.facts), measured_at(source.facts)
    methods = source.methods
    found = [key for key in ("i_auroc", "mad", "p_ap", "aupro") if (table["metric"] == key).any()] or list(
        table["metric"].unique()[:1]
    )
    for metric in found:
        yield f"bars_{metric}", f"{metric}: methods and datasets", partial(overview.bars, table, metric, methods)
    for metric in found:
        yield f"ranks_{metric}", f"{metric}: mean ranks", partial(behaviour.critical_difference, source, metric)
    names = file_names(source.datasets)
    for dataset in source.datasets:
        short = names[dataset]
        for metric in ("i_auroc", "aupro"):
            heat_map = partial(overview.heat_map, table, dataset, metric, methods, source.show.digits)
            yield f"heatmap_{metric}_{short}", f"{dataset}: {metric} by class", heat_map
        yield f"radar_{short}", f"{dataset}: all metrics", partial(overview.radar, table, dataset, methods)
        for metric in found[:1]:  # none where no cell has a result
            pareto = partial(overview.pareto, table, spent, dataset, metric, methods, note)
            yield f"pareto_{short}", f"{dataset}: accuracy against cost", pareto
        for name, what, function in PER_DATASET:
            yield f"{name}_{short}", f"{dataset}: {what}", partial(function, source, dataset)


def draw_one(entry: Plan, folder: Path) -> dict[str, tuple[str, list[Path]]]:
    """Draw one entry of the plan, inside :func:`style`.

    Returns:
        ``{name: (what it shows, written files)}``; empty when the results don't allow the figure.
    """
    name, what, function = entry
    figures = function()
    several = figures if isinstance(figures, list) else [figures]
    written = {}
    for number, figure in enumerate(several):
        if figure is not None:
            numbered = name if len(several) == 1 else f"{name}_{number + 1}"
            written[numbered] = (what, save(figure, folder, numbered))
    return written
