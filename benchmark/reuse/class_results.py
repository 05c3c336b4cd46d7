"""Results of single classes of an evaluation, kept until the cell is done, so that a killed evaluation can resume."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from diadbench.benchmark.metrics.class_result import ClassResult
from diadbench.common.files import write_with


class ClassResults:
    """Results of the classes of one cell, one file each.

    Args:
        cell: Directory of the cell whose result is computed.
        made_from: The source of the results, as plain values. Results of another source are ignored.
    """

    def __init__(self, cell: Path, made_from: Mapping[str, Any]) -> None:
        text = json.dumps(made_from, sort_keys=True)
        self._top = cell / "evaluating"
        self._folder = self._top / hashlib.sha256(text.encode()).hexdigest()[:16]

    def _file(self, name: str) -> Path:
        return self._folder / f"{hashlib.sha256(name.encode()).hexdigest()[:16]}.npz"

    def has(self, name: str) -> bool:
        """Whether the class is computed."""
        return self._file(name).is_file()

    def save(self, name: str, result: ClassResult) -> None:
        """Write the result of one class atomically."""
        arrays: dict[str, Any] = result.to_arrays(name)
        write_with(self._file(name), partial(np.savez, **arrays))

    def read(self, name: str) -> ClassResult:
        """Return exactly what :meth:`save` wrote."""
        with np.load(self._file(name), allow_pickle=False) as arrays:
            return ClassResult.from_arrays({key: arrays[key] for key in arrays.files})

    def clear(self) -> None:
        """Remove all results."""
        shutil.rmtree(self._top, ignore_errors=True)
