"""The plan of a run: every cell's resolved configuration and identity, and whether it has to run."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from diadbench.benchmark.planning.absent import AbsentDataset, Problems, absent_method
from diadbench.benchmark.planning.backbone_sizes import refuse_size
from diadbench.benchmark.planning.contents import with_contents
from diadbench.benchmark.planning.grid import (
    Cell,
    DatasetSpec,
    Grid,
    MethodSpec,
    absolute_paths,
    parse_memory,
    parse_time,
)
from diadbench.benchmark.planning.planned import PlannedCell
from diadbench.benchmark.planning.resolve import ResolvedMethod, checked_options, resolve_method
from diadbench.benchmark.planning.takeover import Finished
from diadbench.benchmark.planning.threads import settled
from diadbench.benchmark.planning.typed_grid import is_chosen
from diadbench.benchmark.records.identity import EARLIER_KEYS, Wanted, deciding_options, difference, digest
from diadbench.benchmark.records.store import CellRecord, RunDirectory
from diadbench.common.bibtex import bibtex
from diadbench.common.errors import UserError, unknown_name

if TYPE_CHECKING:
    import pandas as pd

    from diadbench.benchmark.records.results import Glance

Overwrite = Literal["never", "stale", "failed", "always"]
MissingRule = Literal["refuse", "skip", "show"]
ProgressCall = Callable[[int, int, str], None]

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
            alike[cell.key[:3]] = _configuration(grid, cell, method, dataset, directory.path, compute)
        config = _for_seed(alike[cell.key[:3]], cell.seed)
        made = _decide(cell, directory.cell(*cell.key), config, overwrite, known.get(cell.key))
        made = replace(made, images=dataset.images)
        absent = getattr(method, "why", "") or getattr(dataset, "why", "")
        made = _without(made, absent) if absent else made
        chosen = is_chosen(only, name, place, grid)
        planned.append(made if chosen else replace(made, run=False, missing="", why=f"{made.why}, not in --only"))
    return Plan(grid, directory, _with_sources(planned, directory, overwrite), compute)


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


class ResolvedDataset:
    """A dataset of the grid with its root and all its options.

    Attributes:
        root: Absolute path, or ``None`` where the adapter makes its data.
        options: Every keyword argument, defaults included.
        images: Numbers of training and test images.
        is_cut: Whether the grid's ``limit`` left samples out.
        info: :class:`~diadbench.datasets.base.DatasetInfo` as a dict, with the flags of the options and ``source``: the
            list or the folders that the samples were read from.
    """

    def __init__(self, grid: Grid, spec: DatasetSpec, progress: ProgressCall | None) -> None:
        from diadbench import datasets
        from diadbench.datasets.checking.check import refuse
        from diadbench.datasets.layouts.roots import find_root

        where = f"datasets.{spec.label}"
        if "root" in spec.options:
            raise UserError(f"{where}.options.root: write it as {where}.root")
        cls = datasets.get_class(spec.dataset)
        self.options = {key: value for key, value in checked_options(cls, spec.options, where).items() if key != "root"}
        root = find_root(spec.dataset, root=spec.root, data_root=grid.data_root)
        self._dataset = cls(root, **self.options)
        self.root = None if root is None else str(Path(root).absolute())
        refuse(self._dataset)
        count = len(self._dataset.samples)
        if grid.limit is not None:
            self._dataset.limit_to(grid.limit)
            self.options["limit"] = grid.limit
        self.is_cut = len(self._dataset.samples) < count
        splits = self._dataset.samples["split"].value_counts()
        self.images: tuple[int, int] | None = int(splits.get("train", 0)), int(splits.get("test", 0))
        self.info = {
            **asdict(self._dataset.info),
            "flags": list(self._dataset.flags),
            "source": self._dataset.source,
        }
        self._progress = progress
        self._fingerprints: dict[tuple[str, ...], str] = {}

    @property
    def samples(self) -> pd.DataFrame:
        """Return the dataset's checked sample table."""
        return self._dataset.samples

    def fingerprint(self, channels: tuple[str, ...]) -> str:
        """Return the digest of the table and of the files that a method with these channels reads."""
        from diadbench.datasets.decoding.fingerprint import fingerprint

        if channels not in self._fingerprints:
            self._fingerprints[channels] = fingerprint(self._dataset, channels, self._progress)
        return self._fingerprints[channels]


