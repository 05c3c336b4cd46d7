"""The files of published figures: those of this package, the user's, and those of runs.

``published.csv`` and ``published_2026.csv`` are shipped with the package; rows that a user imports go to
``published.csv`` in the directory that :func:`user_file` names, and every report reads both.
"""

from __future__ import annotations

import csv
import math
import os
from collections.abc import Iterable
from importlib.resources import files
from pathlib import Path

import pandas as pd

from diadbench.common.errors import UserError, unknown_name
from diadbench.common.wording import counted
from diadbench.reports.tables.labels import SEVEN
from diadbench.reports.tables.rows.result_rows import records

COLUMNS = ("source", "source_ref", "method", "venue", "dataset", "setting", "resolution", "epochs",
           *SEVEN, "p_ioumax", "mad", "note")  # fmt: skip
#: Files of published rows in this package.
SHIPPED = ("published.csv", "published_2026.csv")
VALUES = (*SEVEN, "p_ioumax", "mad")
REQUIRED = ("source", "method", "dataset")


def user_file() -> Path:
    """Return the file of imported rows: ``$DIADBENCH_PUBLISHED``, else one in the user's data directory."""
    chosen = os.environ.get("DIADBENCH_PUBLISHED")
    if chosen:
        return Path(chosen).expanduser()
    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share") / "diadbench" / "published.csv"


def file_of(run: Path | str | None) -> Path:
    """Return the file of added rows: in the run's directory, or :func:`user_file`."""
    return Path(run) / "published.csv" if run else user_file()


def load_published(runs: Iterable[Path | str] = ()) -> pd.DataFrame:
    """Return all published rows: the shipped ones, the user's, and those of runs. Values are percent.

    Args:
        runs: Run directories whose own rows are read as well.

    Returns:
        Columns :data:`COLUMNS` and ``kept`` (``shipped``, or the file that a row stands in); NaN where not published.
    """
    folder = Path(str(files("diadbench.reports") / "published"))
    tables = [read_table(folder / name).assign(kept="shipped") for name in SHIPPED]
    for path in dict.fromkeys([user_file(), *map(file_of, runs)]):
        if path.is_file():
            tables.append(read_table(path).assign(kept=str(path)))
    return pd.concat(tables, ignore_index=True)


def decimals_of(percent: float) -> int:
    """Return the decimals that a published figure is printed with: those that are recorded, at least one."""
    return max(1, len(f"{percent:.10g}".partition(".")[2]))


def as_published(percent: float) -> str:
    """Return a published figure, in percent, as its source prints it; a dash where there is none."""
    return "–" if pd.isna(percent) else f"{percent:.{decimals_of(percent)}f}"


def read_table(path: Path) -> pd.DataFrame:
    """Read a CSV of published rows; columns are identified by name.

    Raises:
        UserError: Unreadable, a required column missing, an unknown column, a value that is no number in [0, 100].
    """
    try:
        _refuse_shifted(path)
        table = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8")
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except (OSError, ValueError) as error:  # pandas' parser errors and invalid UTF-8 are ValueErrors.
        raise UserError(f"{path}: can't be read as CSV ({error})") from error
    for name in table.columns:
        if name not in COLUMNS:
            raise unknown_name("column", str(name), COLUMNS, where=str(path))
    missing = [name for name in REQUIRED if name not in table]
    if missing:
        raise UserError(f"{path}: no column {missing[0]!r}; the columns are {', '.join(COLUMNS)}")
    table = table.reindex(columns=list(COLUMNS), fill_value="")
    table["resolution"] = table["resolution"].str.strip()  # "448 crop 392" is more precise than a number.
    for name in ("epochs", *VALUES):
        table[name] = _numbers(table[name], name, path, percent=name in VALUES)
    _refuse_fractions(table, path)
    for position, row in enumerate(records(table), 2):
        empty = next((name for name in REQUIRED if not str(row[name]).strip()), None)
        if empty:
            raise UserError(f"{path} line {position}: {empty} is empty")
    return table


def _refuse_shifted(path: Path) -> None:
    """Refuse rows longer than the head: pandas takes their first values for names of rows, and shifts the rest."""
    with open(path, encoding="utf-8", newline="") as file:
        reader = csv.reader(file)
        head = next(reader, [])
        for row in reader:
            if len(row) > len(head):
                several = f"{counted(len(row), 'value')} under {counted(len(head), 'column')}"
                raise UserError(
                    f"{path} line {reader.line_num}: {several}; a decimal point is needed where commas divide columns, "
                    "and a text with a comma stands in quotes"
                )


def _refuse_fractions(table: pd.DataFrame, path: Path) -> None:
    """Refuse rows whose figures are all at most 1: fractions where percent are needed."""
    found = table[list(VALUES)]
    small = (found.max(axis=1) <= 1) & (found.max(axis=1) > 0)
    if small.any():
        place = int(small.to_numpy().argmax())
        value = found.iloc[place].max()
        raise UserError(f"{path} line {place + 2}: expected figures in percent, found {value:g} at most; times 100?")


def _numbers(column: pd.Series[str], name: str, path: Path, *, percent: bool) -> pd.Series[float]:
    values = []
    for position, text in enumerate(column, 2):
        try:
            value = float(text) if str(text).strip() else float("nan")
        except ValueError:
            value = float("inf")
        if math.isinf(value) or (percent and not math.isnan(value) and not 0 <= value <= 100):
            expected = "a number in percent, 0 to 100" if percent else "a number"
            raise UserError(f"{path} line {position}, column {name}: expected {expected}, found {text!r}")
        values.append(value)
    return pd.Series(values, index=column.index, dtype=float)
