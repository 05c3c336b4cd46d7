"""Build a grid from the command line: methods and datasets added to a grid or given alone, seeds, a data root.

Names on the command line are added to the grid and never replace its entries.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from diadbench.benchmark.planning.grid import Grid, laid_over, load_grid, parse_overrides
from diadbench.common.errors import UserError

#: Keys of overrides that contain a whole group; they are applied before additions to it.
GROUPS = ("methods", "datasets")
#: Maximum length of a generated run name, since it names a directory.
LONGEST_NAME = 60


@dataclass(frozen=True)
class Typed:
    """The parts of a grid given on the command line.

    Attributes:
        words: The name, file or run directory of a grid, if any, and overrides ``key=value``.
        methods: Methods to add: registered names, ``anomalib:NAME``, ``file.py:Class``.
        datasets: Datasets to add.
        changes: Further keys of the grid and their values, such as ``seeds``; they win over the words.
    """

    words: Sequence[str] = ()
    methods: Sequence[str] = ()
    datasets: Sequence[str] = ()
    changes: Mapping[str, Any] = field(default_factory=dict)

    @property
    def source(self) -> str:
        """Return the grid among the words, or an empty text: the first word, unless it is ``key=value``."""
        first = self.words[0] if self.words else ""
        return first if "=" not in first or Path(first).expanduser().exists() else ""

    @property
    def overrides(self) -> dict[str, Any]:
        """Return the overrides ``key=value`` and the further keys."""
        return {**parse_overrides([*self.words[bool(self.source) :]]), **self.changes}


def typed_grid(typed: Typed, tell: Callable[[str], None]) -> Grid:
    """Return the checked grid of a command line.

    Args:
        typed: The parts given on the command line.
        tell: Called with a line for each method and dataset that the grid already has.

    Raises:
        UserError: No grid and not both methods and datasets; and all that
            :func:`~diadbench.benchmark.planning.grid.load_grid` refuses.
    """
    changes = typed.overrides
    whole = {key: value for key, value in changes.items() if key in GROUPS}
    rest = {key: value for key, value in changes.items() if key not in GROUPS}
    if not typed.source:
        return _without_file(typed, whole, rest)
    there = load_grid(typed.source, whole)
    added: dict[str, Any] = {}
    sides: list[tuple[str, Sequence[str], Mapping[str, Any]]] = [
        ("method", typed.methods, there.methods),
        ("dataset", typed.datasets, there.datasets),
    ]
    for kind, names, known in sides:
        labels = labels_for(kind, names, known)
        for name in names:
            if labels[name] in known:
                tell(f"{kind} {name} is in the grid already, as {labels[name]}; it stays as it is there")
            else:
                added[f'{kind}s."{labels[name]}"'] = {kind: name}
    return load_grid(typed.source, {**whole, **added, **rest})


def _without_file(typed: Typed, whole: dict[str, Any], rest: dict[str, Any]) -> Grid:
    if not (typed.methods or "methods" in whole) or not (typed.datasets or "datasets" in whole):
        raise UserError(
            "no grid: name one (`diadbench grids list`), or say what to run with --method and --dataset; "
            "for example --method patchcore --dataset mvtec --data-root /data"
        )
    entries: dict[str, Any] = {}
    for kind, names in (("method", typed.methods), ("dataset", typed.datasets)):
        made = {label: {kind: name} for name, label in labels_for(kind, names, {}).items()}
        entries[f"{kind}s"] = {**_as_mapping(whole.get(f"{kind}s")), **made}
    name = _name(*(list(entries[group]) for group in GROUPS))
    return laid_over({"name": name, **entries}, rest, "command line")


def _as_mapping(group: Any) -> dict[str, Any]:
    return dict.fromkeys(group) if isinstance(group, list) else dict(group or {})


def _name(methods: Sequence[str], datasets: Sequence[str]) -> str:
    """Return the name of a run without a grid: the same methods and datasets resume in the same directory."""
    whole = f"{'+'.join(methods)} on {'+'.join(datasets)}"
    plain = re.sub(r"[^\w.+-]+", "-", whole)
    if len(plain) <= LONGEST_NAME:
        return plain
    return f"{plain[: LONGEST_NAME - 9]}-{hashlib.sha256(whole.encode()).hexdigest()[:8]}"


def labels_for(
    kind: str,
    names: Sequence[str],
    known: Mapping[str, Any],
) -> dict[str, str]:
    """Return a label for each given method or dataset.

    An entry that the grid already has keeps its label. A class of a file is labelled by its name or, if that label is
    used, by file and class: ``a.Mine``, ``b.Mine``.

    Args:
        kind: ``method`` or ``dataset``.
        names: Names as typed.
        known: The grid's own :class:`MethodSpec` or :class:`DatasetSpec`, by label.
    """
    files = {name: os.path.abspath(os.path.expanduser(name)) if ".py:" in name else name for name in names}
    holds = {label: getattr(spec, kind) for label, spec in known.items()}
    found = {name: label for name, full in files.items() if (label := _label_there(name, full, holds)) is not None}
    new = list(dict.fromkeys(name for name in names if name not in found))
    wishes = [_shortest(name) for name in new]
    several = {wish for wish in wishes if wishes.count(wish) > 1}
    for name in new:
        taken = {*holds, *found.values(), *several}
        found[name] = next(label for label in _forms(name, files[name]) if label not in taken)
    return found


def _label_there(name: str, full: str, holds: Mapping[str, str]) -> str | None:
    """Return the label under which the grid has the same entry, preferably the label equal to its name."""
    if holds.get(_shortest(name)) == full:
        return _shortest(name)
    if ".py:" in name:
        return next((label for label, held in holds.items() if held == full), None)
    return None


def _shortest(name: str) -> str:
    return name.rpartition(":")[2] if ".py:" in name else name


def _forms(name: str, full: str) -> Iterator[str]:
    """Yield labels for a name, from shortest to longest."""
    yield _shortest(name)
    if ".py:" in name:
        path, _, cls = full.rpartition(":")
        parts = Path(path).with_suffix("").parts[1:]
        for count in range(1, len(parts) + 1):
            yield f"{'-'.join(parts[-count:])}.{cls}"
    number = 2
    while True:
        yield f"{_shortest(name)}-{number}"
        number += 1


def is_chosen(labels: Collection[str], method: str, dataset: str, grid: Grid) -> bool:
    """Whether ``--only`` selects a cell. Labels of one kind are alternatives; both kinds must match."""
    methods, datasets = set(labels) & grid.methods.keys(), set(labels) & grid.datasets.keys()
    return (not methods or method in methods) and (not datasets or dataset in datasets)
