"""Names of datasets. A table of import strings: listing them imports nothing."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from diadbench.common.plugins import entry_points, load_class
from diadbench.datasets.facts.known_sets import CATALOG

if TYPE_CHECKING:
    from diadbench.datasets.base import Dataset

GROUP = "diadbench.datasets"
TABLE: dict[str, str] = {name: entry.target for name, entry in CATALOG.items()}


def names() -> list[str]:
    """Return all known names: first the project's, then those of installed plug-ins."""
    return [*TABLE, *entry_points(GROUP)]


def get_class(name: str) -> type[Dataset]:
    """Return the adapter's class for a name, ``file.py:Class``, or an entry point. Raises UserError."""
    return load_class("dataset", name, TABLE, GROUP)


def get(name: str, root: Path | str | None = None, **options: Any) -> Dataset:
    """Create the dataset ``name`` from its options; each takes ``limit``. Raises UserError for unknown options."""
    from diadbench.common.values.arguments import named_arguments

    adapter = get_class(name)
    limit = options.pop("limit", None)
    dataset = adapter(root, **named_arguments(adapter, options, f"dataset {name!r}"))
    if limit is not None:
        dataset.limit_to(limit)
    return dataset
