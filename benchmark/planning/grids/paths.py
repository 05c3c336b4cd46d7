"""Paths in a grid: relative to the file that contains them, absolute once it is read, and relative inside a run.

Paths are roots of datasets, ``data_root``, the files in ``file.py:Class``, and options whose text is the path of an
existing file or folder (containing a ``/`` or a suffix, so that no plain word is taken for a path).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import yaml

from diadbench.common.errors import UserError
from diadbench.common.files import read_json
from diadbench.common.values.yaml_values import SpelledFloat, SpelledInt

Kind = Literal["root", "class", "option"]
#: ``change(kind, text, where)`` returns the replacement of a text.
Change = Callable[[Kind, str, str], str]
#: Types that YAML may give to a folder's name: 2024 is a number to YAML.
_NAMES = (str, SpelledInt, SpelledFloat)
#: Index of the copies of a user's code, see kept_code.py.
CODE_INDEX = "code/index.json"
_GROUPS = {"methods": "method", "datasets": "dataset"}


def with_paths(raw: Mapping[str, Any], change: Change) -> dict[str, Any]:
    """Return a grid's plain values with every path changed. Parts that are not valid in a grid are left unchanged."""
    found = dict(raw)
    if isinstance(raw.get("data_root"), _NAMES):
        found["data_root"] = change("root", str(raw["data_root"]), "data_root")
    for group, key in _GROUPS.items():
        entries = raw.get(group)
        if isinstance(entries, list):
            entries = dict.fromkeys(entries)
            if not any(".py:" in str(label) for label in entries):
                continue
        if isinstance(entries, dict):
            found[group] = {
                label: entry_with_paths(_named(label, entry, key), change, f"{group}.{label}")
                for label, entry in entries.items()
            }
    return found


def _named(label: Any, entry: Any, key: str) -> Any:
    """Add its file to an entry whose label is the file, because the label itself is not changed."""
    if ".py:" in str(label) and (entry is None or (isinstance(entry, dict) and entry.get(key) is None)):
        return {**(entry or {}), key: str(label)}
    return entry


def entry_with_paths(entry: Any, change: Change, where: str) -> Any:
    """Return a method's or dataset's entry with every path changed."""
    if not isinstance(entry, Mapping):
        return entry
    found = dict(entry)
    for key in _GROUPS.values():
        if isinstance(entry.get(key), str) and ".py:" in entry[key]:
            found[key] = change("class", entry[key], f"{where}.{key}")
    if isinstance(entry.get("root"), _NAMES):
        found["root"] = change("root", str(entry["root"]), f"{where}.root")
    for key in ("options", "by_dataset"):
        if key in entry:
            found[key] = _options(entry[key], change, f"{where}.{key}")
    return found


def _options(value: Any, change: Change, where: str) -> Any:
    if isinstance(value, dict):
        return {key: _options(inner, change, f"{where}.{key}") for key, inner in value.items()}
    if isinstance(value, list):
        return [_options(inner, change, where) for inner in value]
    return change("option", value, where) if isinstance(value, str) else value


def absolute(base: Path) -> Change:
    """Return a function that makes relative paths absolute.

    Args:
        base: Directory that the paths are relative to: the grid file's, or the working directory.

    The function raises UserError for a path that is missing there but exists in the working directory.
    """

    def change(kind: Kind, text: str, where: str) -> str:
        if kind == "option":
            known = _is_path(base, text) or _is_path(Path.cwd(), text)
            return str(_found(base, text, where)) if known else text
        if kind == "class":
            path, colon, name = text.rpartition(":")
            return f"{_found(base, path, where)}{colon}{name}"
        return text if text == "sample" else str(_found(base, text, where))

    return change


def kept_in(run: Path) -> Change:
    """Return a function that replaces a missing file of a class by the copy that the run keeps."""
    index = read_json(run / CODE_INDEX) or {}

    def change(kind: Kind, text: str, where: str) -> str:
        path, _, name = text.rpartition(":")
        copied = index.get(os.path.realpath(path)) if kind == "class" and not os.path.exists(path) else None
        return f"{run.absolute() / copied}:{name}" if copied else text

    return change


