"""The run directory: its grid, its plan, its cells and their results."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Iterable, Iterator
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from diadbench.benchmark.records.cell_labels import Key, keys_of_grid
from diadbench.benchmark.records.cell_record import CellRecord, cell_path, cell_place
from diadbench.benchmark.records.identity import Wanted
from diadbench.benchmark.records.own_files import load_yaml, own_file
from diadbench.common.errors import UserError
from diadbench.common.files import read_json, write_json

if TYPE_CHECKING:
    import pandas as pd

    from diadbench.benchmark.records.results import Results


#: Advice for a damaged plan.
_PLAN_AGAIN = "remove it, and the same `diadbench run` makes it again"


class RunDirectory:
    """A run directory, new or old.

    Args:
        path: The directory.
        must_exist: Raise when it is not a run directory.

    Raises:
        UserError: Not a run directory.
    """

    def __init__(self, path: Path | str, *, must_exist: bool = True) -> None:
        self.path = Path(path)
        if self.path.is_file():
            raise UserError(f"{self.path}: a file; expected the directory of a run")
        if must_exist and not (self.path / "grid.yaml").is_file():
            raise UserError(f"{self.path}: not a run directory (no grid.yaml in it); give the directory of a run")

    @property
    def name(self) -> str:
        """Return the name of the run for tables."""
        return self.path.resolve().name

    @cached_property
    def grid(self) -> dict[str, Any]:
        """Return ``grid.yaml``, with its methods and datasets by label.

        Raises:
            UserError: The file is damaged, or names no methods or datasets.
        """
        advice = "run the grid's own file into the directory again"
        found = load_yaml(self.path / "grid.yaml", advice)
        for group in ("methods", "datasets"):
            entries = found.get(group)
            entries = dict.fromkeys(entries) if isinstance(entries, list) else entries
            if not isinstance(entries, dict):
                raise UserError(f"{self.path / 'grid.yaml'}: expected {group} by label, found {entries!r}; {advice}")
            found[group] = entries
        return found

    @cached_property
    def kept(self) -> dict[str, Any]:
        """Return ``plan.json``; ``{}`` in a directory of an earlier version, and before the first run.

        A damaged file is no missing one: without a plan, results of another configuration would be shown.

        Raises:
            UserError: The file is damaged.
        """
        path = self.path / "plan.json"
        with own_file(path, _PLAN_AGAIN), contextlib.suppress(FileNotFoundError, NotADirectoryError):
            found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            if not {"cells", "configurations"} <= dict(found).keys():
                raise KeyError("cells")
            return found
        return {}

    @cached_property
    def wanted(self) -> dict[Key, Wanted]:
        """Return what the grid asks of each cell, by its labels; empty without ``plan.json``. Raises UserError."""
        decides = self.kept.get("configurations", {})
        with own_file(self.path / "plan.json", _PLAN_AGAIN):
            return {
                (entry["dataset"], entry["method"], entry["setting"], entry["seed"]): Wanted(
                    entry["identity"],
                    entry["configuration"],
                    entry["protocol"],
                    decides[entry["configuration"]],
                    entry["earlier"],
                )
                for entry in self.kept.get("cells", [])
            }

    def keep(self, plan: dict[str, Any]) -> None:
        """Write ``plan.json``."""
        if plan != self.kept:
            write_json(self.path / "plan.json", plan)
        for name in ("kept", "wanted", "grid"):
            self.__dict__.pop(name, None)

    @cached_property
    def environment(self) -> dict[str, Any]:
        """Return ``environment.json``: versions, hardware, commit."""
        return read_json(self.path / "environment.json") or {}

    def cell(self, dataset: str, method: str, setting: str, seed: int) -> CellRecord:
        """Return the record of one cell, whether or not it exists on disk."""
        return CellRecord(self.path / "cells" / cell_path(dataset, method, setting, seed))

    def as_wanted(self, key: Key) -> CellRecord:
        """Return the record of one cell as the grid sees it: ``stale`` if it isn't what the grid asks for."""
        return CellRecord(self.cell(*key).directory, self.wanted.get(key))

    def cells(self) -> list[CellRecord]:
        """Return the grid's cells that exist on disk, in the grid's order, as the grid sees them.

        For a directory without ``plan.json`` (of an earlier version), all cells are returned: the grid's first, then
        the rest by path.
        """
        if not self.wanted:
            return self.on_disk()
        records = (self.as_wanted(key) for key in self.wanted)
        return [record for record in records if (record.directory / "cell.yaml").is_file()]

    def left_over(self) -> list[CellRecord]:
        """Return the cells on disk that are not in the grid; they are not part of the results."""
        planned = {cell_place(*key) for key in self.wanted or self.planned()}
        others = [path for path in self._places() if path not in planned]
        found = (self.path / "cells" / path for path in others)
        return [CellRecord(path) for path in self._in_order(path for path in found if (path / "cell.yaml").is_file())]

    def _places(self) -> Iterator[str]:
        """Yield the directories below ``cells/`` that may be cells, without checking each of thousands."""
        places = [""]
        for _ in range(4):
            places = [path for place in places for path in _folders(f"{self.path}/cells", place)]
        yield from (path for path in places if path.rpartition("/")[2].startswith("seed"))

    def on_disk(self) -> list[CellRecord]:
        """Return all cells on disk: in the grid's order first, then the rest by path."""
        found = (self.path / "cells" / path for path in self._places())
        return [CellRecord(path) for path in self._in_order(path for path in found if (path / "cell.yaml").is_file())]

    def _in_order(self, cells: Iterable[Path]) -> list[Path]:
        found = list(cells)
        if len(found) < 2:
            return found
        rank = {self.path / "cells" / cell_path(*key): place for place, key in enumerate(self.planned())}
        return sorted(found, key=lambda path: (rank.get(path, len(rank)), str(path)))

    def planned(self) -> Iterator[Key]:
        """Yield the labels of the grid's cells, in its order."""
        if self.wanted:
            yield from self.wanted
            return
        if (self.path / "grid.yaml").is_file():
            yield from keys_of_grid(self.grid)

    @property
    def found(self) -> Results:
        """Return the results of the grid's cells, see :class:`~diadbench.benchmark.records.results.Results`."""
        return self.found_at(self.wanted or [_key(record) for record in self.on_disk()])

    def found_at(self, keys: Iterable[Key]) -> Results:
        """Return the results of the cells with these labels, in this order."""
        from diadbench.benchmark.records.results import Results

        return Results(self.path, list(keys), self.wanted)

    @contextlib.contextmanager
    def recording(self) -> Iterator[Callable[[CellRecord], None]]:
        """Return a function that adds an ended cell to the results in a few milliseconds, for runners."""
        from diadbench.benchmark.records.cell_figures import entry_of, may_be_kept
        from diadbench.benchmark.records.ledger import Ledger

        def add(record: CellRecord) -> None:
            with contextlib.suppress(UserError):  # reported when the figures are read
                if may_be_kept(record):
                    recorder.add(entry_of(record))

        with Ledger(self.path).recording() as recorder:
            yield add

    def write_results(self) -> Path:
        """Write ``results.csv`` atomically from the present state of the cells."""
        return self.found.write_csv()

    def results_are_current(self) -> bool:
        """Whether ``results.csv`` was written from the present state of the cells."""
        return self.found.csv_is_current()

    def results(self) -> pd.DataFrame:
        """Return the present results of the cells in long form (columns :data:`RESULT_COLUMNS`)."""
        return self.found.frame()


def _key(record: CellRecord) -> Key:
    return record.dataset, record.method, record.setting, record.seed


def _folders(top: str, place: str) -> Iterator[str]:
    """Yield the folders in one below ``top``, as paths relative to it."""
    with contextlib.suppress(FileNotFoundError, NotADirectoryError), os.scandir(f"{top}/{place}") as found:
        yield from (f"{place}/{entry.name}" if place else entry.name for entry in found if entry.is_dir())
