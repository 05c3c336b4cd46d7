"""The results of a run's ended cells in columns, so that thousands of cells can be read at once.

::

    RUN/results/cells.parquet    one row a cell; its figures in lists
    RUN/results/*.arrows         what runners have added since, one file each

The cells' own files take precedence. A row is valid while the files that it was read from have the sizes and dates
that it states (``stamp``, ``rest``). Cells without a valid row are read from their files. So the ledger can be deleted
at any time, a lost row costs one reading of its cell, and a changed cell needs no notification.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from filelock import FileLock, Timeout

from diadbench.benchmark.records.cell_labels import Key
from diadbench.common.files import write_with
from diadbench.common.processes.held import is_held

#: Columns with one value a cell. ``stamp``: of ``status.json``; ``rest``: of the other files. ``why``: its reason.
FLAT = {
    **dict.fromkeys(("dataset", "method", "setting"), pa.string()),
    "seed": pa.int64(),
    **dict.fromkeys(("stamp", "rest", "state", "why", "protocol", "flags", "identity", "configuration"), pa.string()),
    **dict.fromkeys(("started", "finished"), pa.float64()),
}
#: Columns with a list a cell, all of one length: its figures. A cell without figures has one entry, with its reason.
LISTS = {
    **dict.fromkeys(("class", "scope", "metric"), pa.string()),
    "value": pa.float64(),
    "reason": pa.string(),
    **dict.fromkeys(("n_normal", "n_anomalous", "n_defined", "n_classes"), pa.int32()),
}
KEY = ("dataset", "method", "setting", "seed")
SCHEMA = pa.schema([*FLAT.items(), *((name, pa.list_(kind)) for name, kind in LISTS.items())])
#: A recorder writes when this many cells are buffered. Until then readers use the cells' own files.
MOST_WAITING = 16
#: Fewer cells than this are not written to a new file; readers use the cells' own files.
FEW = 100
_BASE, _JOURNALS = "cells.parquet", "*.arrows"


class Ledger:
    """The rows of a run directory's cells.

    Args:
        run: The run directory. Nothing is created before the first write.
    """

    def __init__(self, run: Path) -> None:
        self.folder = run / "results"

    def read(self, columns: Sequence[str] | None = None) -> pa.Table:
        """Return the written rows, the latest row of a cell last; texts in lists are dictionary-encoded.

        Args:
            columns: Names of the columns to read; all by default.
        """
        names = list(columns or SCHEMA.names)
        journals = [batch for path in self._journals() for batch in _batches(path)]
        added = pa.Table.from_batches(journals, SCHEMA).select(names)
        with contextlib.suppress(OSError, pa.ArrowException, KeyError):  # missing, replaced, or of another version
            with pq.ParquetFile(self.folder / _BASE) as file:  # pq.read_table imports pandas, which takes a second.
                base = file.read(columns=names)
            return pa.concat_tables([base.select(names), encoded(added)]) if journals else base.select(names)
        return encoded(added)

    def _journals(self) -> list[Path]:
        return sorted(self.folder.glob(_JOURNALS))

    def recording(self) -> contextlib.AbstractContextManager[Recorder]:
        """Return a context in which ended cells are added; at its end all rows are written and compacted."""
        return _recording(self)

    def keep(self, tables: Sequence[pa.Table]) -> None:
        """Write rows that were read from the cells' files, if they are many and the run directory is writable."""
        if sum(table.num_rows for table in tables) < FEW:
            return
        with contextlib.suppress(OSError, Timeout):
            with Recorder(self.folder) as recorder:
                for table in tables:
                    recorder.write(table.cast(SCHEMA))
            self.compact()

    def compact(self) -> None:
        """Merge all rows into one file, keeping the latest row of each cell. Files of active writers are left alone.

        Do nothing if another process does the same, or if nothing was added.
        """
        journals = self._journals()
        if not journals:
            return
        with contextlib.suppress(OSError, Timeout), FileLock(self.folder / ".lock").acquire(timeout=0):
            table = self.read()
            last = {key: place for place, key in enumerate(keys(table))}
            table = table.take(pa.array(sorted(last.values()), pa.int64()))
            write_with(self.folder / _BASE, lambda name: pq.write_table(table, name, compression="zstd"))
            for path in journals:
                if is_held(lock_of(path)) is False:
                    for done in (path, lock_of(path)):
                        done.unlink(missing_ok=True)


