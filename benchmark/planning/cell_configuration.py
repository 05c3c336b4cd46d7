"""The configuration of a cell: all that its process needs to know, and what of it decides the result."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from diadbench.benchmark.planning.contents import with_contents
from diadbench.benchmark.planning.grid import Cell, Grid, parse_memory, parse_time
from diadbench.benchmark.planning.resolving.absent import AbsentDataset
from diadbench.benchmark.planning.resolving.resolve import ResolvedMethod
from diadbench.benchmark.planning.resolving.resolved_dataset import ResolvedDataset
from diadbench.benchmark.records.identity import EARLIER_KEYS, deciding_options, digest
from diadbench.common.bibtex import bibtex
from diadbench.common.errors import UserError


def configuration_of(
    grid: Grid,
    cell: Cell,
    method: ResolvedMethod,
    dataset: ResolvedDataset | AbsentDataset,
    run_directory: Path,
    compute: dict[str, Any],
) -> dict[str, Any]:
    """Return ``cell.yaml``, all that the cell's process needs to know; :func:`for_seed` completes it."""
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
        "batch_size": grid.test_batch,
        "batch_by_memory": grid.batch_size is None and bool(method.info.get("batch_invariant")),
        "device": grid.device,
        "devices": grid.devices,
        "tf32": grid.tf32,
        "threads": compute["threads"],
        "keep_maps": grid.keep_maps,
        "keep_checkpoints": grid.keep_checkpoints,
        "thresholds": grid.thresholds,
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


def for_seed(config: dict[str, Any], seed: int) -> dict[str, Any]:
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
        found["batch_size"] = grid.test_batch
    if compute["gpu"]:
        found["tf32"] = grid.tf32
    else:
        found["threads"] = compute["threads"]
    return found