def _configuration(
    grid: Grid,
    cell: Cell,
    method: ResolvedMethod,
    dataset: ResolvedDataset | AbsentDataset,
    run_directory: Path,
    compute: dict[str, Any],
) -> dict[str, Any]:
    """Return ``cell.yaml``, all that the cell's process needs to know; :func:`_for_seed` completes it."""
    fingerprint = dataset.fingerprint(tuple(method.info["channels"]))
    subset = _subset(grid, cell, dataset)
    deciding = deciding_options(method.options, method.info)
    decides = {
        "method": method.identity,
        "method_options": with_contents(deciding),
        "fingerprint": fingerprint,
        "setting": cell.setting,
        "image_size": list(grid.size_for(cell.method)),
        "resize": grid.resize,
        # Written only if it differs, so that cells of earlier versions keep their identity.
        **({} if grid.evaluated_at == grid.size_for(cell.method) else {"evaluation_size": list(grid.evaluated_at)}),
        **({"limit": grid.limit} if dataset.is_cut else {}),
        **subset,
        **_decided_by_method(method),
        **_decided_by_machine(grid, method, compute),
    }
    earlier = {**decides, "method": method.earlier, "method_options": deciding}
    return {
        "dataset_label": cell.dataset.label,
        "method_label": cell.method.label,
        "setting": cell.setting,
        "seed": cell.seed,
        "dataset": cell.dataset.dataset,
        "root": dataset.root,
        "dataset_options": dataset.options,
        **subset,
        "method": cell.method.method,
        "method_options": method.options,
        "image_size": list(grid.size_for(cell.method)),
        "evaluation_size": list(grid.evaluated_at),
        "resize": grid.resize,
        "protocol": grid.protocol,
        "batch_size": grid.batch_size,
        "device": grid.device,
        "devices": grid.devices,
        "tf32": grid.tf32,
        "threads": compute["threads"],
        "keep_maps": grid.keep_maps,
        "keep_checkpoints": grid.keep_checkpoints,
        "time_limit": parse_time(cell.method.time_limit or grid.time_limit),
        "memory_limit": parse_memory(grid.memory_limit),
        "logger": list(grid.logger),
        "run_directory": str(run_directory.absolute()),
        "fingerprint": fingerprint,
        "method_info": {**method.info, "bibtex": bibtex("methods", method.info.get("cite", ""))},
        "dataset_info": {**dataset.info, "bibtex": bibtex("datasets", dataset.info.get("cite", ""))},
        "decides": decides,
        "configuration": digest(decides),
        "identity": "",
        "earlier": {key: earlier[key] for key in EARLIER_KEYS},
    }


def _for_seed(config: dict[str, Any], seed: int) -> dict[str, Any]:
    """Return the configuration of one of the cells that differ only in their seed."""
    identities = {
        key: digest({**config[of], "seed": seed}) for key, of in (("identity", "decides"), ("earlier", "earlier"))
    }
    return {**config, "seed": seed, **identities}


def _subset(grid: Grid, cell: Cell, dataset: ResolvedDataset | AbsentDataset) -> dict[str, Any]:
    """Return a cell's choice of training images, if it doesn't get all; refuse one that the data can't provide."""
    subset = grid.subset_for(cell)
    if subset is None:
        return {}
    try:
        if dataset.samples is not None:  # Missing data can't refuse anything.
            subset.apply(dataset.samples)
    except UserError as error:
        raise UserError(f"datasets.{cell.dataset.label}: {error}") from error
    return {"train_subset": subset.to_dict()}


def _decided_by_method(method: ResolvedMethod) -> dict[str, Any]:
    """Return the versions and the code behind a method's name."""
    found = {"version": method.info.get("version", 1), "packages": method.packages, "code": method.code}
    return {key: value for key, value in found.items() if value}


def _decided_by_machine(grid: Grid, method: ResolvedMethod, compute: dict[str, Any]) -> dict[str, Any]:
    """Return the settings of the machine that affect a cell's results."""
    found: dict[str, Any] = {}
    if not method.info.get("batch_invariant"):
        found["batch_size"] = grid.batch_size
    if compute["gpu"]:
        found["tf32"] = grid.tf32
    else:
        found["threads"] = compute["threads"]
    return found


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


def describe(cells: Iterable[PlannedCell]) -> list[tuple[str, str, str]]:
    """Return ``(cell, what, why)`` rows for people."""
    return [(str(planned.cell), "run" if planned.run else "keep", planned.why) for planned in cells]
