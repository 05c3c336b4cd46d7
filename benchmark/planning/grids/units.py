"""Times and amounts of memory, with their units: ``30m``, ``8GB``."""

from __future__ import annotations

import re
from collections.abc import Mapping

from diadbench.common.errors import UserError


def parse_time(value: str | float | None, where: str = "time") -> float | None:
    """Return seconds from ``90``, ``"30m"``, ``"1.5h"``, ``"2d"``. Raises UserError."""
    return _with_unit(value, {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}, where, "30m or 24h")


def parse_memory(value: str | float | None, where: str = "memory") -> float | None:
    """Return bytes from ``"8GB"``, ``"500MB"``, ``"16GiB"`` or a plain number. Raises UserError."""
    units = {"": 1.0, "b": 1.0}
    for power, letter in enumerate("kmgt", start=1):
        units |= {letter: 1000.0**power, letter + "b": 1000.0**power, letter + "ib": 1024.0**power}
    return _with_unit(value, units, where, "8GB or 16GiB")


def _with_unit(value: str | float | None, units: Mapping[str, float], where: str, example: str) -> float | None:
    if value is None:
        return None
    match = re.fullmatch(r"\s*([0-9.]+)\s*([a-zA-Z]*)\s*", str(value))
    try:
        assert match is not None
        number = float(match[1]) * units[match[2].lower()]
    except (AssertionError, KeyError, ValueError):
        raise UserError(f"{where}: expected something like {example}, found {value!r}") from None
    if number <= 0:
        raise UserError(f"{where}: expected something above zero, found {value!r}")
    return number
