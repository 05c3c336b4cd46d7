"""The plan of a run: every cell's resolved configuration and identity, and whether it has to run."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from diadbench.benchmark.planning.cell_configuration import configuration_of, for_seed
from diadbench.benchmark.planning.grid import Cell, Grid, MethodSpec, absolute_paths
from diadbench.benchmark.planning.planned import PlannedCell
from diadbench.benchmark.planning.resolving.absent import AbsentDataset, Problems, absent_method
from diadbench.benchmark.planning.resolving.backbone_sizes import refuse_size
from diadbench.benchmark.planning.resolving.resolve import ResolvedMethod, resolve_method
from diadbench.benchmark.planning.resolving.resolved_dataset import ProgressCall, ResolvedDataset
from diadbench.benchmark.planning.takeover import Finished
from diadbench.benchmark.planning.threads import settled
from diadbench.benchmark.planning.typed_grid import is_chosen
from diadbench.benchmark.records.identity import Wanted, difference
from diadbench.benchmark.records.store import CellRecord, RunDirectory
from diadbench.common.errors import unknown_name

if TYPE_CHECKING:
    from diadbench.benchmark.records.results import Glance

Overwrite = Literal["never", "stale", "failed", "always"]
MissingRule = Literal["refuse", "skip", "show"]

__all__ = ["Overwrite", "Plan", "PlannedCell", "make_plan"]


@dataclass(frozen=True)
class Plan:
    """All cells of a grid in a run directory.

    Attributes:
        compute: Device and threads, decided once for each run directory, see
            :mod:`diadbench.benchmark.planning.threads`.
    """

    grid: Grid
    directory: RunDirectory
    cells: list[PlannedCell]
    compute: dict[str, Any] = field(default_factory=dict)

    @property
    def pending(self) -> list[PlannedCell]:
        """Return the cells that have to run."""
        return [planned for planned in self.cells if planned.run]

    @property
    def missing(self) -> list[str]:
        """Return what cells need and this machine lacks, without repetition."""
        return list(dict.fromkeys(planned.missing for planned in self.cells if planned.missing))

    def to_keep(self) -> dict[str, Any]:
        """Return ``plan.json``: what the grid asks of each cell, and decisions made once for the run directory."""
        wanted = {planned.cell.key: planned.wanted for planned in self.cells}
        names = ("dataset", "method", "setting", "seed")
        asked = ("identity", "configuration", "protocol", "earlier")
        return {
            "compute": self.compute,
            "configurations": {each.configuration: each.decides for each in wanted.values()},
            "cells": [
                {**dict(zip(names, key)), **{name: getattr(each, name) for name in asked}}
                for key, each in wanted.items()
            ],
        }


def make_plan(
    grid: Grid,
    directory: RunDirectory,
    overwrite: Overwrite = "failed",
    progress: ProgressCall | None = None,
    *,
    only: Collection[str] = (),
    missing: MissingRule = "refuse",
) -> Plan:
    """Resolve every method and dataset of the grid and compare them with the content of the run directory.

    Args:
        grid: The checked grid.
        directory: The run directory; it need not exist.
        overwrite: Which finished cells are run again. ``never``: none. ``stale``: results of another configuration or
            of changed data. ``failed``: also cells that failed or were skipped.
            ``always``: all.
        progress: Called while files are hashed.
        only: Labels of methods and datasets to run; the other cells of the grid are not run now.
        missing: How to treat cells whose data or packages are missing. ``refuse``: raise. ``skip``: leave them out with
            the reason. ``show``: plan them as far as possible.

    Raises:
        UserError: Wrong names, options, roots or sample tables; all problems are reported together.
    """
    from diadbench.benchmark.metrics.protocols import get_protocol

    get_protocol(grid.protocol)
    grid = absolute_paths(grid)
    compute = settled(grid, directory)
    _check_only(grid, only)
    methods, datasets = _resolved(grid, progress, only, missing)
    known = directory.found_at(cell.key for cell in grid.cells()).glances()
    alike: dict[tuple[str, str, str], dict[str, Any]] = {}
    planned = []
    for cell in grid.cells():
        name, place = cell.method.label, cell.dataset.label
        method, dataset = methods.get((name, place), methods[name, ""]), datasets[place]
        if cell.key[:3] not in alike:
            alike[cell.key[:3]] = configuration_of(grid, cell, method, dataset, directory.path, compute)
        config = for_seed(alike[cell.key[:3]], cell.seed)
        made = _decide(cell, directory.cell(*cell.key), config, overwrite, known.get(cell.key))
        made = replace(made, images=dataset.images)
        absent = getattr(method, "why", "") or getattr(dataset, "why", "")
        made = _without(made, absent) if absent else made
        chosen = is_chosen(only, name, place, grid)
        planned.append(made if chosen else _waiting(made))
    return Plan(grid, directory, _with_sources(planned, directory, overwrite), compute)


def _waiting(planned: PlannedCell) -> PlannedCell:
    """Return a cell that ``--only`` leaves out: it waits if it has to run, else it is kept."""
    waits = "not in --only" if planned.run or planned.missing else ""
    why = "" if planned.missing else planned.why  # what it lacks doesn't matter now
    return replace(planned, run=False, missing="", why=why, waits=waits)


def _check_only(grid: Grid, only: Collection[str]) -> None:
    for label in only:
        if label not in grid.methods and label not in grid.datasets:
            raise unknown_name("method or dataset", label, [*grid.methods, *grid.datasets], where="--only")


def _resolved(
    grid: Grid, progress: ProgressCall | None, only: Collection[str], missing: MissingRule
) -> tuple[dict[tuple[str, str], ResolvedMethod], dict[str, ResolvedDataset | AbsentDataset]]:
    """Resolve all methods, by their labels and those of datasets with other options, and all datasets."""
    problems = Problems()
    methods: dict[tuple[str, str], ResolvedMethod] = {}
    for label, spec in grid.methods.items():
        for place in ("", *spec.by_dataset):  # "": the dataset has no options of its own
            chosen = spec.for_dataset(place)
            methods[label, place] = problems.of(
                f"methods.{label}",
                partial(_method, grid, chosen),
                partial(absent_method, chosen),
            )
    datasets: dict[str, ResolvedDataset | AbsentDataset] = {
        label: problems.of(
            f"datasets.{label}", partial(ResolvedDataset, grid, spec, progress), partial(AbsentDataset, spec)
        )
        for label, spec in grid.datasets.items()
    }
    needed: dict[str, bool] = {}
    for cell in grid.cells():
        chosen_cell = is_chosen(only, cell.method.label, cell.dataset.label, grid)
        for where in (f"methods.{cell.method.label}", f"datasets.{cell.dataset.label}"):
            needed[where] = needed.get(where, False) or (chosen_cell and missing == "refuse")
    problems.refuse(needed=needed)
    return methods, datasets


def _method(grid: Grid, spec: MethodSpec) -> ResolvedMethod:
    """Resolve a method, and refuse a backbone that doesn't take the grid's images. Raises UserError."""
    where = f"methods.{spec.label}"
    found = resolve_method(spec.method, spec.options, where)
    refuse_size(found, grid.size_for(spec), where)
    return found


def _without(planned: PlannedCell, why: str) -> PlannedCell:
    """Return a cell that can't run here. An existing result is kept, since nothing shows that it is wrong."""
    if planned.record.state == "done" and planned.record.config.get("earlier"):
        return replace(planned, config=planned.record.config, run=False, why="done", missing="")
    return replace(planned, run=False, why=f"missing: {why}", missing=why)


