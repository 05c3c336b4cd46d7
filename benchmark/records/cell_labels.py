"""The labels of a grid's cells: the one place that says which method meets which dataset, and in what order."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

#: Labels that find a cell: dataset, method, setting, seed.
Key = tuple[str, str, str, int]


def cell_keys(
    datasets: Iterable[str],
    methods: Mapping[str, Collection[str] | None],
    settings: Collection[str],
    seeds: Collection[int],
) -> Iterator[Key]:
    """Yield the labels of all cells, dataset by dataset.

    Args:
        datasets: Labels of the datasets.
        methods: Labels of the methods, each with the datasets that it is restricted to; ``None``: all.
        settings: Settings.
        seeds: Seeds of the methods.
    """
    for dataset in datasets:
        for method, only in methods.items():
            if only is None or dataset in only:
                for setting in settings:
                    for seed in seeds:
                        yield dataset, method, setting, seed


def keys_of_grid(grid: Mapping[str, Any]) -> Iterator[Key]:
    """Yield the labels of the cells of a resolved ``grid.yaml``, given as plain values."""
    methods = {str(label): (entry or {}).get("datasets") for label, entry in (grid.get("methods") or {}).items()}
    return cell_keys(map(str, grid.get("datasets") or {}), methods, grid.get("settings", []), grid.get("seeds", []))
