"""Keep the files that reports and later evaluations read: scores, metrics, curves, gallery and, on demand, maps."""

from __future__ import annotations

import contextlib
import csv
import shutil
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.lib.format import open_memmap

from diadbench.benchmark.records.store import METRIC_COLUMNS
from diadbench.common.cache.disk_space import MOVE_RUN, reserve_file, writing
from diadbench.common.files import write_json, write_with
from diadbench.common.half import loss_of_half, to_half
from diadbench.datasets.decoding.images import inside, read_image, resize_image

if TYPE_CHECKING:
    from torch import Tensor

    from diadbench.benchmark.metrics import Evaluation
    from diadbench.datasets.base import Dataset
    from diadbench.datasets.decoding.data import Batch

#: Number of pictures kept of a cell, over all classes.
GALLERY_SIZE = 60


def gallery_rows(samples: pd.DataFrame) -> set[int]:
    """Choose the test images of the gallery from the sample table alone, so that all methods keep the same images.

    Each class contributes anomalous images at even steps through its defects (2 to 6, depending on the number of
    classes) and the middle normal image. Reports select the best, median and worst of them.
    """
    test = samples[samples["split"] == "test"]
    groups = list(test.groupby("class", sort=False))
    each = min(max(GALLERY_SIZE // max(len(groups), 1) - 1, 2), 6)
    chosen: set[int] = set()
    for _, rows in groups:
        bad = rows.index[rows["label"] == 1]
        good = rows.index[rows["label"] == 0]
        places = np.linspace(0, len(bad) - 1, min(each, len(bad))).round().astype(int).tolist()
        chosen |= {int(bad[place]) for place in places}
        if len(good):
            chosen.add(int(good[len(good) // 2]))
    return chosen


class Keeper:
    """Collect results while a cell predicts, and write them once the cell has been evaluated.

    Args:
        directory: The cell's directory.
        dataset: The dataset.
        keep_maps: ``none``, ``float16`` (each map scaled to its own limits, see :mod:`diadbench.common.half`) or
            ``float32``.
        size: ``(H, W)`` of the evaluation: of the maps, the masks, and the pictures of the gallery.
        resize: The cell's resize filter of images.
        resumed: Keep the files of an earlier process of the cell, for :meth:`restore` and ``keep(again=True)``.
        depth: Number of bits that the 16-bit images of the dataset use, 8 to 16.
    """

    def __init__(
        self,
        directory: Path,
        dataset: Dataset,
        *,
        keep_maps: str,
        size: tuple[int, int],
        resize: str = "bilinear",
        resumed: bool = False,
        depth: int = 16,
    ) -> None:
        self._directory = directory
        self._root, self._size, self._resize, self._depth = dataset.root, size, resize, depth
        self._samples = dataset.samples
        self._gallery_rows = gallery_rows(self._samples)
        self._keep_maps = keep_maps
        self._scores: dict[int, float] = {}
        self._maps: dict[str, np.memmap[Any, Any]] = {}
        self._limits: dict[str, np.ndarray[Any, Any]] = {}
        self._loss = 0.0
        self._gallery: list[dict[str, Any]] = []
        test = self._samples[self._samples["split"] == "test"]
        self._place = test.groupby("class", sort=False).cumcount()
        self._counts = test["class"].value_counts()
        self._positions = {name: place for place, name in enumerate(dataset.classes)}
        for name in ("gallery", "maps") if not resumed else ():
            shutil.rmtree(directory / name, ignore_errors=True)

    def keep(
        self, batch: Batch, maps: Tensor, scores: Tensor, reconstruction: Tensor | None, *, again: bool = False
    ) -> None:
        """Keep the scores of a batch, the pictures of chosen images and, if they were asked for, all maps.

        ``again``: A killed process has kept this batch before, so its pictures and reconstructions exist already.
        """
        for place, row in enumerate(batch.index.tolist()):
            self._scores[row] = float(scores[place])
            if self._keep_maps != "none":
                self._keep_map(row, maps[place].numpy())
            if row in self._gallery_rows:
                if not (again and self._picture_file(row).is_file()):
                    self._keep_picture(row, place, batch, maps, reconstruction)
                self._index_picture(row)

    def close(self, name: str) -> dict[str, np.ndarray[Any, Any]]:
        """Return the results of a class whose images have all been seen, as arrays for :meth:`restore`."""
        rows = [row for row in self._scores if self._samples.at[row, "class"] == name]
        arrays = {
            "rows": np.array(rows, dtype=np.int64),
            "scores": np.array([self._scores[row] for row in rows], dtype=np.float64),
            "loss": np.array(self._loss),
        }
        if name in self._maps:
            self._maps[name].flush()
            arrays["limits"] = self._limits[name]
        return arrays

    def can_restore(self, name: str, arrays: Mapping[str, np.ndarray[Any, Any]]) -> bool:
        """Whether the pictures and maps of a class still exist, with the maps in the format that is asked for now."""
        pictures = [row for row in arrays["rows"].tolist() if row in self._gallery_rows]
        return self._has_maps(name) and all(self._picture_file(row).is_file() for row in pictures)

    def _has_maps(self, name: str) -> bool:
        if self._keep_maps == "none":
            return True
        with contextlib.suppress(OSError, ValueError):
            maps = np.load(self._map_file(name), mmap_mode="r")
            return bool(maps.dtype == self._keep_maps and maps.shape == (int(self._counts[name]), *self._size))
        return False

    def restore(self, name: str, arrays: Mapping[str, np.ndarray[Any, Any]]) -> None:
        """Restore a class in a resumed process from the arrays that :meth:`close` returned."""
        for row, score in zip(arrays["rows"].tolist(), arrays["scores"].tolist(), strict=True):
            self._scores[row] = score
            if row in self._gallery_rows:
                self._index_picture(row)
        self._loss = max(self._loss, float(arrays["loss"]))
        if self._keep_maps != "none":
            self._maps[name], self._limits[name] = open_memmap(self._map_file(name), mode="r+"), arrays["limits"]

    def _map_file(self, name: str) -> Path:
        return map_file(self._directory, self._positions[name])

    def _picture_file(self, row: int) -> Path:
        return self._directory / "gallery" / f"{row}.npz"

    def _keep_map(self, row: int, values: np.ndarray[Any, Any]) -> None:
        name = str(self._samples.at[row, "class"])
        if name not in self._maps:
            path = self._map_file(name)
            path.parent.mkdir(exist_ok=True)
            count = int(self._counts[name])
            with writing(path.parent, MOVE_RUN):
                self._maps[name] = open_memmap(path, mode="w+", dtype=self._keep_maps, shape=(count, *self._size))
                reserve_file(path)
            self._limits[name] = np.zeros((count, 2), dtype=np.float32)
        place = self._place[row]
        if self._keep_maps == "float16":
            half, limits = to_half(values)
            self._loss = max(self._loss, loss_of_half(values, half, limits))
            self._limits[name][place], values = limits, half
        self._maps[name][place] = values

    @property
    def kept(self) -> dict[str, Any]:
        """Return the entry on kept maps for ``status.json``: ``dtype`` and, for float16, the ``loss`` over all of them.

        The loss is the largest difference between a map and its kept copy, as a share of the map's range.
        """
        if not self._maps:
            return {}
        return {"dtype": self._keep_maps, "loss": self._loss if self._keep_maps == "float16" else 0.0}

    def _keep_picture(self, row: int, place: int, batch: Batch, maps: Tensor, reconstruction: Tensor | None) -> None:
        half, limits = to_half(maps[place].numpy())
        arrays: dict[str, Any] = {
            "image": self._picture(row, batch.image[place, :3]),
            "map": half,
            "map_limits": limits,
        }
        if batch.mask is not None:
            arrays["mask"] = batch.mask[place].numpy().astype(bool)
        if reconstruction is not None:
            arrays["reconstruction"] = _uint8(reconstruction[place])
        write_with(self._picture_file(row), lambda name: np.savez_compressed(name, **arrays))

    def _index_picture(self, row: int) -> None:
        sample = self._samples.loc[row]
        entry = {key: str(sample[key]) for key in ("class", "defect", "image")}
        self._gallery.append({"row": row, **entry, "label": int(str(sample["label"])), "score": self._scores[row]})

    def _picture(self, row: int, seen: Tensor) -> np.ndarray[Any, Any]:
        """Return the test image as ``uint8 (H,W,3)`` at the evaluation size, the same for all methods of a grid."""
        if tuple(seen.shape[-2:]) == self._size:
            return _uint8(seen)
        native = read_image(inside(self._root, str(self._samples.at[row, "image"])), self._depth)
        return resize_image(native, self._size, self._resize)

    def save(self, evaluation: Evaluation) -> None:
        """Write metrics, scores, curves and the gallery's index. They count once the caller has written the status."""
        for name, maps in self._maps.items():
            maps.flush()
            if self._keep_maps == "float16":
                path = limits_file(self._directory, self._positions[name])
                write_with(path, partial(np.save, arr=self._limits[name]))
        save_metrics(self._directory, evaluation)
        rows = sorted(self._scores)
        table = self._samples.loc[rows, ["image", "class", "defect", "label", "sample_id"]].reset_index(names="index")
        save_scores(self._directory, table.assign(method_score=[self._scores[row] for row in rows]), evaluation)
        if self._gallery:
            write_json(self._directory / "gallery" / "index.json", self._gallery)
        self._save_history()

    def _save_history(self) -> None:
        tables = []
        for path in sorted((self._directory / "scratch").glob("*/history.csv")):
            tables.append(pd.read_csv(path).assign(part=path.parent.name))
        if tables:
            merged = pd.concat(tables, ignore_index=True)
            write_with(self._directory / "history.csv", lambda name: merged.to_csv(name, index=False))


def map_file(directory: Path, position: int) -> Path:
    """Return the file of the maps ``(N,H,W)`` of a class, given its position among the dataset's classes."""
    return directory / "maps" / f"{position}.npy"


def limits_file(directory: Path, position: int) -> Path:
    """Return the file of the limits ``float32 (N,2)`` of float16 maps. Cells of earlier versions have none."""
    return directory / "maps" / f"{position}.limits.npy"


def save_scores(directory: Path, table: pd.DataFrame, evaluation: Evaluation) -> None:
    """Write ``scores.parquet``: ``score`` is the score that the metrics use, ``method_score`` the method's own."""
    used = [
        evaluation.image_scores.get(row, own) for row, own in zip(table["index"], table["method_score"], strict=True)
    ]
    table = table.assign(score=used)
    write_with(directory / "scores.parquet", lambda name: table.to_parquet(name, index=False))


def save_metrics(directory: Path, evaluation: Evaluation, stem: str = "") -> None:
    """Write ``metrics.csv``, ``decisions.csv``, ``pooled.csv`` and ``curves.npz`` of an evaluation, atomically."""
    classes = evaluation.table.assign(scope="class")
    mean = evaluation.mean().assign(scope="mean", **{"class": "mean"})
    table = pd.concat([classes, mean], ignore_index=True).reindex(columns=list(METRIC_COLUMNS))
    counts = ["n_normal", "n_anomalous", "n_defined", "n_classes"]
    table[counts] = table[counts].astype("Int64")
    write_with(
        directory / f"metrics{stem}.csv",
        lambda name: table.to_csv(name, index=False, quoting=csv.QUOTE_MINIMAL, float_format="%.17g"),
    )
    for name in ("decisions", "pooled"):
        frame: pd.DataFrame = getattr(evaluation, name)
        write_with(
            directory / f"{name}{stem}.csv",
            partial(frame.to_csv, index=False, float_format="%.17g"),
        )
    arrays: dict[str, Any] = {"classes": np.array(list(evaluation.curves), dtype=str)}
    for place, curves in enumerate(evaluation.curves.values()):
        for kind, (x, y) in curves.items():
            arrays[f"{place}/{kind}/x"] = np.asarray(x, dtype=np.float32)
            arrays[f"{place}/{kind}/y"] = np.asarray(y, dtype=np.float32)
    write_with(directory / f"curves{stem}.npz", lambda name: np.savez_compressed(name, **arrays))


def _uint8(image: Tensor) -> np.ndarray[Any, Any]:
    """Convert ``float (3,H,W)`` in [0,1] to ``uint8 (H,W,3)``."""
    return (image.float().clamp(0, 1) * 255).round().byte().permute(1, 2, 0).cpu().numpy()
