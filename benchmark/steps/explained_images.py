"""Predictions of test images with all that explains them, kept on disk so that a step that goes on has them."""

from __future__ import annotations

import json
import shutil
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from diadbench.common.files import read_json, write_json, write_with
from diadbench.datasets.decoding.data import Batch
from diadbench.methods.diad import anomaly_map, image_score
from diadbench.methods.diad.method import DiAD


def kept_predictions(test: Path, decides: dict[str, Any]) -> Path:
    """Return the directory of existing predictions; it is emptied unless all that decides them is the same."""
    wanted = _as_json(decides)
    place = test / "identity.json"
    raw = test / "raw"
    if read_json(place) != wanted:
        shutil.rmtree(test, ignore_errors=True)
        write_json(place, wanted)
    raw.mkdir(parents=True, exist_ok=True)
    return raw


def explained(method: DiAD, batch: Batch, raw: Path, device: torch.device) -> list[dict[str, Any]]:
    """Predict and keep map, score, level maps and reconstruction of each image; kept ones are not computed again."""
    paths = [raw / f"{index}.npz" for index in batch.index.tolist()]
    missing = [i for i, path in enumerate(paths) if not path.is_file()]
    if missing:
        levels, reconstruction = method.explain(batch.image[missing].to(device))
        maps = anomaly_map(levels, method.sigma)
        found = {
            "map": maps.float().cpu(),
            "score": image_score(maps, method.pool).cpu(),
            "levels": levels.float().cpu(),
            "reconstruction": reconstruction.clamp(0, 1).float().cpu(),
        }
        for place, i in enumerate(missing):
            values = {name: each[place].numpy() for name, each in found.items()}
            write_with(paths[i], partial(_save_arrays, values))
    return [_load_arrays(path) for path in paths]


def _save_arrays(values: dict[str, Any], name: str) -> None:
    """Write an ``npz`` under exactly this name."""
    with open(name, "wb") as file:
        np.savez(file, **values)


def _load_arrays(path: Path) -> dict[str, Any]:
    """Read the file that :func:`_save_arrays` wrote."""
    with np.load(path, allow_pickle=False) as kept:
        return {key: kept[key] for key in kept.files}


def _as_json(value: Any) -> Any:
    """Return plain values in the form in which JSON returns them, with lists in place of tuples."""
    return json.loads(json.dumps(value))
