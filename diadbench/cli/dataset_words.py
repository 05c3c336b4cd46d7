"""Options of datasets on the command line, as ``key=value`` words."""

from __future__ import annotations

from typing import Any


def dataset_options(name: str, words: list[str]) -> dict[str, Any]:
    """Read ``key=value`` words as options of a dataset. Raises UserError for unknown ones and wrong types."""
    if not words:
        return {}
    from diadbench.benchmark.planning.grid import parse_overrides
    from diadbench.common.values.arguments import given_arguments
    from diadbench.datasets.lookup import get_class

    return given_arguments(get_class(name), parse_overrides(words), f"dataset {name!r}")
