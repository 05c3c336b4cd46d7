"""Figures and reports for notebooks, which display themselves and can be saved."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from diadbench.common.errors import UserError, unknown_name
from diadbench.common.wording import counted
from diadbench.reports.figures.draw import figures_of, plan
from diadbench.reports.figures.style import DPI, save, style
from diadbench.reports.tables.escape import element, escaped, file_names, row_of
from diadbench.reports.tables.source import Source

#: columns that identify a cell: dataset, method, setting and seed
CellLabels = tuple[str, str, str, int]
#: kinds of figures that need a metric, and kinds for a single dataset
OF_METRIC, OF_DATASET = ("bars", "ranks", "heatmap"), (
    "heatmap", "pareto", "curves", "histograms", "training", "qualitative",
)  # fmt: skip
KINDS = tuple(dict.fromkeys((*OF_METRIC, *OF_DATASET)))


class Figures(Mapping[str, Figure]):
    """Figures by their file names, which a notebook shows with their captions.

    Args:
        figures: Drawn matplotlib figures.
    """

    def __init__(self, figures: Mapping[str, Figure]) -> None:
        self._figures = dict(figures)
        self.captions = {name: str(figure.get_label()) for name, figure in figures.items()}
        with style():
            self._pictures = {name: _png(figure) for name, figure in figures.items()}

    def __getitem__(self, name: str) -> Figure:
        return self._figures[name]

    def __iter__(self) -> Any:
        return iter(self._figures)

    def __len__(self) -> int:
        return len(self._figures)

    def __repr__(self) -> str:
        return "\n".join(f"{name}: {caption}" for name, caption in self.captions.items())

    def _repr_html_(self) -> str:
        parts = []
        for name, picture in self._pictures.items():
            width = round(self._figures[name].get_figwidth() * 96)  # in the size of the printed figure
            parts.append(f'<figure><img alt="{escaped(name)}" width="{width}" src="data:image/png;base64,{picture}">')
            parts.append(f"<figcaption><small>{escaped(self.captions[name])}</small></figcaption></figure>")
        return "".join(parts)

    def save(self, folder: Path | str) -> list[Path]:
        """Write each figure as PDF and PNG into a folder; return the paths."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        with style():
            return [path for name, figure in self._figures.items() for path in save(figure, folder, name)]


def _png(figure: Figure) -> str:
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=DPI, metadata={"Software": None})
    return base64.b64encode(stream.getvalue()).decode("ascii")


def draw(source: Source, kind: str, *, metric: str = "", dataset: str = "") -> Figures:
    """Draw one kind of figure.

    Args:
        source: The results.
        kind: ``bars``, ``ranks``, ``heatmap``, ``pareto``, ``curves``, ``histograms``, ``training`` or ``qualitative``.
        metric: Key of the metric for bars, ranks and heat maps; by default the first available one.
        dataset: Label or printed name of the dataset, for all kinds but bars and ranks; by default the first.

    Raises:
        UserError: An unknown kind, metric or dataset, or results without the data of the figure.
    """
    if kind not in KINDS:
        raise unknown_name("figure", kind, KINDS)
    for name, value, kinds in (("metric", metric, OF_METRIC), ("dataset", dataset, OF_DATASET)):
        if value and kind not in kinds:
            raise UserError(f"figure {kind}: it has no {name}; leave out {name}={value!r}")
    known = [key for key in source.table["metric"].unique() if key]
    if metric and metric not in known:
        raise unknown_name("metric", metric, known, where=f"figure {kind}")
    wanted = source.named("dataset", dataset) or source.datasets[0]
    short = f"_{file_names(source.datasets)[wanted]}" if kind in OF_DATASET else ""
    start = f"{kind}_{metric}" if metric else f"{kind}_"
    for entry in plan(source, [metric] if metric else ()):
        if entry[0].startswith(start) and entry[0].endswith(short):
            with style():
                found = figures_of(entry)
            if found:
                return Figures(found)
    where = f" on {wanted}" if short else ""
    raise UserError(f"figure {kind}: the results{where} don't have what it shows; `diadbench report` draws all others")


class Report(dict[str, Path]):
    """The files of a report by their names, which a notebook shows as links."""

    def _repr_html_(self) -> str:
        best = [name for name in ("index.html", "results.xlsx", "main.tex", "results.csv") if name in self]
        lines = [row_of([f'<a href="{escaped(self[name])}">{escaped(name)}</a>', escaped(self[name])]) for name in best]
        kinds: dict[str, int] = {}
        for path in self.values():
            kinds[path.suffix] = kinds.get(path.suffix, 0) + 1
        count = ", ".join(f"{number} {ending}" for ending, number in sorted(kinds.items()))
        return element(f"Report: {counted(len(self), 'file')}", lines, [count])


def summary(states: Mapping[CellLabels, str], path: Path, reasons: Mapping[CellLabels, str]) -> str:
    """Return a run as HTML: the number of cells in each state, and why some have no result.

    Args:
        states: State of each cell, by its labels.
        path: The run directory.
        reasons: Reasons of cells without a result.
    """
    count: dict[str, int] = {}
    for state in states.values():
        count[state] = count.get(state, 0) + 1
    lines = [row_of([escaped(state), str(number)]) for state, number in count.items()]
    said = [": ".join(filter(None, [" / ".join(map(str, key)), states[key], why])) for key, why in reasons.items()]
    return element(f"Run {path}: {counted(len(states), 'cell')}", lines, said)
