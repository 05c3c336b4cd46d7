"""The packaged grids and presets (``configs/``), by name."""

from __future__ import annotations

import importlib.resources
import re
from typing import Any

from diadbench.common.values.yaml_values import load


def grid_names() -> dict[str, str]:
    """Return ``{name: note}`` of the packaged grids."""
    found = {}
    for path in sorted(configs_in("grids").iterdir(), key=lambda path: path.name):
        if path.name.endswith(".yaml"):
            found[path.name.removesuffix(".yaml")] = str(load(path.read_text(encoding="utf-8")).get("note", ""))
    return found


def configs_in(folder: str) -> Any:
    """Return a folder of ``configs/`` as a traversable resource."""
    return importlib.resources.files("diadbench.configs") / folder


def read_preset(folder: str, name: str) -> dict[str, Any] | None:
    """Return the values of a packaged preset in ``configs/<folder>``; ``None`` if none has the name."""
    path = configs_in(folder) / f"{name}.yaml"
    return load(path.read_text(encoding="utf-8")) if re.fullmatch(r"[\w.+-]+", name) and path.is_file() else None


def preset_names(folder: str) -> list[str]:
    """Return the names of the packaged presets in ``configs/<folder>`` (``methods`` or ``datasets``)."""
    return sorted(
        path.name.removesuffix(".yaml") for path in configs_in(folder).iterdir() if path.name.endswith(".yaml")
    )


def method_presets(*, with_own: bool = False) -> dict[str, dict[str, Any]]:
    """Return the packaged presets of methods by name: ``method``, ``options`` and the like.

    Args:
        with_own: Include presets that have the same name as their method.
    """
    found = {name: {"method": name, **(read_preset("methods", name) or {})} for name in preset_names("methods")}
    return {name: values for name, values in found.items() if with_own or values["method"] != name}
