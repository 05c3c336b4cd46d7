"""A grid: methods x datasets x settings x seeds, read from YAML and checked before anything runs.

A grid file::

    methods:
      patchcore:                       # a registered name, or the name of a file in configs/methods
      mine:
        method: my_method.py:MyMethod  # a file, an entry point, anomalib:Padim, ...
        options: {width: 64}           # keyword arguments of the method
        datasets: [toy]                # on these only
        by_dataset: {toy: {width: 32}} # other options on one dataset
    datasets:
      toy: {options: {train: 50}}      # keyword arguments of the dataset
      mvtec: {root: /data/mvtec}
    seeds: [0, 1, 2]
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from diadbench.benchmark.planning.grids.grid_checks import check_values
from diadbench.benchmark.planning.grids.grid_entries import check_keys, dataset_entry, method_entry
from diadbench.benchmark.planning.grids.grid_shape import Cell, DatasetSpec, Grid, MethodSpec, absolute_paths
from diadbench.benchmark.planning.grids.overrides import lay, names_in, parse_overrides
from diadbench.benchmark.planning.grids.paths import absolute, kept_in, over_the_file, recalled, with_paths
from diadbench.benchmark.planning.grids.presets import configs_in, grid_names, method_presets, preset_names
from diadbench.benchmark.planning.grids.units import parse_memory, parse_time
from diadbench.common.errors import UserError, unknown_name
from diadbench.common.show import Show
from diadbench.common.utf8 import read_user_text
from diadbench.common.values.typed import check, hints_of, spelled
from diadbench.common.values.yaml_values import load

__all__ = [
    "Cell",
    "DatasetSpec",
    "Grid",
    "MethodSpec",
    "absolute_paths",
    "grid_names",
    "laid_over",
    "load_grid",
    "method_presets",
    "parse_grid",
    "parse_memory",
    "parse_overrides",
    "parse_time",
    "preset_names",
    "with_overrides",
]


def load_grid(source: str | Path, overrides: Mapping[str, Any] | None = None) -> Grid:
    """Read a grid: a packaged name (``demo``), a YAML file, or a run directory (its ``grid.yaml``).

    Relative paths in a file are relative to that file, those of overrides to the working directory. The grid has
    absolute ones.

    Args:
        source: Name or path.
        overrides: Dotted keys and values laid over the file: ``{"seeds": [0, 1], "methods.patchcore.options.k": 5}``.

    Raises:
        UserError: No such grid, broken YAML, unknown keys or names, values of a wrong type, a path that is not there
            but in the working directory.
    """
    name, text, where, base = _read(str(source))
    try:
        raw = load(text)
    except yaml.YAMLError as error:
        raise UserError(f"{where}: not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(raw, dict):
        raise UserError(f"{where}: expected keys and values at the top, found {type(raw).__name__}")
    if (base / "cells").is_dir():
        raw = recalled(raw, base)
    return laid_over(
        {"name": name, **with_paths(with_paths(raw, absolute(base)), kept_in(base))}, overrides or {}, where
    )


def laid_over(raw: Mapping[str, Any], overrides: Mapping[str, Any], where: str = "grid") -> Grid:
    """Check a grid given as plain values after dotted keys are applied; paths are relative to the working directory.

    Raises UserError as :func:`load_grid` does.
    """
    values = copy.deepcopy(dict(raw))
    for key, value in overrides.items():
        lay(values, key, over_the_file(key, value, names_in(key)))
    return parse_grid(values, where)


def with_overrides(grid: Grid | Mapping[str, Any], overrides: Mapping[str, Any] | None = None) -> Grid:
    """Return a grid, given as plain values or checked already, with dotted keys laid over it as :func:`load_grid` does.

    Raises:
        UserError: As :func:`load_grid` does.
    """
    if isinstance(grid, Grid) and not overrides:
        return grid
    raw = load(grid.to_yaml()) if isinstance(grid, Grid) else {"name": "run", **copy.deepcopy(dict(grid))}
    for key, value in (overrides or {}).items():
        lay(raw, key, over_the_file(key, value, names_in(key)))
    return parse_grid(raw)


def parse_grid(raw: Mapping[str, Any], where: str = "grid") -> Grid:
    """Check a grid given as plain values; relative paths are relative to the working directory.

    Raises UserError as :func:`load_grid` does.
    """
    known = [entry.name for entry in dataclasses.fields(Grid)]
    check_keys(raw, known, where)
    values = with_paths(raw, absolute(Path.cwd()))
    for group, read in (("methods", method_entry), ("datasets", dataset_entry)):
        entries = values.get(group)
        if isinstance(entries, list):
            entries = dict.fromkeys(entries)
        if not isinstance(entries, dict) or not entries:
            raise UserError(f"{where}: {group}: expected at least one, as a mapping or a list; found {entries!r}")
        values[group] = {str(label): read(str(label), entry, where) for label, entry in entries.items()}
    values["show"] = spelled(Show, values.get("show", {}))
    Show.read(values["show"], f"{where}: show")
    settings = {key: value for key, value in values.items() if key not in ("methods", "datasets")}
    grid = Grid(**{**values, **check(hints_of(Grid), settings, where)})
    check_values(grid, where)
    return grid


def _read(source: str) -> tuple[str, str, str, Path]:
    """Return a grid's name, its text, its name in messages, and the directory that its paths are relative to."""
    path = Path(source).expanduser()
    if path.is_dir() and (path / "grid.yaml").is_file():
        return (
            path.resolve().name,
            (path / "grid.yaml").read_text(encoding="utf-8"),
            str(path / "grid.yaml"),
            path.absolute(),
        )
    if path.suffix in (".yaml", ".yml"):
        if not path.is_file():
            raise UserError(f"{path}: no such grid file; `diadbench grids list` shows the packaged ones")
        return path.stem, read_user_text(path), str(path), path.absolute().parent
    packaged = configs_in("grids") / f"{source}.yaml"
    if "/" in source or not packaged.is_file():
        raise unknown_name("grid", source, grid_names())
    return source, packaged.read_text(encoding="utf-8"), f"grid {source!r}", Path.cwd()
