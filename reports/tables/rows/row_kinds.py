"""Compute a value once for all rows of the same kind: millions of rows have few methods, datasets and classes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd


def kinds(table: pd.DataFrame, columns: Sequence[str]) -> tuple[np.ndarray[Any, Any], list[tuple[Any, ...]]]:
    """Return the kind of each row, and the values of the columns for each kind, in order of appearance.

    Args:
        table: Any frame.
        columns: Columns that define a kind.
    """
    codes = np.zeros(len(table), dtype=np.int64)
    for name in columns:
        places, values = pd.factorize(table[name], use_na_sentinel=False)
        codes = pd.factorize(codes * max(len(values), 1) + places)[0]
    first = np.unique(codes, return_index=True)[1]
    heads = (table[name].iloc[first].tolist() for name in columns)
    return codes, list(zip(*heads)) if len(first) else []


def of_each(texts: Sequence[str], codes: np.ndarray[Any, Any], like: pd.Series[Any]) -> pd.Series[Any]:
    """Return the text of each row's kind, with the index and type of ``like``; ``object`` texts are stored once."""
    words = np.array([*texts, ""], dtype=object)[:-1]
    return pd.Series(words[codes], index=like.index, dtype=object).astype(like.dtype)