def relative(run: Path) -> Change:
    """Return a function that writes paths inside a run directory relative to it."""
    top = Path(os.path.abspath(run))

    def change(kind: Kind, text: str, where: str) -> str:
        path, colon, name = text.rpartition(":") if kind == "class" else (text, "", "")
        if not os.path.isabs(path) or not Path(path).is_relative_to(top) or Path(path) == top:
            return text
        return f"./{Path(path).relative_to(top)}{colon}{name}"

    return change


def _joined(base: Path, text: str) -> Path:
    return Path(os.path.abspath(base / Path(text).expanduser()))


def _is_path(base: Path, text: str) -> bool:
    if "/" not in text and not Path(text).suffix:
        return False
    try:
        return _joined(base, text).exists()
    except (OSError, ValueError):
        return False


def _found(base: Path, text: str, where: str) -> Path:
    path = _joined(base, text)
    here = Path(os.path.abspath(text))
    if path != here and not path.exists() and here.exists():
        raise UserError(
            f"{where}: {text}: not found in {base}; a relative path in a grid file is relative to that file. "
            f"There is one in the working directory: write {here}"
        )
    return path


def over_the_file(key: str, value: Any, names: list[str]) -> Any:
    """Return an override's value with absolute paths; they are relative to the working directory.

    Args:
        key: The override's key, for messages.
        value: The override's value.
        names: The parts of its dotted key.
    """
    nested: Any = value
    for name in reversed(names):
        nested = {name: nested}
    changed = with_paths(nested, absolute(Path.cwd()))
    for name in names:
        changed = changed[name]
    return changed


def inside_relative(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return a cell's configuration for its file: paths inside the run directory are written relative to it."""
    change = relative(Path(config["run_directory"]))
    found = dict(config)
    for key in ("method", "dataset", "root"):
        if isinstance(config.get(key), str):
            found[key] = change("root" if key == "root" else "class", config[key], key)
    return {**found, "run_directory": "."}


# -- run directories of earlier versions ---------------------------------------------------------------------------


def recalled(raw: dict[str, Any], run: Path) -> dict[str, Any]:
    """Fill relative paths of a run's ``grid.yaml`` from its cells: earlier versions kept absolute ones only there."""
    found = dict(raw)
    loose = isinstance(raw.get("data_root"), str) and _is_lost(run, raw["data_root"])
    for group, key in _GROUPS.items():
        if isinstance(raw.get(group), dict):
            found[group] = {
                label: _recalled_entry(group, key, str(label), entry, run, loose) for label, entry in raw[group].items()
            }
    return {name: value for name, value in found.items() if not (loose and name == "data_root")}


def _recalled_entry(group: str, key: str, label: str, entry: Any, run: Path, loose: bool) -> Any:
    values = dict(entry) if isinstance(entry, dict) else {}
    name = str(values.get(key) or "")
    root = values.get("root")
    lost_root = group == "datasets" and ((loose and root is None) or (isinstance(root, str) and _is_lost(run, root)))
    lost_class = ".py:" in name and _is_lost(run, name.rpartition(":")[0])
    config = next(_configs(run, group, label), {}) if lost_root or lost_class else {}
    if lost_root and config.get("root"):
        values["root"] = config["root"]
    if lost_class and config.get(key):
        values[key] = config[key]
    return values or entry


def _is_lost(run: Path, text: str) -> bool:
    path = Path(text).expanduser()
    return text != "sample" and not path.is_absolute() and not (run / path).exists()


def _configs(run: Path, group: str, label: str) -> Iterator[dict[str, Any]]:
    """Yield the ``cell.yaml`` of each cell of one label."""
    name = "method_label" if group == "methods" else "dataset_label"
    for path in sorted((run / "cells").glob("*/*/*/seed*/cell.yaml")):
        config = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
        if config.get(name) == label:
            yield config