def _decide(
    cell: Cell, record: CellRecord, config: dict[str, Any], overwrite: Overwrite, known: Glance | None
) -> PlannedCell:
    asked = (config["identity"], config["protocol"])
    if (
        known is not None
        and (known.state, known.identity, known.protocol) == ("done", *asked)
        and overwrite != "always"
    ):
        return PlannedCell(cell, record, config, run=False, why="done")  # No file of the cell needs to be opened.
    run, why = _verdict(record, config, overwrite)
    return PlannedCell(cell, record, config, run, why)


def _verdict(record: CellRecord, config: dict[str, Any], overwrite: Overwrite) -> tuple[bool, str]:
    status = record.status
    state = status["state"]
    if state == "waiting":
        return True, "new"
    if state in ("killed", "running"):
        return True, "unfinished" if state == "killed" else "running elsewhere"
    if overwrite == "always":
        return True, "overwrite"
    changed = difference(status, record.config, Wanted.of(config))
    if state == "done":
        if not changed:
            return False, "done"
        return (False, f"stale ({changed}), kept") if overwrite == "never" else (True, f"stale ({changed})")
    if overwrite == "failed":
        return True, f"{state} before"
    return (True, f"stale ({changed})") if overwrite == "stale" and changed else (False, f"{state}, kept")


def _with_sources(planned: list[PlannedCell], directory: RunDirectory, overwrite: Overwrite) -> list[PlannedCell]:
    """Let cells reuse results finished under another label. Only cells that have to run look for them."""
    if overwrite == "always" or not any(each.run for each in planned):
        return planned
    finished = Finished(directory, {each.record.directory for each in planned if each.why == "done"})
    return [_with_source(each, finished) if each.run else each for each in planned]


def _with_source(planned: PlannedCell, finished: Finished) -> PlannedCell:
    source = None if planned.why == "running elsewhere" else finished.take(planned.wanted)
    if source is None:
        return planned
    why = f"done as {source.dataset} / {source.method}" if source.directory.parents[3].name == "cells" else "done"
    return replace(planned, run=False, why=why, source=source)