@contextlib.contextmanager
def _recording(ledger: Ledger) -> Iterator[Recorder]:
    ledger.compact()  # left by an earlier runner
    recorder = Recorder(ledger.folder)
    try:
        yield recorder
    finally:
        recorder.close()
        ledger.compact()


class Recorder:
    """Append rows to a file of its own. Rows that can't be written (a full disk) are omitted: the cells have them.

    Args:
        folder: Directory of the ledger.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._file: pa.OSFile | None = None
        self._writer: pa.ipc.RecordBatchStreamWriter | None = None
        self._lock: FileLock | None = None
        self._waiting: list[dict[str, Any]] = []

    def __enter__(self) -> Recorder:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def add(self, entry: dict[str, Any]) -> None:
        """Add the row of a cell that has ended. Rows are buffered and written together."""
        self._waiting.append(entry)
        if len(self._waiting) >= MOST_WAITING:
            self.flush()

    def flush(self) -> None:
        """Write the buffered rows."""
        waiting, self._waiting = self._waiting, []
        with contextlib.suppress(OSError, Timeout):
            if waiting:
                self.write(pa.Table.from_pylist(waiting, SCHEMA))

    def write(self, rows: pa.Table) -> None:
        """Write rows of :data:`SCHEMA`. Raises OSError if they can't be written."""
        writer = self._writer or self._open()
        writer.write_table(rows)
        assert self._file is not None
        self._file.flush()

    def _open(self) -> pa.ipc.RecordBatchStreamWriter:
        self._folder.mkdir(parents=True, exist_ok=True)
        path = self._folder / f"{time.time_ns()}-{os.getpid()}.arrows"
        self._lock = FileLock(lock_of(path))
        self._lock.acquire(timeout=0)
        self._file = pa.OSFile(str(path), "wb")
        options = pa.ipc.IpcWriteOptions(compression="lz4")
        self._writer = pa.ipc.new_stream(self._file, SCHEMA, options=options)
        return self._writer

    def close(self) -> None:
        """Write the buffered rows and close the file."""
        self.flush()
        with contextlib.suppress(OSError):
            for opened in (self._writer, self._file):
                if opened is not None:
                    opened.close()
        if self._lock is not None:
            self._lock.release()
        self._writer = self._file = self._lock = None


def lock_of(journal: Path) -> Path:
    """Return the lock file that the writer of a journal holds while it writes."""
    return journal.with_suffix(".lock")


def _batches(path: Path) -> Iterator[pa.RecordBatch]:
    """Yield the complete batches of a file, which its writer may still be extending or may have left unfinished."""
    with contextlib.suppress(OSError, pa.ArrowException):
        reader = pa.ipc.open_stream(pa.py_buffer(path.read_bytes()))
        if reader.schema.equals(SCHEMA):
            yield from reader


def keys(table: pa.Table) -> Iterable[Key]:
    """Return the labels of the rows' cells."""
    return zip(*(table[name].to_pylist() for name in KEY))


def encoded(table: pa.Table) -> pa.Table:
    """Return a table of :data:`SCHEMA`'s columns with the texts in lists dictionary-encoded."""
    columns = []
    for name in table.schema.names:
        column = table[name]
        if name in LISTS and LISTS[name] == pa.string():
            lists = column.combine_chunks()
            lists = pa.concat_arrays(lists.chunks) if isinstance(lists, pa.ChunkedArray) else lists
            column = pa.ListArray.from_arrays(lists.offsets, lists.values.dictionary_encode())
        columns.append(column)
    return pa.table(columns, names=table.schema.names)
