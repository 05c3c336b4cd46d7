"""What all tables need of rows: their keys, missing columns, plain rows, and a value as tables print it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pandas as pd

#: columns that identify an experiment, over whose seeds means are taken
KEYS = ["dataset", "method", "protocol", "configuration", "class", "scope", "metric"]
#: columns that identify a cell in any run
CELL = ["dataset", "method", "setting", "seed", "protocol", "identity"]
#: name of the mean over classes in tables; no class may have it
MEAN = "mean"
DIGITS = 1


def printed(value: float, digits: int = DIGITS) -> str:
    """Return a value of [0, 1] as tables print it: times 100, one decimal; a dash for NaN."""
    return "–" if pd.isna(value) else f"{value * 100:.{digits}f}"


def signed(value: float, digits: int = DIGITS) -> str:
    """Return a difference of values of [0, 1] as tables print it: ``+1.2``, times 100; a dash for NaN.

    What rounds to zero is ``0.0`` without a sign, from either side.
    """
    return printed(value, digits) if pd.isna(value) else with_sign(100 * float(value), digits)


def with_sign(value: float, digits: int) -> str:
    """Return a number with its sign and so many decimals; what rounds to zero has none."""
    text = f"{value:+.{digits}f}"
    return text if float(text) else text[1:]


def complete(results: pd.DataFrame) -> pd.DataFrame:
    """Return a copy with the columns for experiment and run of each row, if they are missing.

    Rows without a configuration belong to one experiment if run and setting are the same.
    """
    table = results.copy(deep=False)  # columns are replaced, never changed in place
    for name in ("run", "setting", "protocol", "identity", "flags"):
        if name not in table:
            table[name] = ""
    if "path" not in table:
        table["path"] = ""
    if "configuration" not in table:
        table["configuration"] = ""
    unknown = table["configuration"] == ""
    if unknown.any():
        stand_in = table["path"] + table["run"] + "|" + table["setting"]
        table["configuration"] = table["configuration"].where(~unknown, stand_in)
    return table


def records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the rows of a table as dictionaries."""
    return [{str(key): value for key, value in row.items()} for row in table.to_dict("records")]


def tuples(table: pd.DataFrame) -> Iterator[tuple[Any, ...]]:
    """Yield the rows of a table as plain tuples."""
    return zip(*(table[name].tolist() for name in table))  # by column, five times as fast for text
