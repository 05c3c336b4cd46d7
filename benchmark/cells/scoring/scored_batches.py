"""Keep the predictions of a part batch by batch, so that a cell killed while it predicts continues with the next batch.

The maps of the class being scored are kept, one file per batch. When the class is over, one file with its metrics
replaces them, so the disk holds the maps of one class at a time, as the evaluator does. Files are renamed into place.
Files of batches are not fsynced: a file that a failing machine left broken is detected by its checksum, and its
images are scored again.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from diadbench.common.files import read_json, write_json

Arrays = dict[str, NDArray[Any]]

#: Prefix of the image scores that a GPU has pooled, before the name of their protocol.
POOLED = "pooled/"
#: Exceptions raised by reading a file that is truncated, empty or of another format.
BROKEN = (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error)


class Predictions:
    """The kept predictions of one part of a cell.

    Args:
        directory: Directory of the files.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._forget()
        for path in sorted(directory.glob("batch-*.npz")):
            found = _read(path)
            for place, row in enumerate(found["rows"].tolist() if found else ()):
                self._places[row] = path, place

    def _forget(self) -> None:
        self._places: dict[int, tuple[Path, int]] = {}
        self._open: tuple[Path, Arrays] | None = None
        self._full = False

    def drop(self) -> None:
        """Remove all predictions, because the model has changed.

        Raises:
            OSError: A file stays. What another model has scored must not be taken for this one's.
        """
        if self._directory.exists():
            shutil.rmtree(self._directory)
        self._forget()

    # -- what the method said -----------------------------------------------------------------------------------

    @property
    def said(self) -> dict[str, Any]:
        """Return the values that :meth:`say` wrote last; ``{}`` before the first call."""
        return read_json(self._directory / "said.json") or {}

    def say(self, **values: Any) -> None:
        """Keep plain values beside the predictions: notes, extra values."""
        if values != self.said:
            write_json(self._directory / "said.json", values)

    # -- the state of random numbers before the first image -------------------------------------------------------

    def begin(self, state: Arrays) -> None:
        """Keep the state of the method's random number generators before its first image."""
        self._write(self._directory / "start.npz", state)

    @property
    def start(self) -> Arrays:
        """Return the state that :meth:`begin` kept; ``{}`` if there is none."""
        return _read(self._directory / "start.npz") or {}

    # -- images ---------------------------------------------------------------------------------------------------

    def recall(self, rows: Tensor) -> Arrays | None:
        """Return ``maps`` ``float32 (B,H,W)``, ``scores`` ``float32 (B,)`` and the other values kept with these images.

        Args:
            rows: ``int64 (B,)``: rows of the sample table.

        Returns:
            ``None`` unless all images are kept. Values that are not per image are those of the last image's batch.
        """
        places = [self._places.get(row) for row in rows.tolist()]
        found = [(self._load(place[0]), place[1]) for place in places if place is not None]
        if len(found) < len(places) or any(arrays is None for arrays, _ in found):
            return None
        whole = [(arrays, place) for arrays, place in found if arrays is not None]
        keys = ["maps", "scores", *(key for key in whole[-1][0] if key.startswith(POOLED))]
        stacked = {
            key: np.stack([arrays[key][place] for arrays, place in whole])
            for key in keys
            if all(key in arrays for arrays, _ in whole)
        }
        return {key: value for key, value in whole[-1][0].items() if key not in keys} | stacked

    def keep(self, rows: Tensor, maps: Tensor, scores: Tensor, more: Arrays) -> None:
        """Keep a scored batch. See :meth:`recall`; of ``more``, what begins with :data:`POOLED` is per image."""
        path = self._directory / f"batch-{int(rows[0])}.npz"
        self._write(path, {"rows": rows.numpy(), "maps": maps.numpy(), "scores": scores.numpy(), **more})

    def finish(self, position: int, arrays: Arrays) -> None:
        """Keep the result of a class in place of its batches. ``position`` is its place among the classes."""
        self._write(self._class_file(position), arrays, lasting=True)
        for path in self._directory.glob("batch-*.npz"):
            path.unlink(missing_ok=True)
        self._places, self._open = {}, None

    def finished(self, position: int) -> Arrays | None:
        """Return what :meth:`finish` kept of a class; ``None`` if the class isn't finished."""
        return _read(self._class_file(position))

    def _class_file(self, position: int) -> Path:
        return self._directory / f"class-{position}.npz"

    def _load(self, path: Path) -> Arrays | None:
        if self._open is None or self._open[0] != path:
            self._open = path, _read(path) or {}
        return self._open[1] or None

    def _write(self, path: Path, arrays: Mapping[str, Any], *, lasting: bool = False) -> None:
        """Write a file. Once the disk has been full, nothing more is written, since no cell should fail for it."""
        if self._full:
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_suffix(".tmp")
        try:
            with open(temporary, "wb") as file:
                np.savez(file, **arrays)
                if lasting:
                    file.flush()
                    os.fsync(file.fileno())
            os.replace(temporary, path)
        except OSError as error:
            self._full = True
            temporary.unlink(missing_ok=True)
            with contextlib.suppress(OSError):
                print(f"predictions are not kept from here on, a kill costs them: {error}", flush=True)


def _read(path: Path) -> Arrays | None:
    """Return the arrays of a file after verifying checksums; ``None`` if there is none. A broken file is removed."""
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return {key: arrays[key] for key in arrays.files}
    except FileNotFoundError:
        return None
    except BROKEN:
        path.unlink(missing_ok=True)
        return None


def tensors(found: Arrays, protocol: str) -> tuple[Tensor, Tensor, Tensor | None]:
    """Return maps, scores and the protocol's pooled scores, if kept, from the arrays of :meth:`Predictions.recall`."""
    pooled = found.get(f"{POOLED}{protocol}")
    single = None if pooled is None else torch.from_numpy(pooled)
    return torch.from_numpy(found["maps"]), torch.from_numpy(found["scores"]), single
