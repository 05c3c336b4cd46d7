"""What an evaluation has computed of single classes: kept until the cell is done, so that a killed one goes on."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from diadbench.benchmark.metrics import Evaluation
from diadbench.benchmark.metrics.protocols import Protocol
from diadbench.common.files import write_with

_FRAMES = ("table", "images", "thresholds")


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

    def save(self, name: str, evaluation: Evaluation) -> None:
        """Write what was computed of one class, whole or not at all."""
        arrays: dict[str, Any] = {}
        for frame in _FRAMES:
            table: pd.DataFrame = getattr(evaluation, frame)
            arrays |= {f"{frame}/{column}": _plain(table[column]) for column in table}
        for kind, (x, y) in evaluation.curves[name].items():
            arrays |= {f"curves/{kind}/x": np.asarray(x), f"curves/{kind}/y": np.asarray(y)}
        write_with(self._file(name), partial(np.savez, **arrays))

    def together(self, names: Sequence[str], protocol: Protocol) -> Evaluation:
        """Return the evaluation of all classes."""
        found = [self._read(name) for name in names]
        frames = {frame: pd.concat([_frame(arrays, frame) for arrays in found], ignore_index=True) for frame in _FRAMES}
        return Evaluation(protocol, curves={name: _curves(arrays) for name, arrays in zip(names, found)}, **frames)

    def _read(self, name: str) -> dict[str, Any]:
        with np.load(self._file(name), allow_pickle=False) as arrays:
            return {key: arrays[key] for key in arrays.files}

    def clear(self) -> None:
        """Remove all of them."""
        shutil.rmtree(self._top, ignore_errors=True)


def _plain(column: pd.Series[Any]) -> np.ndarray[Any, Any]:
    """Return a column without objects: texts as fixed-width characters."""
    return column.to_numpy() if column.dtype.kind in "iufb" else np.array(column.tolist(), dtype=str)


def _frame(arrays: Mapping[str, Any], frame: str) -> pd.DataFrame:
    mark = f"{frame}/"
    return pd.DataFrame({key.removeprefix(mark): arrays[key] for key in arrays if key.startswith(mark)})


def _curves(arrays: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    kinds = [key.split("/")[1] for key in arrays if key.startswith("curves/") and key.endswith("/x")]
    return {kind: (arrays[f"curves/{kind}/x"], arrays[f"curves/{kind}/y"]) for kind in kinds}
