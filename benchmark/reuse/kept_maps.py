"""The memory-mapped maps that a cell has kept, and the batches of an evaluator."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch

from diadbench.benchmark.cells.keep import limits_file, map_file
from diadbench.benchmark.records.own_files import own_file
from diadbench.benchmark.records.store import CellRecord
from diadbench.common.half import from_half

if TYPE_CHECKING:
    from diadbench.datasets.decoding.data import TestData


class KeptMaps:
    """The kept maps of a cell, memory-mapped.

    Args:
        directory: The cell's directory.
        classes: Class names in the dataset's order.
        samples: The dataset's sample table.
    """

    def __init__(self, directory: Path, classes: tuple[str, ...], samples: pd.DataFrame) -> None:
        self._maps, self._limits = {}, {}
        for position, name in enumerate(classes):
            path, limits = map_file(directory, position), limits_file(directory, position)
            if path.is_file():
                with own_file(path):
                    self._maps[name] = np.load(path, mmap_mode="r", allow_pickle=False)
            if limits.is_file():
                with own_file(limits):
                    self._limits[name] = np.load(limits, allow_pickle=False)
        self._loss = (CellRecord(directory).status.get("kept_maps") or {}).get("loss")
        test = samples[samples["split"] == "test"]
        self._place = test.groupby("class", sort=False).cumcount()
        self._class = test["class"]

    def get(self, rows: list[int]) -> torch.Tensor | None:
        """Return the maps ``(B,H,W)`` of rows of the sample table, all of one class; ``None`` when none were kept."""
        name, places = str(self._class[rows[0]]), self._place[rows].to_numpy()
        if name not in self._maps:
            return None
        maps = np.ascontiguousarray(self._maps[name][places])
        return torch.from_numpy(from_half(maps, self._limits[name][places]) if name in self._limits else maps)

    def notes(self) -> list[str]:
        """Return notes on the precision of the kept maps, and on their deviation from the method's maps."""
        kinds = {str(maps.dtype) for maps in self._maps.values()}
        if not kinds:
            return []
        text = f"evaluated again from maps kept as {'/'.join(sorted(kinds))}"
        if "float16" not in kinds:
            return [text]
        if len(self._limits) < len(self._maps):
            return [f"{text} without their limits: values are off by up to 0.05 % of their size, infinite above 65504"]
        return [text if self._loss is None else f"{text}, off by at most {100 * self._loss:.2g} % of a map's range"]


def updates(
    test: TestData, kept: KeptMaps, scores: pd.DataFrame, samples: pd.DataFrame, classes: tuple[str, ...]
) -> Iterator[dict[str, Any]]:
    """Yield the arguments of the evaluator, batch by batch."""
    position = {name: place for place, name in enumerate(classes)}
    for batch in test.batches(32):
        rows = batch.index.tolist()
        table = samples.loc[rows]
        yield {
            "class_id": torch.tensor([position[name] for name in table["class"]]),
            "anomaly_map": kept.get(rows),
            "mask": batch.mask,
            "score": torch.tensor(scores.loc[rows, "method_score"].to_numpy()),
            "label": batch.label,
            "sample_id": list(table["sample_id"]),
            "index": batch.index,
        }
