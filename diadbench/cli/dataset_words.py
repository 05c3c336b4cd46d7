"""Options of datasets as they are typed: ``key=value`` words."""

from __future__ import annotations

from typing import Any


def dataset_options(name: str, words: list[str]) -> dict[str, Any]:
    """Read ``key=value`` words as options of a dataset. Raises UserError for unknown ones and wrong types."""
    if not words:
        return {}
    from diadbench.benchmark.planning.grid import parse_overrides
    from diadbench.benchmark.planning.resolve import checked_options
    from diadbench.datasets.lookup import get_class

    given = parse_overrides(words)
    checked = checked_options(get_class(name), given, f"dataset {name!r}")
    return {key: checked[key] for key in given}
