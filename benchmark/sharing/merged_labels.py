"""Labels of runs that are merged: one label must mean one thing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Any

from diadbench.benchmark.records.cell_labels import Key
from diadbench.benchmark.records.identity import Wanted, changes
from diadbench.benchmark.records.store import RunDirectory

#: Keys of ``decides`` that are the data's, not the method's.
_OF_DATA = ("fingerprint", "limit", "train_subset", "setting")
_GROUPS = {"methods": "method", "datasets": "dataset"}


@dataclass
class Labels:
    """What the labels of a run become.

    Attributes:
        methods: ``{label: new label}`` of methods that are renamed.
        datasets: The same of data sets.
        reasons: Why, a line for each.
    """

    methods: dict[str, str] = field(default_factory=dict)
    datasets: dict[str, str] = field(default_factory=dict)
    reasons: list[str] = field(default_factory=list)

    def key(self, key: Key) -> Key:
        """Return a cell's labels in the merged run."""
        dataset, method, setting, seed = key
        return self.datasets.get(dataset, dataset), self.methods.get(method, method), setting, seed

    def renamed(self, grid: Mapping[str, Any]) -> dict[str, Any]:
        """Return a grid's plain values under the new labels."""
        found = dict(grid)
        for group, names in (("methods", self.methods), ("datasets", self.datasets)):
            entries = grid.get(group) or {}
            found[group] = {
                names.get(str(label), str(label)): self._entry(group, str(label), entry)
                for label, entry in entries.items()
            }
        return found

    def _entry(self, group: str, label: str, entry: Any) -> dict[str, Any]:
        """Return an entry that says its name itself, and names data sets by their new labels."""
        found = dict(entry or {})
        found.setdefault(_GROUPS[group], label)
        if found.get("datasets"):
            found["datasets"] = [self.datasets.get(name, name) for name in found["datasets"]]
        if found.get("by_dataset"):
            found["by_dataset"] = {self.datasets.get(name, name): value for name, value in found["by_dataset"].items()}
        return found


def new_labels(run: RunDirectory, taken: Mapping[Key, Wanted], grids: Sequence[Mapping[str, Any]]) -> Labels:
    """Return new labels for what a run calls by a label that stands for something else in the runs before it.

    Args:
        run: The run.
        taken: What the runs before it ask of their cells.
        grids: Their grids, under their new labels.
    """
    found = Labels()
    known = {group: {label for grid in grids for label in grid[group]} for group in _GROUPS}
    data, methods = _data(taken), _methods(taken)
    for label, prints in _data(run.wanted).items():
        if label in data and not prints & data[label]:  # methods that read other channels have other fingerprints
            found.datasets[label] = _free(label, run.name, known["datasets"])
            found.reasons.append(f"data set {label} is now {found.datasets[label]}: other data under one label")
    moved = {found.key(key): each for key, each in run.wanted.items()}
    for label, uses in _methods(moved).items():
        why = _other_method(label, uses, methods.get(label, {}), run.grid, grids)
        if why:
            found.methods[label] = _free(label, run.name, known["methods"])
            found.reasons.append(f"method {label} is now {found.methods[label]}: {why}")
    return found


def _free(label: str, run: str, known: set[str]) -> str:
    name, number = f"{label} ({run})", 2
    while name in known:
        name, number = f"{label} ({run} {number})", number + 1
    return name


def _data(wanted: Mapping[Key, Wanted]) -> dict[str, set[str]]:
    """Return ``{data set: fingerprints}``."""
    found: dict[str, set[str]] = {}
    for (dataset, *_), each in wanted.items():
        found.setdefault(dataset, set()).add(str(each.decides.get("fingerprint")))
    return found


def _methods(wanted: Mapping[Key, Wanted]) -> dict[str, dict[tuple[str, str], dict[str, Any]]]:
    """Return ``{method: {(data set, setting): what decides beside the data}}``."""
    found: dict[str, dict[tuple[str, str], dict[str, Any]]] = {}
    for (dataset, method, setting, _), each in wanted.items():
        own = {key: value for key, value in each.decides.items() if key not in _OF_DATA}
        found.setdefault(method, {})[dataset, setting] = own
    return found


def _other_method(
    label: str,
    uses: Mapping[tuple[str, str], dict[str, Any]],
    before: Mapping[tuple[str, str], dict[str, Any]],
    grid: Mapping[str, Any],
    grids: Sequence[Mapping[str, Any]],
) -> str:
    """Say how a method differs from the one with its label; by the grids' entries where no cells of a place tell."""
    shared = [place for place in uses if place in before]
    for place in shared:
        if before[place] != uses[place]:
            return "; ".join(changes(before[place], uses[place])[:3])
    others = [_plain(label, each["methods"][label]) for each in grids if label in each["methods"]]
    own = _plain(label, grid["methods"].get(label))
    return "" if shared or all(own == other for other in others) else "another entry in the grid"


def _plain(label: str, entry: Any) -> dict[str, Any]:
    """Return an entry without its paths, which are those of a machine, and without where it is run."""
    found = {"method": label, **(entry or {})}
    found["method"] = PurePath(str(found["method"])).name
    left = ("datasets", "time_limit", "resolved", "by_dataset")
    return {key: _name(value) for key, value in found.items() if key not in left and value not in (None, {})}


def _name(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _name(inner) for key, inner in value.items()}
    return PurePath(value).name if isinstance(value, str) else value


def merged_entries(grids: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return one grid: the first's values, with the methods, data sets, settings and seeds of all."""
    found = {**grids[0]}
    for key in ("methods", "datasets"):
        entries: dict[str, dict[str, Any]] = {}
        for grid in grids:
            for label, entry in grid[key].items():
                entries[label] = _together(entries[label], entry) if label in entries else dict(entry)
        found[key] = entries
    for key in ("settings", "seeds", "shots"):
        every = [value for grid in grids for value in grid.get(key) or []]
        if every:
            found[key] = list(dict.fromkeys(every))
    return found


def _together(first: Mapping[str, Any], second: Mapping[str, Any]) -> dict[str, Any]:
    """Return the first entry, run on the data sets of both, with the options that either has on a data set."""
    found = dict(first)
    if first.get("datasets") and second.get("datasets"):
        found["datasets"] = list(dict.fromkeys([*first["datasets"], *second["datasets"]]))
    else:
        found.pop("datasets", None)
    if second.get("by_dataset"):
        found["by_dataset"] = {**second["by_dataset"], **(first.get("by_dataset") or {})}
    return found
