"""Large run directories for tests of size: real cells, copied for many methods and seeds with other figures."""

from __future__ import annotations

import json
import os
import shutil
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from diadbench.benchmark.planning.grid import Grid
from diadbench.benchmark.planning.plan import PlannedCell, make_plan
from diadbench.benchmark.records.store import CellRecord, RunDirectory
from diadbench.benchmark.runs.directory_opening import open_directory


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


def make_whole(path: Path, real: RunDirectory, grid: Grid) -> RunDirectory:
    """Write a run directory in which every cell of a grid is done: a run of the grid has nothing to do there.

    Args:
        path: Where to.
        real: A run directory with one finished cell of each dataset of the grid. The cells are copies of it, with
            their own labels, identities and metrics; what else it keeps is linked, the gallery as a whole.
        grid: The grid, with absolute paths.
    """
    plan = make_plan(grid, RunDirectory(path, must_exist=False))
    plan = open_directory(plan)
    done = {cell.dataset: cell for cell in real.cells() if cell.state == "done"}
    metrics = {label: pd.read_csv(cell.directory / "metrics.csv", dtype=COUNTS) for label, cell in done.items()}
    alike: dict[tuple[str, str], list[PlannedCell]] = defaultdict(list)
    for planned in plan.cells:
        alike[planned.cell.key[:2]].append(planned)
    for place, ((dataset, _), cells) in enumerate(alike.items()):
        text = _yaml(cells[0].config)
        for planned in cells:
            _stand_in(planned, done[dataset], metrics[dataset], place, _for_seed(text, cells[0].config, planned.config))
    return plan.directory


COUNTS: Any = {"n_normal": "Int64", "n_anomalous": "Int64", "n_defined": "Int64", "n_classes": "Int64"}


def _yaml(config: Mapping[str, Any]) -> str:
    written = {**config, "run_directory": "."}
    return yaml.dump(written, Dumper=getattr(yaml, "CSafeDumper", yaml.SafeDumper), allow_unicode=True, sort_keys=False)


def _for_seed(text: str, first: Mapping[str, Any], config: Mapping[str, Any]) -> str:
    """Return ``cell.yaml`` of another seed: writing YAML anew would take most of the time."""
    for key in ("identity", "earlier"):
        text = text.replace(str(first[key]), str(config[key]))
    return text.replace(f"\nseed: {first['seed']}\n", f"\nseed: {config['seed']}\n")


def _stand_in(planned: PlannedCell, real: CellRecord, metrics: pd.DataFrame, place: int, text: str) -> None:
    config, directory = planned.config, planned.record.directory
    directory.mkdir(parents=True)
    for source in real.directory.iterdir():
        if source.name == "gallery":
            (directory / source.name).symlink_to(source)
        elif source.is_file() and source.name not in ("cell.yaml", "status.json", "metrics.csv", ".lock"):
            _link(str(source), str(directory / source.name))
    values = 1 - (1 - metrics["value"]) * (1 - 0.0009 * (place % 50) - 0.001 * config["seed"])  # a mean stays the mean
    kept = {key: config[key] for key in ("identity", "configuration", "decides", "method_info", "dataset_info")}
    (directory / "cell.yaml").write_text(text, encoding="utf-8")
    (directory / "metrics.csv").write_text(metrics.assign(value=values).to_csv(index=False), encoding="utf-8")
    (directory / "status.json").write_text(json.dumps({**real.status, **kept}), encoding="utf-8")


def _link(source: str, target: str) -> None:
    """Make a hard link, which costs no disk; a copy where the file system has none."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
