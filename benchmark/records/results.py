"""The results of a run: all figures of its cells in the grid's order, in memory and as ``results.csv``.

Rows come from the ledger if they are still valid, else from the cells.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from os.path import exists
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from diadbench.benchmark.records.cell_figures import entry_of, file_stamp, may_be_kept, stamps
from diadbench.benchmark.records.cell_labels import Key
from diadbench.benchmark.records.cell_record import CellRecord, cell_path, cell_place
from diadbench.benchmark.records.columns import CSV_COLUMNS, METRIC_COLUMNS, RESULT_COLUMNS
from diadbench.benchmark.records.identity import Wanted
from diadbench.benchmark.records.ledger import FLAT, SCHEMA, Ledger, encoded, keys
from diadbench.benchmark.records.same_classes import means_suffice
from diadbench.common.files import atomic_write, read_json, write_json
from diadbench.common.values.csv_files import csv_lines

if TYPE_CHECKING:
    import pandas as pd

#: columns of results that are numbers
NUMBERS = ("value", "n_normal", "n_anomalous", "n_defined", "n_classes")
#: cells whose rows are written at once
_SLICE = 500


class Glance(NamedTuple):
    """What the ledger knows about an ended cell without reading its figures."""

    state: str
    reason: str
    identity: str
    protocol: str
    started: float | None
    finished: float | None


@dataclass(frozen=True)
class Results:
    """The results of a run's cells.

    Attributes:
        run: The run directory.
        keys: Labels of the cells, in order; cells that are not on disk are left out.
        wanted: What the grid asks of each cell; empty if no plan is kept.
    """

    run: Path
    keys: Collection[Key]
    wanted: Mapping[Key, Wanted]

    def glances(self) -> dict[Key, Glance]:
        """Return what is known of cells that have ended and not changed since, according to the cells themselves."""
        table = Ledger(self.run).read([*SCHEMA.names[:5], "state", "why", *Glance._fields[2:]])
        rows = zip(*(table[name].to_pylist() for name in ("stamp", "state", "why", *Glance._fields[2:])))
        known = {(key, row[0]): Glance(*row[1:]) for key, row in zip(keys(table), rows)}
        top = f"{self.run}/cells/"
        found = {key: known.get((key, file_stamp(f"{top}{cell_place(*key)}/status.json"))) for key in self.keys}
        return {
            key: glance
            for key, glance in found.items()
            # without its figures a cell isn't done, whatever its status says
            if glance is not None and (glance.state != "done" or exists(f"{top}{cell_place(*key)}/metrics.csv"))
        }

    def table(self) -> pa.Table:
        """Return one row a cell, in order, with its figures in lists: the columns of the ledger."""
        ledger = Ledger(self.run)
        known = ledger.read()
        place = {(key, *both): row for row, (key, *both) in enumerate(zip(keys(known), *_pylists(known, _STAMPS)))}
        good = _as_wanted(known, self.wanted)
        rows: list[int] = []
        read = Read()
        for key, both in self._on_disk():
            row = place.get((key, *both))
            if row is None or not good[row]:
                row = known.num_rows + read.add(CellRecord(self.run / "cells" / cell_path(*key), self.wanted.get(key)))
            rows.append(row)
        tables = read.tables()
        ledger.keep(read.lasting)
        every = pa.concat_tables([known, *tables])
        if rows == list(range(every.num_rows)):  # The table is already ordered; selecting rows takes most of the time.
            return every
        return every.take(pa.array(rows, pa.int64()))

    def _on_disk(self) -> Iterator[tuple[Key, tuple[str, str]]]:
        top = f"{self.run}/cells/"
        for key in self.keys:
            both = stamps(f"{top}{cell_place(*key)}")
            if not both[1].endswith("/"):  # The cell has a cell.yaml.
                yield key, both

    def frame(self, name: str = "", *, means_alone: bool = False, lean: bool = False) -> pd.DataFrame:
        """Return the results in long form, one row a (cell, class, metric).

        Args:
            name: Name of the run; by default the name of its directory.
            means_alone: Leave out the rows of classes if the means contain all information
                (:func:`~diadbench.benchmark.records.same_classes.means_suffice`).
            lean: Store texts as ``object``, each once in memory, instead of ``str``: a third of the memory.
        """
        table = self.table()
        long = _long(table, RESULT_COLUMNS, means_alone=means_alone and means_suffice(table))
        run = {"run": name or self.run.resolve().name, "path": str(self.run.resolve())}
        found = as_frame({**long, **_alike(run, len(long["metric"]))})
        return found if lean else found.astype({name: "str" for name in found if found[name].dtype == object})

    # -- results.csv ------------------------------------------------------------------------------------------------

    @property
    def path(self) -> Path:
        """Return the path of ``results.csv``."""
        return self.run / "results.csv"

    def write_csv(self) -> Path:
        """Write ``results.csv`` atomically from the present state of the cells."""
        state = self._state()
        table = self.table()
        name = self.run.resolve().name
        with atomic_write(self.path) as file:
            file.write((",".join(CSV_COLUMNS) + "\n").encode())
            for start in range(0, table.num_rows, _SLICE):
                long = _long(table.slice(start, _SLICE), CSV_COLUMNS)
                file.write(csv_lines({**long, **_alike({"run": name}, len(long["metric"]))}, CSV_COLUMNS))
        over = not pc.any(pc.equal(table["state"], "running")).as_py()  # The files' dates may not show its end.
        write_json(self._marker, {"cells": state if over else "", "csv": file_stamp(str(self.path))})
        return self.path

    def csv_is_current(self) -> bool:
        """Whether ``results.csv`` was written from the present state of the cells."""
        said = read_json(self._marker) or {}
        return said.get("csv") == (file_stamp(str(self.path)) or None) and said.get("cells") == self._state()

    @property
    def _marker(self) -> Path:
        return self.run / "results" / "exported.json"

    def _state(self) -> str:
        """Return the digest of the wanted configurations and of the state of the cells' files."""
        digest = hashlib.sha256(repr(CSV_COLUMNS).encode())
        for key, both in self._on_disk():
            wanted = self.wanted.get(key)
            digest.update(repr((key, both, wanted and (wanted.identity, wanted.protocol))).encode())
        return digest.hexdigest()


