"""Read the files that this program wrote into a run: a damaged one is a line that names it, never a traceback."""

from __future__ import annotations

import contextlib
import csv
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from diadbench.common.errors import UserError

if TYPE_CHECKING:
    import pandas as pd

#: What readers of YAML, CSV, NumPy's archives and Parquet raise for content of another kind; pyarrow's are ValueErrors.
_DAMAGED = (yaml.YAMLError, csv.Error, zipfile.BadZipFile, zlib.error, EOFError, KeyError, TypeError, ValueError)

#: Advice for a file of a cell.
AGAIN = "remove the directory of its cell, and the same `diadbench run` makes it again"


@contextlib.contextmanager
def own_file(path: Path, advice: str = AGAIN) -> Iterator[None]:
    """Tell of a file of a run that can't be read as what this program wrote.

    The libraries' own messages are not used: some advise to read the file without safeguards.

    Raises:
        UserError: The file is damaged.
    """
    try:
        yield
    except _DAMAGED as error:
        raise UserError(f"{path}: damaged, not as diadbench wrote it ({type(error).__name__}); {advice}") from error


def load_yaml(path: Path, advice: str = AGAIN) -> dict[str, Any]:
    """Return the keys and values of a YAML file that this program wrote; ``{}`` for an empty one.

    Raises:
        UserError: The file is damaged.
    """
    with own_file(path, advice):
        found = yaml.load(path.read_text(encoding="utf-8"), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
        if not isinstance(found, dict | None):
            raise TypeError(f"expected keys and values, found a {type(found).__name__}")
        return found or {}


def read_scores(cell: Path, columns: Sequence[str] | None = None) -> pd.DataFrame:
    """Return ``scores.parquet`` of a cell: a row for each test image.

    Raises:
        UserError: The file is damaged.
    """
    import pandas as pd

    path = cell / "scores.parquet"
    with own_file(path):
        return pd.read_parquet(path, columns=None if columns is None else list(columns))
