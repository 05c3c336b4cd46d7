"""Read ADer's ``meta.json`` under a known name, and build tables for other readers. Users' own lists are found by
:mod:`diadbench.datasets.layouts.lists`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from diadbench.common.errors import UserError
from diadbench.datasets.layouts.list_files import list_file, load_json
from diadbench.datasets.layouts.list_places import slashed
from diadbench.datasets.layouts.list_rows import rows_of

__all__ = ["below", "load_json", "read_meta", "table_of"]

_COLUMNS = ["image", "mask", "class", "split", "label", "defect"]


def read_meta(path: Path, *, train: Sequence[str] = ("train",)) -> pd.DataFrame:
    """Read ADer's ``meta.json``: ``{"train": {class: [record]}, "test": {...}}``, paths as they stand in it.

    Args:
        path: The file. Its records have ``img_path``, ``mask_path``, ``cls_name``, ``specie_name`` and ``anomaly``.
        train: Top keys whose samples are training samples (``("train", "validation")``).

    Returns:
        Rows of the sample table. Paths are normalised: ADer's generator writes ``good//000.png``.

    Raises:
        UserError: Broken JSON, a missing key, a value of a wrong type, a label that is not 0 or 1.
    """
    file = list_file(path)
    if not file.error and file.form != "meta":
        raise UserError(f"{path}: expected top keys train and test with records below")
    rows = rows_of([file], train)
    return table_of([(row.image, row.masks[0] if row.masks and row.label else "", *row[2:6]) for row in rows]).astype(
        {"label": "int8"}
    )


def table_of(rows: list[tuple[Any, ...]]) -> pd.DataFrame:
    """Return rows ``(image, mask, class, split, label, defect)`` as a table."""
    return pd.DataFrame(rows, columns=_COLUMNS)


def below(paths: pd.Series[str], base: str) -> pd.Series[str]:
    """Normalise relative paths (``a//b``, ``./a``, ``a\\b``) and prepend ``base``; empty paths stay empty."""
    clean = paths.map(slashed)
    # An absolute path, or one with .., is left as it is, so that the error shows the file's own text.
    strange = clean.str.startswith("/") | clean.str.contains(r"(?:^|/)\.\.(?:/|$)|^[A-Za-z]:", regex=True)
    return clean.where((clean == "") | strange | (base == ""), f"{base}/" + clean)
