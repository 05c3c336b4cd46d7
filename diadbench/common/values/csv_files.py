"""CSV files of many cells: millions of rows are written by column, and thousands of files are read at once."""

from __future__ import annotations

import contextlib
import io
import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from diadbench.common.errors import UserError
from diadbench.common.files import atomic_write

if TYPE_CHECKING:
    import pandas as pd

#: rows of a frame that are written at once
_SLICE = 100_000


def csv_lines(columns: Mapping[str, pa.Array], names: Collection[str]) -> bytes:
    """Return rows as CSV. Texts are quoted if necessary; numbers have the shortest form that reads back exactly.

    Args:
        columns: Numbers, and texts as dictionary arrays; ``null`` is written as nothing.
        names: The columns to write, in order.
    """
    texts = [pc.fill_null(_text(columns[name]), "") for name in names]
    return "".join(f"{line}\n" for line in pc.binary_join_element_wise(*texts, ",").to_pylist()).encode()


def _text(values: pa.Array) -> pa.Array:
    if not pa.types.is_dictionary(values.type):
        return values.cast(pa.string())
    words = pa.array([_quoted(word) for word in values.dictionary.to_pylist()], pa.string())
    return pa.DictionaryArray.from_arrays(values.indices, words).cast(pa.string())


def _quoted(word: str) -> str:
    return '"' + word.replace('"', '""') + '"' if any(mark in word for mark in ',"\r\n') else word


def write_frame(table: pd.DataFrame, path: Path) -> None:
    """Write a table of texts and numbers as CSV, atomically, in the form of :func:`csv_lines`."""
    with atomic_write(path) as file:
        names = [str(name) for name in table.columns]
        file.write((",".join(map(_quoted, names)) + "\n").encode())
        for start in range(0, len(table), _SLICE):
            part = table.iloc[start : start + _SLICE]
            file.write(csv_lines({name: _column(part[name]) for name in names}, names))


def _column(values: pd.Series[Any]) -> pa.Array:
    if values.dtype.kind in "iuf":
        return pa.array(values, from_pandas=True)
    found = pa.array(values, pa.string(), from_pandas=True).dictionary_encode()
    return found if isinstance(found, pa.Array) else found.combine_chunks()


def _refuse_damaged(path: Path, text: bytes) -> None:
    """Refuse what :func:`write_frame` doesn't write: no last line end, or lines of several lengths."""
    lines = text.splitlines()
    several = b'"' not in text and len({line.count(b",") for line in lines}) > 1
    if not text.endswith(b"\n") or several:
        raise UserError(
            f"{path}: damaged, not as diadbench wrote it; remove the directory of its cell, and the same "
            "`diadbench run` makes it again"
        )


def rows_of(files: Sequence[Path], kinds: tuple[str, ...] = ()) -> pd.DataFrame:
    """Return the rows of many CSV files, with the position of the file in ``file``; missing files have none.

    The texts are joined before they are parsed, because a frame for each of ten thousand files takes minutes.

    Args:
        files: The files; those with equal heads are parsed together.
        kinds: Return only the rows with one of these texts in the column ``kind``.

    Raises:
        UserError: A file is cut off, or a line has another number of values than the head.
    """
    import pandas as pd

    wanted = re.compile(f"(?:^|,)(?:{'|'.join(map(re.escape, kinds))})(?:,|$)".encode() if kinds else b".").search
    joined: dict[bytes, list[bytes]] = {}
    tables: list[pd.DataFrame] = []
    for place, path in enumerate(files):
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            text = path.read_bytes()
            _refuse_damaged(path, text)
            if b'"' in text:  # A text in quotes may hold the end of a line.
                tables.append(_parsed(text).assign(file=place))
                continue
            head, *lines = text.splitlines()
            joined.setdefault(head, []).extend(b"%d,%b" % (place, line) for line in filter(wanted, lines))
    tables += [_parsed(b"\n".join([b"file," + head, *lines])) for head, lines in joined.items()]
    filled = [table for table in tables if len(table)]
    if not filled:
        return pd.DataFrame()
    table = pd.concat(filled).sort_values("file", kind="stable", ignore_index=True)
    return table[table["kind"].isin(kinds)].reset_index(drop=True) if kinds else table


def _parsed(text: bytes) -> pd.DataFrame:
    """Parse a CSV file whose columns ``class`` and ``reason``, if any, are texts."""
    import pandas as pd

    return pd.read_csv(io.BytesIO(text), dtype={"class": str, "reason": str})
