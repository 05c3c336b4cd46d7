"""Names of methods. A table of import strings and facts: listing them imports no torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from diadbench.common.plugins import entry_points, load_class
from diadbench.methods.catalog import CATALOG

if TYPE_CHECKING:
    from diadbench.methods.base import Method

GROUP = "diadbench.methods"
TABLE: dict[str, str] = {name: entry.target for name, entry in CATALOG.items()}


def names() -> list[str]:
    """Return all known names: first the project's, then those of installed plug-ins."""
    return [*TABLE, *entry_points(GROUP)]


def get_class(name: str) -> type[Method]:
    """Return the class for a name, ``file.py:Class``, an entry point, or ``anomalib:Model``. Raises UserError."""
    if name.startswith("anomalib:"):
        from diadbench.methods.anomalib_models.bridge import bridge

        return bridge(name.removeprefix("anomalib:"))
    found: type[Method] = load_class("method", name, TABLE, GROUP)
    return found
