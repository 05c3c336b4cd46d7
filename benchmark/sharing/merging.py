"""Several runs as one: their cells side by side, their grids and plans merged, contradictions named."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from diadbench.benchmark.planning.grids.paths import CODE_INDEX
from diadbench.benchmark.records.cell_labels import Key
from diadbench.benchmark.records.identity import Wanted
from diadbench.benchmark.records.store import CellRecord, RunDirectory
from diadbench.benchmark.sharing.merged_labels import Labels, merged_entries, new_labels
from diadbench.benchmark.sharing.opening import opened
from diadbench.common.errors import UserError
from diadbench.common.files import atomic_directory, read_json, write_json, write_text
from diadbench.common.wording import counted, some

#: Figures that differ by no more are the same cell on another processor: sums in another order.
ROUNDING = 1e-6
#: How many contradictions an error tells.
_FIRST = 3
#: What of a cell's directory belongs to a machine.
_LEFT = (".lock", "*.tmp", "scratch", "scored", "spill")


@dataclass
class Merged:
    """What came of a merge.

    Attributes:
        run: The new run directory.
        cells: How many cells it has.
        notes: What was renamed, what was there twice, what differs between the grids.
    """

    run: RunDirectory
    cells: int = 0
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class _Cell:
    """A cell on its way: where it lies, and its labels in the merged run."""

    record: CellRecord
    wanted: Wanted
    key: Key
    run: str

    def __str__(self) -> str:
        dataset, method, setting, seed = self.key
        return f"{dataset} / {method} / {setting} / seed {seed}"


def merge(paths: Sequence[Path], out: Path) -> Merged:
    """Write the cells of several runs into one run directory, on which reports and ``run`` work.

    Cells that both runs have, of one configuration and seed, must have the same figures. A label that stands for other
    things in a later run gets that run's name behind it.

    Args:
        paths: Run directories and packs, two or more.
        out: The new run directory; it must not exist.

    Raises:
        UserError: Less than two runs, ``out`` exists, runs of several protocols or of a version that kept no plan, a
            cell that runs, or two cells of one configuration and seed with other figures.
    """
    if len({path.resolve() for path in paths}) < 2:
        raise UserError("merge: give two runs or more")
    if out.exists():
        raise UserError(f"{out}: exists; choose another directory with --out")
    with ExitStack() as stack:
        runs = [stack.enter_context(opened(path)) for path in paths]
        _check_protocols(runs, paths)
        notes: list[str] = []
        cells, labels = _collect(runs, paths, notes)
        notes += _differences(runs, paths)
        with atomic_directory(out) as place:
            _write(place, runs, cells, labels)
        merged = RunDirectory(out)
        merged.write_results()
    return Merged(merged, len(cells), notes)


def _check_protocols(runs: Sequence[RunDirectory], paths: Sequence[Path]) -> None:
    found = {each.protocol: str(path) for run, path in zip(runs, paths) for each in _planned(run, path).values()}
    if len(found) > 1:
        told = some(f"{name} ({path})" for name, path in found.items())
        raise UserError(f"merge: several protocols: {told}; bring them to one with `diadbench evaluate`")


def _planned(run: RunDirectory, path: Path) -> dict[Key, Wanted]:
    if not run.wanted:
        raise UserError(f"{path}: has no plan.json (an earlier version made it); continue it once with `diadbench run`")
    return run.wanted


# -- which cells --------------------------------------------------------------------------------------------------


def _collect(
    runs: Sequence[RunDirectory], paths: Sequence[Path], notes: list[str]
) -> tuple[dict[Key, _Cell], list[Labels]]:
    """Return the merged cells by their new labels, and the new labels of each run."""
    cells: dict[Key, _Cell] = {}
    labels: list[Labels] = []
    contradictions: list[str] = []
    taken: dict[Key, Wanted] = {}
    grids: list[dict[str, Any]] = []
    for run, path in zip(runs, paths):
        found = new_labels(run, taken, grids)
        labels.append(found)
        grids.append(found.renamed(run.grid))
        notes += [f"{path}: {text}" for text in found.reasons]
        for key, wanted in _planned(run, path).items():
            new = found.key(key)
            taken.setdefault(new, wanted)
            one = _Cell(run.as_wanted(key), wanted, new, str(path))
            if one.record.state == "running":
                raise UserError(f"{path}: {one} runs; merge when it has ended")
            cells[new], told = _chosen(cells.get(new), one)
            contradictions += told
    if contradictions:
        first = some(contradictions, sep="; ", most=_FIRST, room=240)
        raise UserError(f"merge: same cell, other figures: {first}")
    twice = sum(len(_planned(run, path)) for run, path in zip(runs, paths)) - len(cells)
    if twice:
        are = counted(twice, "cell is", "cells are")
        notes.append(f"{are} in several runs, with the same figures or without; each is there once")
    return cells, labels


def _chosen(before: _Cell | None, one: _Cell) -> tuple[_Cell, list[str]]:
    """Return which of two records of a cell is kept: the one that is done, else the earlier; and what contradicts."""
    if before is None or before.record.state != "done":
        keep = before is not None and one.record.state != "done"
        return (before if keep and before is not None else one), []
    if one.record.state != "done":
        return before, []
    told = _contradiction(before, one)
    return before, [told] if told else []


def _contradiction(first: _Cell, second: _Cell) -> str:
    """Say where two results of one cell differ by more than rounding; ``""`` where they don't."""
    figures = [
        {(row["scope"], row["class"], row["metric"]): row["value"] for row in each.record.metrics()}
        for each in (first, second)
    ]
    for place in dict.fromkeys([*figures[0], *figures[1]]):
        one, other = (found.get(place) for found in figures)
        if not _same(one, other):
            where = f"{place[2]} of {place[1]}"
            return f"{first}: {where} is {one or 'undefined'} in {first.run} and {other or 'undefined'} in {second.run}"
    return ""


