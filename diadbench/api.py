"""The Python interface: the command line as functions, whose results notebooks can display."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from diadbench.benchmark.planning.grid import Grid, load_grid, with_overrides
from diadbench.benchmark.planning.plan import Overwrite
from diadbench.benchmark.records.store import RunDirectory, load_results
from diadbench.benchmark.runs import runner
from diadbench.benchmark.runs.runner import make_engine, run_grid

if TYPE_CHECKING:
    from diadbench.reports.inline import Figures, Report
    from diadbench.reports.tables.table_shape import Table
    from diadbench.reports.tables.verdicts import Versus

# warning of tqdm in notebooks without ipywidgets, which are not needed here
warnings.filterwarnings("ignore", message="IProgress not found")

__all__ = ["Run", "compare", "evaluate", "figure", "load_grid", "load_results", "open_run", "report", "run", "table"]


#: a run directory, or what :func:`run` and :func:`open_run` return
AnyRun = str | Path | runner.Run


def _paths(runs: Sequence[AnyRun | Sequence[AnyRun]]) -> list[str | Path]:
    """Return the directories of runs that were given one after the other or as a list."""
    found: list[str | Path] = []
    for given in runs:
        if isinstance(given, runner.Run):
            found.append(given.path)
        elif isinstance(given, str | Path):
            found.append(given)
        else:
            found += _paths(given)
    return found


class Run(runner.Run):
    """A finished or interrupted run of a grid; a notebook shows the states of its cells.

    Attributes:
        directory: The run directory.
        states: State of each cell of the grid, by its labels.
        interrupted: Whether Ctrl-C ended it.
    """

    def table(self, **wanted: Any) -> Table:
        """Return a cut of the results; see :func:`table`."""
        return table(self.path, **wanted)

    def compare(self, **wanted: Any) -> Versus:
        """Return each method against a baseline; see :func:`compare`."""
        return compare(self.path, **wanted)

    def figure(self, kind: str, **wanted: Any) -> Figures:
        """Return one kind of figure; see :func:`figure`."""
        return figure(self.path, kind=kind, **wanted)

    def report(self, **wanted: Any) -> Report:
        """Build the report; see :func:`report`."""
        return report(self.path, **wanted)

    def __repr__(self) -> str:
        """Return where the run is, and how many of its cells are in which state."""
        states = ", ".join(f"{count} {state}" for state, count in Counter(self.states.values()).items())
        return f"Run({str(self.path)!r}: {states or 'no cell'})"

    def _repr_html_(self) -> str:
        from diadbench.reports.inline import summary

        wrong = [key for key, state in self.states.items() if state != "done"]
        records = {key: self.directory.as_wanted(key).status for key in wrong}
        return summary(self.states, self.path, {key: str(status.get("reason", "")) for key, status in records.items()})


def run(
    grid: str | Path | Mapping[str, Any] | Grid,
    out: str | Path | None = None,
    *,
    overrides: Mapping[str, Any] | None = None,
    overwrite: Overwrite = "failed",
    jobs: int | None = None,
    engine: str | None = None,
    budget: str | None = None,
    quiet: bool = False,
) -> Run:
    """Run a grid and return the run; finished cells are not run again.

    Args:
        grid: A packaged name (``"demo"``), a YAML file, a run directory, plain values, or a checked grid.
        out: The run directory; ``runs/<name>`` by default.
        overrides: Dotted keys and values, for every kind of grid: ``{"methods.patchcore.options.num_neighbors": 5}``.
        overwrite: ``never``, ``stale``, ``failed`` or ``always``.
        jobs: Number of cells that run at the same time; by default that of the grid.
        engine: Where cells run: ``local``, ``ray`` or ``slurm``; by default that of the grid.
        budget: Run only cells that are predicted to fit into this wall time: ``24h``.
        quiet: Print nothing.

    Raises:
        UserError: The input is wrong; no cell has run.
    """
    given = {key: value for key, value in (("jobs", jobs), ("engine", engine)) if value is not None}
    changes = {**(overrides or {}), **given}
    if isinstance(grid, (str, Path)):
        checked = load_grid(grid, changes)
        if out is None and (Path(grid) / "grid.yaml").is_file():
            out = grid
    else:
        checked = with_overrides(grid, changes)
    done = run_grid(checked, out, overwrite=overwrite, engine=make_engine(checked), budget=budget, quiet=quiet)
    return Run(done.directory, done.states, done.interrupted)


def open_run(path: str | Path) -> Run:
    """Return a run on disk, with the state of each cell of its grid, without running anything.

    Raises:
        UserError: Not a run directory.
    """
    directory = RunDirectory(path)
    states = {cell.key: directory.as_wanted(cell.key).state for cell in load_grid(directory.path).cells()}
    return Run(directory, states)


def table(
    *runs: AnyRun | Sequence[AnyRun],
    rows: Sequence[str] = ("method",),
    columns: Sequence[str] = ("dataset", "metric"),
    metrics: Sequence[str] | None = None,
    protocol: str = "",
    mix_protocols: bool = False,
    **show: Any,
) -> Table:
    """Return a cut of the results of one or several runs; a notebook shows it.

    Args:
        runs: Run directories or runs, one after the other or as a list.
        rows: Some of ``method dataset class seed metric``.
        columns: The same.
        metrics: Metric keys; by default the seven and mAD.
        protocol: Use only the results of this protocol.
        mix_protocols: Allow several protocols in the table.
        **show: Display settings, see :func:`report`.

    Raises:
        UserError: A path is no run directory, or a name doesn't exist in it.
    """
    from diadbench.reports.tables.source import Source

    source = Source.load(_paths(runs), protocol=protocol, mix_protocols=mix_protocols, show=show)
    return source.cut(rows=rows, columns=columns, metrics=metrics)


def compare(
    *runs: AnyRun | Sequence[AnyRun],
    methods: Sequence[str] = (),
    metrics: Sequence[str] = (),
    protocol: str = "",
    mix_protocols: bool = False,
    seed: int = 0,
    **show: Any,
) -> Versus:
    """Compare each method with a baseline, class by class; a notebook shows one line per method and metric.

    Args:
        runs: Run directories or runs, one after the other or as a list.
        methods: Compare only these, by label or printed name; Holm's correction then counts only these.
        metrics: Metric keys; by default those of the seven and mAD that are available.
        protocol: Use only the results of this protocol.
        mix_protocols: Allow several protocols.
        seed: Seed of the bootstrap.
        **show: Display settings, see :func:`report`; ``baseline`` is one of them.

    Raises:
        UserError: A path is no run directory, or a name doesn't exist in it.
    """
    from diadbench.reports.tables.source import Source
    from diadbench.reports.terminal import compared_methods

    source = Source.load(_paths(runs), protocol=protocol, mix_protocols=mix_protocols, show=show)
    return compared_methods(source, methods, metrics, seed)


def figure(
    *runs: AnyRun | Sequence[AnyRun],
    kind: str,
    metric: str = "",
    dataset: str = "",
    protocol: str = "",
    mix_protocols: bool = False,
    **show: Any,
) -> Figures:
    """Return one kind of figure, in the width of a paper's column or page; a notebook shows it.

    Args:
        runs: Run directories or runs, one after the other or as a list.
        kind: ``bars``, ``ranks``, ``heatmap``, ``pareto``, ``curves``, ``histograms``, ``training``, ``qualitative``.
        metric: Metric of bars, ranks and heat maps.
        dataset: Dataset of all kinds but bars and ranks; the first by default.
        protocol: Use only the results of this protocol.
        mix_protocols: Allow several protocols in the figure.
        **show: Display settings, see :func:`report`: ``titles=False``, ``images=["best", "worst"]``.

    Raises:
        UserError: A path is no run directory, a name doesn't exist in it, or the results lack the figure's data.
    """
    from diadbench.reports.inline import draw
    from diadbench.reports.tables.source import Source

    source = Source.load(_paths(runs), protocol=protocol, mix_protocols=mix_protocols, show=show)
    return draw(source, kind, metric=metric, dataset=dataset)


def report(
    *runs: AnyRun | Sequence[AnyRun], formats: Sequence[str] | None = None, out: str | Path | None = None, **show: Any
) -> Report:
    """Build the report of one or several run directories; return the written files by name.

    Args:
        runs: Run directories or runs, one after the other or as a list.
        formats: Some of ``xlsx latex markdown csv figures html``; all by default.
        out: Output directory; ``report`` in the first run directory by default.
        **show: Display settings: ``names={"RevDist": "Ours"}, drop=["toothbrush"], sort="mad"``, and all others of
            :class:`~diadbench.common.show.Show`.

    Raises:
        UserError: A path is no run directory, or a name doesn't exist in it.
    """
    from diadbench import reports
    from diadbench.reports.inline import Report

    return Report(reports.build(_paths(runs), formats, out, show=show))


def evaluate(
    maps: Any, masks: Any, scores: Any = None, labels: Any = None, protocol: str = "exact"
) -> dict[str, float]:
    """Compute the metrics of arrays; see :func:`diadbench.benchmark.metrics.evaluate`."""
    from diadbench.benchmark import metrics

    found: dict[str, float] = metrics.evaluate(maps, masks, scores, labels, protocol=protocol)
    return found
