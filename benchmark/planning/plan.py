"""What a ``run`` will do: every cell's resolved configuration and identity, and whether it has to run."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from diadbench.benchmark.planning.contents import with_contents
from diadbench.benchmark.planning.grid import Cell, DatasetSpec, Grid, absolute_paths, parse_memory, parse_time
from diadbench.benchmark.planning.planned import PlannedCell
from diadbench.benchmark.planning.resolve import ResolvedMethod, checked_options, resolve_method
from diadbench.benchmark.planning.takeover import Finished
from diadbench.benchmark.planning.threads import settled
from diadbench.benchmark.records.identity import EARLIER_KEYS, Wanted, difference, digest
from diadbench.benchmark.records.store import CellRecord, RunDirectory
from diadbench.common.bibtex import bibtex
from diadbench.common.errors import UserError

Overwrite = Literal["never", "stale", "failed", "always"]
ProgressCall = Callable[[int, int, str], None]

__all__ = ["Overwrite", "Plan", "PlannedCell", "make_plan"]


@dataclass(frozen=True)
class Plan:
    """All cells of a grid in a run directory.

    Attributes:
        compute: Device and threads, decided once for the run directory, see
            :mod:`diadbench.benchmark.planning.threads`.
    """

    grid: Grid
    directory: RunDirectory
    cells: list[PlannedCell]
    compute: dict[str, Any] = field(default_factory=dict)

    @property
    def pending(self) -> list[PlannedCell]:
        """Cells that have to run."""
        return [planned for planned in self.cells if planned.run]

    def to_keep(self) -> dict[str, Any]:
        """Return ``plan.json``: what the grid asks of each cell, and what was decided once for the run directory."""
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
) -> Plan:
    """Resolve every method and dataset of the grid and compare with what the run directory holds.

    Args:
        grid: The checked grid.
        directory: The run directory; it need not exist.
        overwrite: What is run besides cells without an end. ``never``: nothing. ``stale``: results of another
            configuration or of changed data. ``failed``: these, and cells that failed or were skipped.
            ``always``: everything.
        progress: Called while files are hashed.

    Raises:
        UserError: Anything that is wrong with names, options, roots or sample tables.
    """
    from diadbench.benchmark.metrics.protocols import get_protocol

    get_protocol(grid.protocol)
    grid = absolute_paths(grid)
    compute = settled(grid, directory)
    methods = {
        (label, dataset): resolve_method(spec.method, spec.for_dataset(dataset).options, f"methods.{label}")
        for label, spec in grid.methods.items()
        for dataset in ("", *spec.by_dataset)  # "": wherever it says nothing else
    }
    datasets = {label: ResolvedDataset(grid, spec, progress) for label, spec in grid.datasets.items()}
    planned = []
    for cell in grid.cells():
        name, place = cell.method.label, cell.dataset.label
        method, dataset = methods.get((name, place), methods[name, ""]), datasets[place]
        config = _configuration(grid, cell, method, dataset, directory.path, compute)
        planned.append(_decide(cell, directory.cell(*cell.key), config, overwrite))
    return Plan(grid, directory, _with_sources(planned, directory, overwrite), compute)


class ResolvedDataset:
    """A dataset of the grid with its root and all its options.

    Attributes:
        root: Absolute path, or ``None`` where the adapter makes its data.
        options: Every keyword argument, defaults included.
        info: :class:`~diadbench.datasets.base.DatasetInfo` as a dict, with the flags that the options bring and
            ``source``: the list or the folders that the samples were read from.
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
        self.info = {
            **asdict(self._dataset.info),
            "flags": list(self._dataset.flags),
            "source": self._dataset.source,
        }
        self._progress = progress
        self._fingerprints: dict[tuple[str, ...], str] = {}

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
    dataset: ResolvedDataset,
    run_directory: Path,
    compute: dict[str, Any],
) -> dict[str, Any]:
    """Return ``cell.yaml``: everything that the cell's process needs to know."""
    fingerprint = dataset.fingerprint(tuple(method.info["channels"]))
    technical = method.info.get("technical", ())
    deciding = {name: value for name, value in method.options.items() if name not in technical}
    decides = {
        "method": method.identity,
        "method_options": with_contents(deciding),
        "fingerprint": fingerprint,
        "setting": cell.setting,
        "image_size": list(grid.size_for(cell.method)),
        "resize": grid.resize,
        # only where it differs, so that cells of earlier versions keep their identity
        **({} if grid.evaluated_at == grid.size_for(cell.method) else {"evaluation_size": list(grid.evaluated_at)}),
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
        "method": cell.method.method,
        "method_options": method.options,
        "image_size": list(grid.size_for(cell.method)),
        "evaluation_size": list(grid.evaluated_at),
        "resize": grid.resize,
        "protocol": grid.protocol,
        "batch_size": grid.batch_size,
        "device": grid.device,
        "devices": grid.devices,
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
        "identity": digest({**decides, "seed": cell.seed}),
        "earlier": digest({**{key: earlier[key] for key in EARLIER_KEYS}, "seed": cell.seed}),
    }


def _decided_by_method(method: ResolvedMethod) -> dict[str, Any]:
    """Versions and code: what stands behind a method's name."""
    found = {"version": method.info.get("version", 1), "packages": method.packages, "code": method.code}
    return {key: value for key, value in found.items() if value}


def _decided_by_machine(grid: Grid, method: ResolvedMethod, compute: dict[str, Any]) -> dict[str, Any]:
    """What of the way a cell is run moves its figures."""
    found: dict[str, Any] = {}
    if grid.devices != 1:
        found["devices"] = grid.devices
    if not method.info.get("batch_invariant"):
        found["batch_size"] = grid.batch_size
    if not compute["gpu"]:
        found["threads"] = compute["threads"]
    return found


def _decide(cell: Cell, record: CellRecord, config: dict[str, Any], overwrite: Overwrite) -> PlannedCell:
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
    """Let cells take over what was finished under another label. Only what has to run looks for it."""
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