def _same(one: str | None, other: str | None) -> bool:
    return (one or "") == (other or "") or bool(one and other and abs(float(one) - float(other)) <= ROUNDING)


def _differences(runs: Sequence[RunDirectory], paths: Sequence[Path]) -> list[str]:
    """Say which keys of the grids differ: the merged grid has the first run's."""
    asked = {"methods", "datasets", "seeds", "settings", "name", "note", "show", "shots", "data_root"}
    first, found = runs[0].grid, []
    for run, path in zip(runs[1:], paths[1:]):
        keys = [key for key in {**first, **run.grid} if key not in asked and first.get(key) != run.grid.get(key)]
        if keys:
            told = ", ".join(f"{key} {run.grid.get(key)}" for key in sorted(keys))
            found.append(f"{path}: grid.yaml keeps the first run's value of what differs here: {told}")
    return found


# -- writing -------------------------------------------------------------------------------------------------------


def _write(place: Path, runs: Sequence[RunDirectory], cells: dict[Key, _Cell], labels: Sequence[Labels]) -> None:
    for run in runs:
        _copy_code(run.path, place)
    target = RunDirectory(place, must_exist=False)
    for key, cell in cells.items():
        if (cell.record.directory / "cell.yaml").is_file():
            _copy(cell, target.cell(*key).directory)
    grid = merged_entries([each.renamed(run.grid) for each, run in zip(labels, runs)])
    write_text(place / "grid.yaml", yaml.safe_dump(grid, sort_keys=False, allow_unicode=True))
    write_json(place / "plan.json", _plan(runs, cells))
    environments = [{"run": str(run.name), **run.environment} for run in runs]
    write_json(place / "environment.json", {**runs[0].environment, "merged_from": [_short(e) for e in environments]})


def _short(environment: dict[str, Any]) -> str:
    """Return the run's name and what its figures may hang on; each cell has its whole environment."""
    keys = ("diadbench", "commit", "platform", "processor", "gpu")
    told = ", ".join(f"{key} {environment[key]}" for key in keys if environment.get(key))
    return f"{environment['run']}: {told}"


def _plan(runs: Sequence[RunDirectory], cells: dict[Key, _Cell]) -> dict[str, Any]:
    names = ("dataset", "method", "setting", "seed")
    asked = ("identity", "configuration", "protocol", "earlier")
    return {
        "compute": runs[0].kept.get("compute", {}),
        "configurations": {cell.wanted.configuration: cell.wanted.decides for cell in cells.values()},
        "cells": [
            {**dict(zip(names, key)), **{name: getattr(cell.wanted, name) for name in asked}}
            for key, cell in cells.items()
        ],
    }


def _copy(cell: _Cell, target: Path) -> None:
    """Copy a cell's directory under its new labels. Its figures and its status stay as they are."""
    shutil.copytree(cell.record.directory, target, ignore=shutil.ignore_patterns(*_LEFT))
    config = yaml.safe_load((target / "cell.yaml").read_text(encoding="utf-8"))
    dataset, method, *_ = cell.key
    new = {**config, "dataset_label": dataset, "method_label": method}
    if method != config["method_label"]:  # leaderboards put what had one label side by side
        new.setdefault("label_before", config["method_label"])
    if new != config:
        write_text(target / "cell.yaml", yaml.safe_dump(new, sort_keys=False, allow_unicode=True))


def _copy_code(run: Path, place: Path) -> None:
    """Copy a run's code; its folders are named by their content, so that runs don't meet."""
    for folder in _folders(run / "code"):
        target = place / "code" / folder.name
        if not target.exists():
            shutil.copytree(folder, target)
    index = read_json(run / CODE_INDEX)
    if index:
        (place / "code").mkdir(exist_ok=True)
        write_json(place / CODE_INDEX, {**index, **(read_json(place / CODE_INDEX) or {})})


def _folders(top: Path) -> Iterator[Path]:
    if top.is_dir():
        yield from (path for path in sorted(top.iterdir()) if path.is_dir())
