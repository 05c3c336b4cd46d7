"""Whether ``grid.yaml`` asks for what the cells are: it is what a reader of a run looks at, and runs again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import PurePath
from typing import Any

from diadbench.benchmark.planning.grid import Cell, Grid, load_grid
from diadbench.benchmark.records.identity import CONTENT
from diadbench.benchmark.records.store import CellRecord, RunDirectory
from diadbench.benchmark.sharing.verify_findings import Finding
from diadbench.common.errors import UserError

#: Where a merge wrote which runs it is made of. One grid can't hold the settings of several.
_MERGED = "merged_from"


def check_grid_file(run: RunDirectory, cells: list[CellRecord]) -> Iterator[Finding]:
    """Yield where ``grid.yaml`` asks for another thing than a cell was run with, as the cell's ``cell.yaml`` says.

    Options that name a file are compared by the file's name, because a run may have been moved.
    """
    try:
        grid = load_grid(run.path)
        asked = {cell.key: cell for cell in grid.cells()}
    except UserError as error:
        yield Finding("grid", f"grid.yaml can't be read ({error})")
        return
    merged = _MERGED in run.environment
    of_run = {record.directory for record in run.cells()}
    for record in cells:
        key = record.dataset, record.method, record.setting, record.seed
        name = "{} / {} / {} / seed {}".format(*key)
        if record.directory not in of_run or not record.status.get("decides"):
            continue
        if key not in asked:
            if not merged:  # its grid crosses all seeds with all methods, and may have fewer
                yield Finding("grid", "grid.yaml doesn't ask for it", name)
            continue
        for what, given, found in _differences(grid, asked[key], record, merged=merged):
            yield Finding("grid", f"grid.yaml has {what}: {given!r}, cell.yaml {found!r}", name)


def _differences(grid: Grid, cell: Cell, record: CellRecord, *, merged: bool) -> Iterator[tuple[str, Any, Any]]:
    config = record.config
    yield from _differing(f"methods.{cell.method.label}.", {"method": cell.method.method}, config)
    decides = record.status["decides"]["method_options"]
    given = {key: value for key, value in cell.method.options.items() if key in decides}
    yield from _differing(f"methods.{cell.method.label}.options.", given, config["method_options"])
    if merged:
        return
    yield from _differing(f"datasets.{cell.dataset.label}.", {"dataset": cell.dataset.dataset}, config)
    yield from _differing(f"datasets.{cell.dataset.label}.options.", cell.dataset.options, config["dataset_options"])
    sizes = {"image_size": list(grid.size_for(cell.method)), "evaluation_size": list(grid.evaluated_at)}
    own = {"resize": grid.resize, "threads": grid.threads, "tf32": grid.tf32, "batch_size": grid.batch_size}
    yield from _differing("", {**sizes, **own}, config)


def _differing(where: str, given: Mapping[str, Any], found: Mapping[str, Any]) -> Iterator[tuple[str, Any, Any]]:
    for key, value in given.items():
        if value is not None and key in found and not _same(value, found[key]):
            yield f"{where}{key}", value, found[key]


def _same(given: Any, found: Any) -> bool:
    """Whether a value of a grid is one of a cell, in which each value has the type that its option takes."""
    if isinstance(given, Mapping) and isinstance(found, Mapping):
        return all(key in found and _same(value, found[key]) for key, value in given.items())
    if isinstance(given, list) and isinstance(found, list):
        return len(given) == len(found) and all(map(_same, given, found))
    if isinstance(found, list) and len(found) == 1:
        return _same(given, found[0])
    if given == found or str(given) == str(found) or str(found).startswith(CONTENT):
        return True
    if isinstance(given, str) and isinstance(found, str):
        return "/" in given and PurePath(given).name == PurePath(found).name
    return _number(given) is not None and _number(given) == _number(found)


def _number(value: Any) -> float | None:
    try:
        return None if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        return None