class Read:
    """Rows that are read from the cells' own files, stored compactly instead of as thousands of Python objects."""

    def __init__(self) -> None:
        self._count = 0
        self._waiting: list[tuple[dict[str, Any], bool]] = []
        self._tables: list[pa.Table] = []
        self.lasting: list[pa.Table] = []

    def add(self, record: CellRecord) -> int:
        """Read a cell; return its position among the cells read."""
        self._waiting.append((entry_of(record), may_be_kept(record)))
        self._count += 1
        if len(self._waiting) >= _SLICE:
            self._pack()
        return self._count - 1

    def _pack(self) -> None:
        if self._waiting:
            self._tables.append(encoded(pa.Table.from_pylist([entry for entry, _ in self._waiting], SCHEMA)))
            self.lasting.append(self._tables[-1].filter(pa.array([lasts for _, lasts in self._waiting])))
        self._waiting = []

    def tables(self) -> list[pa.Table]:
        """Return the rows read so far."""
        self._pack()
        return self._tables


_STAMPS = ("stamp", "rest")


def _pylists(table: pa.Table, names: Iterable[str]) -> list[list[Any]]:
    return [table[name].to_pylist() for name in names]


def _as_wanted(table: pa.Table, wanted: Mapping[Key, Wanted]) -> list[bool]:
    """Set for each row whether it is what the grid asks of its cell."""
    if not wanted:
        return [True] * table.num_rows
    asked = (wanted.get(key) for key in keys(table))
    said = zip(asked, *_pylists(table, ("identity", "protocol")))
    return [each is not None and (each.identity, each.protocol) == (one, other) for each, one, other in said]


def _long(table: pa.Table, columns: Collection[str], *, means_alone: bool = False) -> dict[str, pa.Array]:
    """Return one row per figure: the columns as arrays of one length, texts dictionary-encoded."""
    lists = {name: _one(table[name]) for name in METRIC_COLUMNS}
    parents = pc.list_parent_indices(lists["metric"])
    flat = {name: pc.list_flatten(values) for name, values in lists.items()}
    if means_alone:
        chosen = pc.not_equal(flat["scope"].cast(pa.string()), "class")
        parents, flat = parents.filter(chosen), {name: values.filter(chosen) for name, values in flat.items()}
    heads = {name: _one(table[name]) for name in columns if name in FLAT}
    heads = {name: values if name == "seed" else values.dictionary_encode() for name, values in heads.items()}
    return flat | {name: values.take(parents) for name, values in heads.items()}


def _one(column: pa.ChunkedArray) -> pa.Array:
    found = column.unify_dictionaries().combine_chunks()
    return found if isinstance(found, pa.Array) else pa.concat_arrays(found.chunks)


def _alike(texts: Mapping[str, str], count: int) -> dict[str, pa.Array]:
    """Return columns that hold one text each."""
    zeros = pa.array(np.zeros(count, np.int32))
    return {name: pa.DictionaryArray.from_arrays(zeros, pa.array([text])) for name, text in texts.items()}


def as_frame(long: Mapping[str, pa.Array]) -> pd.DataFrame:
    """Return arrays as a frame: numbers ``float64`` (NaN where there is none), ``seed`` ``int64``, texts ``object``."""
    import pandas as pd

    found: dict[str, Any] = {}
    for name in RESULT_COLUMNS:
        values = long[name]
        if name in NUMBERS:
            found[name] = values.cast(pa.float64()).to_numpy(zero_copy_only=False)
        elif name == "seed":
            found[name] = values.to_numpy(zero_copy_only=False)
        else:
            words = np.array(values.dictionary.to_pylist(), dtype=object)  # each text once in memory
            found[name] = pd.Series(words[values.indices.to_numpy(zero_copy_only=False)], dtype=object)
    return pd.DataFrame(found)
