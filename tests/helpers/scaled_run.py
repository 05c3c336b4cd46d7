"""Large run directories for tests of size: real cells, copied for many methods and seeds with other figures."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from diadbench.benchmark.records.store import CellRecord, RunDirectory


def make_scaled(
    path: Path, real: RunDirectory, *, methods: Sequence[str], datasets: Mapping[str, str], seeds: Sequence[int]
) -> RunDirectory:
    """Write a run directory of copies of finished cells.

    A copy has its own labels, identity, times and metrics; all other files are those of the original.

    Args:
        path: Where to.
        real: A run directory with finished cells.
        methods: Labels.
        datasets: ``{label: label of the dataset in real}``; the methods take turns with the finished cells of it.
        seeds: Seeds.
    """
    run = RunDirectory(path, must_exist=False)
    run.path.mkdir(parents=True)
    grid = {**real.grid, "methods": {}, "datasets": {}, "seeds": list(seeds)}
    for dataset, original in datasets.items():
        cells = [cell for cell in real.cells() if cell.dataset == original and cell.state == "done"]
        grid["datasets"][dataset] = real.grid["datasets"][original]
        for place, method in enumerate(methods):
            cell = cells[place % len(cells)]
            grid["methods"][method] = real.grid["methods"][cell.method]
            for seed in seeds:
                _copy(cell, run.cell(dataset, method, cell.setting, seed), (dataset, method, seed), place)
    (run.path / "grid.yaml").write_text(yaml.safe_dump(grid, allow_unicode=True, sort_keys=False))
    shutil.copyfile(real.path / "environment.json", run.path / "environment.json")
    run.write_results()
    return run


def _copy(cell: CellRecord, copy: CellRecord, labels: tuple[str, str, int], place: int) -> None:
    shutil.copytree(
        cell.directory, copy.directory, copy_function=_link, ignore=shutil.ignore_patterns("scratch", ".lock")
    )
    dataset, method, seed = labels
    config = {**cell.config, "dataset_label": dataset, "method_label": method, "seed": seed}
    config |= {"identity": f"{dataset} {method} {seed}", "configuration": f"{dataset} {method}"}
    status: dict[str, Any] = {**cell.status, **{key: config[key] for key in ("identity", "configuration")}}
    status["method_info"] = {**status["method_info"], "title": method}
    status["dataset_info"] = {**status["dataset_info"], "title": dataset}
    status["phases"] = {name: seconds * (1 + place / 10) for name, seconds in status["phases"].items()}
    metrics = pd.read_csv(cell.directory / "metrics.csv", dtype={"n_defined": "Int64", "n_classes": "Int64"})
    metrics["value"] = 1 - (1 - metrics["value"]) * (1 - 0.005 * place - 0.001 * seed)  # a mean stays the mean
    for name, text in (
        ("cell.yaml", yaml.dump(config, Dumper=getattr(yaml, "CSafeDumper", yaml.SafeDumper), allow_unicode=True)),
        ("status.json", json.dumps(status)),
        ("metrics.csv", metrics.to_csv(index=False)),
    ):
        (copy.directory / name).unlink()
        (copy.directory / name).write_text(text, encoding="utf-8")


def _link(source: str, target: str) -> None:
    """Make a hard link, which costs no disk; a copy where the file system has none."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
