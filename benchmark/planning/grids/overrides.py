"""Dotted keys laid over a grid: ``methods.patchcore.options.k=5``."""

from __future__ import annotations

import re
from typing import Any

from diadbench.common.errors import UserError
from diadbench.common.values.yaml_values import load_pairs


def names_in(key: str) -> list[str]:
    """Return the names of a dotted key, without quotation marks."""
    return [quoted or plain for quoted, plain in re.findall(r'"([^"]+)"|([^."]+)', key)]


def lay(raw: dict[str, Any], key: str, value: Any) -> None:
    """Set a dotted key. A name that contains dots can be quoted: ``methods."a.b".options.k``."""
    names = names_in(key)
    place = raw
    for name in names[:-1]:
        if isinstance(place.get(name), list):
            place[name] = dict.fromkeys(place[name])
        if place.get(name) is None:
            place[name] = {}
        place = place[name]
        if not isinstance(place, dict):
            raise UserError(f"override {key}: {name} has no keys below it, it is {place!r}")
    place[names[-1]] = value


def parse_overrides(texts: list[str]) -> dict[str, Any]:
    """Turn ``["seeds=[0,1]", "image_size=128"]`` into keys and YAML values. Raises UserError."""
    return load_pairs(texts, "override", "seeds=[0,1]")
