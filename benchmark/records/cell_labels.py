"""The labels of a grid's cells: which method is run on which dataset, and in what order."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

#: Setting of a grid that expands to one setting of its cells for each number of ``shots``.
FEW_SHOT = "few-shot"

#: Labels that identify a cell: dataset, method, setting, seed.
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


def cell_settings(settings: Iterable[str], shots: Iterable[int]) -> list[str]:
    """Return the settings of a grid's cells: ``few-shot`` becomes ``few-shot-1``, ``few-shot-2`` ..."""
    numbers = list(shots)
    return [
        each
        for setting in settings
        for each in ([few_shot(count) for count in numbers] if setting == FEW_SHOT else [setting])
    ]


def few_shot(shots: int) -> str:
    """Return the setting of cells that are trained on this many images per class."""
    return f"{FEW_SHOT}-{shots}"


def shots_of(setting: str) -> int | None:
    """Return how many images per class a cell's setting means; ``None``: all."""
    count = setting.removeprefix(f"{FEW_SHOT}-")
    return int(count) if count != setting and count.isdecimal() else None


def keys_of_grid(grid: Mapping[str, Any]) -> Iterator[Key]:
    """Yield the labels of the cells of a resolved ``grid.yaml``, given as plain values."""
    methods = {str(label): (entry or {}).get("datasets") for label, entry in (grid.get("methods") or {}).items()}
    settings = cell_settings(grid.get("settings", []), grid.get("shots") or [])
    return cell_keys(map(str, grid.get("datasets") or {}), methods, settings, grid.get("seeds", []))
