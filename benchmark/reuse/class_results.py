"""What an evaluation has computed of single classes: kept until the cell is done, so that a killed one goes on."""

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
        cell: The directory that the cell's result goes to.
        made_from: What they are made from, as plain values. What another source has left behind isn't seen.
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
        """Write what was computed of one class, whole or not at all."""
        arrays: dict[str, Any] = result.to_arrays(name)
        write_with(self._file(name), partial(np.savez, **arrays))

    def read(self, name: str) -> ClassResult:
        """Return what :meth:`save` wrote, to the last bit."""
        with np.load(self._file(name), allow_pickle=False) as arrays:
            return ClassResult.from_arrays({key: arrays[key] for key in arrays.files})

    def clear(self) -> None:
        """Remove all of them."""
        shutil.rmtree(self._top, ignore_errors=True)
