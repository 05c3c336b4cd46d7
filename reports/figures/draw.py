"""Draw all figures of a report. Each is drawn from the results alone, so any of them can be left out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from matplotlib.figure import Figure

from diadbench.reports.figures import behaviour, few_shot, overview
from diadbench.reports.figures import curve_plots as curves
from diadbench.reports.figures.gallery import check_images
from diadbench.reports.figures.look import Look
from diadbench.reports.figures.qualitative import qualitative
from diadbench.reports.figures.style import save
from diadbench.reports.figures.tradeoff import pareto
from diadbench.reports.tables.costs import cost, measured_at, unlike
from diadbench.reports.tables.escape import file_names
from diadbench.reports.tables.shots_dimension import has_shots
from diadbench.reports.tables.source import Source

Result = Figure | None | list[Figure]
Plan = tuple[str, str, Callable[[], Result]]
PER_DATASET: tuple[tuple[str, str, Callable[[Source, str], Result]], ...] = (
    ("curves", "ROC, PR, PRO", curves.curves),
    ("histograms", "image scores", behaviour.histograms),
    ("training", "training", behaviour.training),
    ("qualitative", "images and maps", qualitative),
)


@dataclass(frozen=True)
class Drawn:
    """A written figure.

    Attributes:
        what: Short description of its content.
        files: Its PDF and its PNG.
        caption: Its title and all notes, even if no title is drawn.
    """

    what: str
    files: list[Path]
    caption: str


def plan(source: Source, metrics: Sequence[str] = ()) -> Iterator[Plan]:
    """Yield ``(file name, description, function that draws it)``.

    Args:
        source: The results.
        metrics: Metrics of bars, ranks and heat maps; by default those that most papers show.
    """
    table = source.table
    spent, note, hollow = cost(source.facts), measured_at(source.facts), unlike(source.facts)
    look = Look.of(source)
    check_images(source)
    usual = [key for key in ("i_auroc", "mad", "p_ap", "aupro") if (table["metric"] == key).any()]
    found = list(metrics) or usual or list(table["metric"].unique()[:1])
    for metric in found:
        yield f"bars_{metric}", f"{metric}: methods and datasets", partial(overview.bars, table, metric, look)
    for metric in found:
        yield f"ranks_{metric}", f"{metric}: mean ranks", partial(behaviour.critical_difference, source, metric)
    for metric in found if has_shots(source.results) else ():
        yield f"shots_{metric}", f"{metric}: training images a class", partial(few_shot.shots, source, metric)
    names = file_names(source.datasets)
    for dataset in source.datasets:
        short = names[dataset]
        for metric in metrics or ("i_auroc", "aupro"):
            heat_map = partial(overview.heat_map, table, dataset, metric, look)
            yield f"heatmap_{metric}_{short}", f"{dataset}: {metric} by class", heat_map
        own = {method: why for (where, method), why in hollow.items() if where == dataset}
        for metric in found[:1]:  # no metrics if no cell has a result
            trade_off = partial(pareto, table, spent, dataset, metric, look, note, own)
            yield f"pareto_{short}", f"{dataset}: accuracy against cost", trade_off
        for name, what, function in PER_DATASET:
            yield f"{name}_{short}", f"{dataset}: {what}", partial(function, source, dataset)


def figures_of(entry: Plan) -> dict[str, Figure]:
    """Draw one entry of the plan inside :func:`style`: ``{name: figure}``; empty if the results lack its data."""
    name, _, function = entry
    figures = function()
    several = figures if isinstance(figures, list) else [figures]
    numbered = [name if len(several) == 1 else f"{name}_{number}" for number in range(1, len(several) + 1)]
    return {text: figure for text, figure in zip(numbered, several) if figure is not None}


def draw_one(entry: Plan, folder: Path) -> dict[str, Drawn]:
    """Draw and write one entry of the plan inside :func:`style`: ``{name: what was written}``."""
    figures = figures_of(entry)
    captions = {name: figure.get_label() for name, figure in figures.items()}
    return {name: Drawn(entry[1], save(figure, folder, name), str(captions[name])) for name, figure in figures.items()}
