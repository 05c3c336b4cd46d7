"""What a ``run`` will do: every cell's resolved configuration and identity, and whether it has to run."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from diadbench.benchmark.grid import Cell, DatasetSpec, Grid, parse_memory, parse_time
from diadbench.benchmark.resolve import ResolvedMethod, checked_options, resolve_method
from diadbench.benchmark.store import CellRecord, RunDirectory
from diadbench.common.bibtex import bibtex
from diadbench.common.errors import UserError

Overwrite = Literal["never", "stale", "failed", "always"]
ProgressCall = Callable[[int, int, str], None]

__all__ = ["Overwrite", "Plan", "PlannedCell", "make_plan"]


@dataclass(frozen=True)
class PlannedCell:
    """A cell with its place on disk, its complete configuration, and what will be done with it.

    Attributes:
        run: Whether it has to run.
        why: ``new``, ``unfinished``, ``failed``, ``stale``, ``overwrite``; or why it is kept.
    """

    cell: Cell
    record: CellRecord
    config: dict[str, Any]
    run: bool
    why: str


@dataclass(frozen=True)
class Plan:
    """All cells of a grid in a run directory."""

    grid: Grid
    directory: RunDirectory
    cells: list[PlannedCell]

    @property
    def pending(self) -> list[PlannedCell]:
        """Cells that have to run."""
        return [planned for planned in self.cells if planned.run]


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
        config = _configuration(grid, cell, method, dataset, directory.path)
        record = directory.cell(*cell.key)
        run, why = _decide(record, config, overwrite)
        planned.append(PlannedCell(cell, record, config, run, why))
    return Plan(grid, directory, planned)


class ResolvedDataset:
    """A dataset of the grid with its root and all its options.

    Attributes:
        root: Absolute path, or ``None`` where the adapter makes its data.
        options: Every keyword argument, defaults included.
        info: :class:`~diadbench.datasets.base.DatasetInfo` as a dict, with the flags that the options bring.
    """

    def __init__(self, grid: Grid, spec: DatasetSpec, progress: ProgressCall | None) -> None:
        from diadbench import datasets
        from diadbench.datasets.layouts.roots import find_root

        where = f"datasets.{spec.label}"
        if "root" in spec.options:
            raise UserError(f"{where}.options.root: write it as {where}.root")
        cls = datasets.get_class(spec.dataset)
        self.options = {key: value for key, value in checked_options(cls, spec.options, where).items() if key != "root"}
        root = find_root(spec.dataset, root=spec.root, data_root=grid.data_root)
        self._dataset = cls(root, **self.options)
        self.root = None if root is None else str(Path(root).absolute())
        self.info = {**asdict(self._dataset.info), "flags": list(self._dataset.flags)}
        self._progress = progress
        self._fingerprints: dict[tuple[str, ...], str] = {}

    def fingerprint(self, channels: tuple[str, ...]) -> str:
        """Return the digest of the table and of the files that a method with these channels reads."""
        from diadbench.datasets.decoding.fingerprint import fingerprint

        if channels not in self._fingerprints:
            self._fingerprints[channels] = fingerprint(self._dataset, channels, self._progress)
        return self._fingerprints[channels]


def _configuration(
    grid: Grid, cell: Cell, method: ResolvedMethod, dataset: ResolvedDataset, run_directory: Path
) -> dict[str, Any]:
    """Return ``cell.yaml``: everything that the cell's process needs to know."""
    fingerprint = dataset.fingerprint(tuple(method.info["channels"]))
    decides = {
        "method": method.identity,
        "method_options": method.options,
        "fingerprint": fingerprint,
        "setting": cell.setting,
        "image_size": list(grid.size_for(cell.method)),
        "resize": grid.resize,
        # only where it differs, so that cells of earlier versions keep their identity
        **({} if grid.evaluated_at == grid.size_for(cell.method) else {"evaluation_size": list(grid.evaluated_at)}),
    }
    return {
        "dataset_label": cell.dataset.label,
        "method_label": cell.method.label,
        "setting": cell.setting,
        "seed": cell.seed,
        "dataset": cell.dataset.dataset,
        "root": dataset.root,
        "dataset_options": dataset.options,
        "method": _absolute(cell.method.method),
        "method_options": method.options,
        "image_size": list(grid.size_for(cell.method)),
        "evaluation_size": list(grid.evaluated_at),
        "resize": grid.resize,
        "protocol": grid.protocol,
        "batch_size": grid.batch_size,
        "device": grid.device,
        "devices": grid.devices,
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
        "configuration": _digest(decides),
        "identity": _digest({**decides, "seed": cell.seed}),
    }


def _digest(decides: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(decides, sort_keys=True, default=str).encode()).hexdigest()[:32]


def _absolute(method: str) -> str:
    """A method's file must be found from the cell's process too, whatever its working directory."""
    path, colon, name = method.rpartition(":")
    return f"{Path(path).expanduser().absolute()}{colon}{name}" if path.endswith(".py") else method


def _decide(record: CellRecord, config: dict[str, Any], overwrite: Overwrite) -> tuple[bool, str]:
    status = record.status
    state = status["state"]
    if state == "waiting":
        return True, "new"
    if state in ("killed", "running"):
        return True, "unfinished" if state == "killed" else "running elsewhere"
    if overwrite == "always":
        return True, "overwrite"
    if state == "done":
        changed = _changed(status, config)
        if not changed:
            return False, "done"
        return (False, f"stale ({changed}), kept") if overwrite == "never" else (True, f"stale ({changed})")
    if overwrite == "failed":
        return True, f"{state} before"
    changed = _changed(status, config)
    return (True, f"stale ({changed})") if overwrite == "stale" and changed else (False, f"{state}, kept")


def _changed(status: dict[str, Any], config: dict[str, Any]) -> str:
    if status.get("identity") != config["identity"]:
        return "configuration or data changed"
    if status.get("protocol") != config["protocol"]:
        return "protocol changed"
    return ""


def describe(cells: Iterable[PlannedCell]) -> list[tuple[str, str, str]]:
    """Return ``(cell, what, why)`` rows for people."""
    return [(str(planned.cell), "run" if planned.run else "keep", planned.why) for planned in cells]
