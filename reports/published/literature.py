"""Add rows to the published figures, and remove them again: the import of a CSV."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping
from pathlib import Path

import pandas as pd

from diadbench.common.errors import UserError, unknown_name
from diadbench.common.files import write_text
from diadbench.reports.published.comparable import dataset_key, unknown_dataset
from diadbench.reports.published.figure_arithmetic import FLOORS, ap_bound, check, check_published, check_results
from diadbench.reports.published.our_figures import beside
from diadbench.reports.published.published_files import (
    COLUMNS,
    REQUIRED,
    SHIPPED,
    VALUES,
    file_of,
    load_published,
    read_table,
    user_file,
)
from diadbench.reports.tables.escape import squeeze
from diadbench.reports.tables.rows.result_rows import records

__all__ = [
    "COLUMNS",
    "FLOORS",
    "REQUIRED",
    "SHIPPED",
    "VALUES",
    "add",
    "ap_bound",
    "beside",
    "check",
    "check_published",
    "check_results",
    "file_of",
    "load_published",
    "read_table",
    "remove",
    "user_file",
]


def add(path: Path, run: Path | str | None = None, datasets: Iterable[str] = ()) -> tuple[pd.DataFrame, list[str]]:
    """Import the rows of a CSV; existing rows are not added twice.

    Args:
        path: The CSV.
        run: Store the rows in this run; by default in the user's file.
        datasets: Names of datasets that are known besides those of the shipped rows.

    Returns:
        The rows added; and one warning for each contradiction, which the row's note has too, and for each dataset that
        nobody here knows.

    Raises:
        UserError: A row contradicts one of the same source, method, dataset, setting and budget.
    """
    table = read_table(path)
    warnings = []
    for index, row in zip(table.index, records(table)):
        problems = check_published(row)
        warnings += [f"{row['method']} on {row['dataset']}: {problem}" for problem in problems]
        if problems:
            table.loc[index, "note"] = "; ".join(filter(None, [row["note"], *(f"CHECK: {p}" for p in problems)]))
    every = records(load_published([run] if run else []))
    names = [*datasets, *(str(row["dataset"]) for row in every if row["kept"] == "shipped")]
    warnings += [told for name in table["dataset"].unique() if (told := unknown_dataset(name, names))]
    known = {_identity(row): row for row in every}
    fresh = []
    for position, (index, row) in enumerate(zip(table.index, records(table)), 2):
        other = known.setdefault(_identity(row), row)
        if other is row:
            fresh.append(index)
        elif _figures(other) != _figures(row):
            raise _contradicting(f"{path} line {position}", row, other)
    table = table.loc[fresh]
    if len(table):
        kept = file_of(run)
        old = read_table(kept) if kept.is_file() else table.iloc[:0]
        _write(pd.concat([old, table]), kept)
    return table, warnings


def remove(source: str, method: str = "", dataset: str = "", run: Path | str | None = None) -> pd.DataFrame:
    """Remove rows that were added. Shipped rows are kept.

    Args:
        source: Source of the rows.
        method: Only rows of this method.
        dataset: Only rows of this dataset.
        run: Rows of this run; by default those in the user's file.

    Returns:
        The rows that were removed.

    Raises:
        UserError: No added row matches.
    """
    kept = file_of(run)
    table = read_table(kept) if kept.is_file() else pd.DataFrame(columns=list(COLUMNS))
    gone = table["source"].map(squeeze) == squeeze(source)
    gone &= (table["method"].map(squeeze) == squeeze(method)) | (not method)
    gone &= (table["dataset"].map(dataset_key) == dataset_key(dataset)) | (not dataset)
    if not gone.any():
        raise unknown_name("source of added rows", source, table["source"].unique(), where=str(kept))
    _write(table[~gone], kept)
    return table[gone]


def _write(table: pd.DataFrame, path: Path) -> None:
    write_text(path, table[list(COLUMNS)].to_csv(index=False, quoting=csv.QUOTE_MINIMAL))


def _identity(row: Mapping[str, object]) -> tuple[str, ...]:
    """Return the values that identify the result of a row."""
    names = ("source", "method", "setting", "resolution", "epochs")
    return (dataset_key(str(row["dataset"])), *("" if row[n] != row[n] else squeeze(str(row[n])) for n in names))


def _figures(row: Mapping[str, object]) -> tuple[str, ...]:
    return tuple("" if row[name] != row[name] else str(row[name]) for name in VALUES)


def _contradicting(where: str, row: Mapping[str, object], other: Mapping[str, object]) -> UserError:
    name = next(name for name, a, b in zip(VALUES, _figures(row), _figures(other)) if a != b)
    return UserError(
        f"{where}: {row['method']} on {row['dataset']} by {row['source']} is there already with {name} {other[name]}, "
        f"here it is {row[name]}; correct one of the two, or give the row another source"
    )
