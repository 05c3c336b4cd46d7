"""Read a method's or dataset's entry of a grid, laid over the preset that it names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from diadbench.benchmark.planning.grids.grid_checks import check_positive
from diadbench.benchmark.planning.grids.grid_shape import RESOLVED, DatasetSpec, MethodSpec
from diadbench.benchmark.planning.grids.presets import read_preset
from diadbench.common.errors import UserError, unknown_name
from diadbench.common.values.typed import check, hints_of, plain
from diadbench.common.wording import some


def method_entry(label: str, entry: Any, where: str) -> MethodSpec:
    """Return a checked method of a grid from its plain entry. Raises UserError."""
    known = ["method", "options", "image_size", "time_limit", "datasets", "by_dataset", RESOLVED]
    values = _entry(f"methods.{label}", entry, known, where)
    if "by_dataset" in values:
        key = f"methods.{label}.by_dataset"
        given = _mapping(key, values["by_dataset"], where)
        values["by_dataset"] = {str(name): _mapping(f"{key}.{name}", options, where) for name, options in given.items()}
    return MethodSpec(
        label, **_checked(MethodSpec, f"methods.{label}.", _with_preset("method", "methods", label, values), where)
    )


def dataset_entry(label: str, entry: Any, where: str) -> DatasetSpec:
    """Return a checked dataset of a grid from its plain entry. Raises UserError."""
    values = _entry(
        f"datasets.{label}", entry, ["dataset", "root", "options", "train_fraction", "contamination", RESOLVED], where
    )
    return DatasetSpec(
        label, **_checked(DatasetSpec, f"datasets.{label}.", _with_preset("dataset", "datasets", label, values), where)
    )


def _checked(spec: type, prefix: str, values: dict[str, Any], where: str) -> dict[str, Any]:
    """Check an entry's values against its type hints. Options are checked later, when their class is known."""
    check_positive(plain(values.get("image_size")), f"{where}: {prefix}image_size")
    typed = {key: value for key, value in values.items() if key not in ("options", "by_dataset")}
    return {**values, **check(hints_of(spec), typed, where, prefix)}


def _with_preset(key: str, folder: str, label: str, values: dict[str, Any]) -> dict[str, Any]:
    """Apply an entry's values over the packaged preset that it names, if any."""
    name = str(values.pop(key, None) or label)
    preset = None if values.pop(RESOLVED, False) else read_preset(folder, name)
    if preset is None:
        return {key: name, **values}
    options = {**preset.get("options", {}), **values.pop("options", {})}
    return {key: name, **preset, **values, "options": options}


def _entry(key: str, entry: Any, known: list[str], where: str) -> dict[str, Any]:
    if entry is None:
        return {}
    if not isinstance(entry, dict):
        raise UserError(f"{where}: {key}: expected keys ({some(known)}), found {entry!r}")
    check_keys(entry, known, f"{where}: {key}")
    options = _mapping(f"{key}.options", entry.get("options"), where)
    return {name: value for name, value in {**entry, "options": options}.items() if value is not None}


def _mapping(key: str, value: Any, where: str) -> dict[str, Any]:
    if value is not None and not isinstance(value, dict):
        raise UserError(f"{where}: {key}: expected keys and values, found {value!r}")
    return value or {}


def check_keys(entry: Mapping[str, Any], known: list[str], where: str) -> None:
    """Refuse keys other than the known ones. Raises UserError."""
    for key in entry:
        if key not in known:
            raise unknown_name("key", str(key), known, where=where)
