"""Run a trained cell on images outside any dataset: scores and their interpretation, maps, overlays."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch

from diadbench.benchmark.cells.provenance import pick_device
from diadbench.benchmark.cells.scoring.answering import answered
from diadbench.benchmark.cells.scoring.evaluation_size import evaluation_size
from diadbench.benchmark.cells.scratch import kept_model
from diadbench.benchmark.records.store import CellRecord, RunDirectory
from diadbench.benchmark.reuse.cell_code import load_model
from diadbench.benchmark.reuse.normal_place import (
    USUAL_SHARE,
    NormalScores,
    Threshold,
    normal_scores,
    placed,
    threshold_from,
)
from diadbench.benchmark.reuse.overlays import paint_all
from diadbench.benchmark.reuse.photos import Photo, find_photos
from diadbench.benchmark.reuse.predictions import Entry, Predictions
from diadbench.common.errors import UserError
from diadbench.common.files import write_json, write_with
from diadbench.common.wording import counted, some
from diadbench.datasets.checking.check_files import FEWER_BITS
from diadbench.datasets.checking.pixel_findings import DARK, trait_notes
from diadbench.datasets.decoding.deep_pixels import bits_used, traits_of
from diadbench.datasets.decoding.images import decode_image, read_bytes, resize_image
from diadbench.methods.base import no_progress
from diadbench.methods.features.origin import add
from diadbench.methods.features.origin import kept as origin_beside

if TYPE_CHECKING:
    from diadbench.methods.base import Method

Pixels = npt.NDArray[np.uint8]

#: Threads that read images ahead of the model.
READERS = 4


class Picture(NamedTuple):
    """An image at the model's size, ``uint8 (H,W,3)``, and the traits of its file."""

    pixels: Pixels
    traits: str


@dataclass(frozen=True)
class Predicted:
    """Predictions of a model on images.

    Attributes:
        out: The directory that holds them.
        table: A row for each image, greatest score first: ``image``, ``score``, ``percentile`` (how many percent of the
            normal test images score less), ``decision``, ``threshold``, ``map_max``, ``map`` and ``overlay`` (files).
        threshold: Where the decision changes, and why there.
        normal: The normal test images that scores are compared with.
        broken: ``{image: reason}`` of images that can't be read or that the model can't score.
        passed_over: How many files were no images, hidden or predictions, by reason.
        notes: Notes that must accompany these scores.
    """

    out: Path
    table: pd.DataFrame
    threshold: Threshold
    normal: NormalScores
    broken: dict[str, str] = field(default_factory=dict)
    passed_over: dict[str, int] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    @property
    def scores(self) -> Path:
        """Return the table's file, ``scores.csv``."""
        return self.out / "scores.csv"

    def to_json(self) -> dict[str, Any]:
        """Return everything as plain values; unknown values are ``None``."""
        rows = self.table.astype(object).where(self.table.notna(), None)
        return {
            "out": str(self.out),
            "threshold": {"value": self.threshold.value, "why": self.threshold.why},
            "compared_with": self.normal.of,
            "images": rows.to_dict("records"),
            "broken": self.broken,
            "passed_over": self.passed_over,
            "notes": self.notes,
        }


def predict_images(
    cell: Path,
    images: Path | Sequence[Path],
    out: Path,
    part: str | None = None,
    *,
    among: str = "",
    threshold: str = USUAL_SHARE,
    progress: Callable[[int, int, str], None] = no_progress,
) -> Predicted:
    """Run a trained cell on images. If it is killed, the same call continues with the missing images.

    Writes to ``out``: ``scores.csv``, ``maps/*.npy`` (float32, the size at which the cell was evaluated),
    ``maps/*.png`` and ``overlays/*.png`` (the size of the image; one colour scale for all), ``notes.json``,
    ``predictions.json`` (model, threshold, passed-over files) and ``predictions.jsonl`` (for resuming). Predictions of
    an earlier call with the same model in ``out`` are removed if this call doesn't ask for them.

    Args:
        cell: Directory of a finished cell with its checkpoint, or of a run that has one such cell.
        images: Images and directories; directories are read with all below them.
        out: Directory for the results.
        part: Name of the model, where the cell has several (``one-per-class``: the class).
        among: Compare with the normal test images of this class alone.
        threshold: A score, or ``95%``: that many normal test images lie at or below it.
        progress: Called as ``progress(done, total, what)``.

    Raises:
        UserError: No such cell, no checkpoint, no images or none that is readable; ``out`` holds predictions of
            another model or is written by another process.
    """
    record = _cell(cell)
    found = find_photos([images] if isinstance(images, Path) else images, out)
    model = _model(record, part)
    normal = normal_scores(record, kept_model(record.directory, part).name, among)
    chosen = threshold_from(threshold, normal)
    method, config, notes = load_method(record, part)
    kept = Predictions(out, model, evaluation_size(config))
    with kept.opened(found.photos):
        kept.tell(cell=str(record.directory.absolute()))
        _predict_missing(kept, found.photos, method, config, progress)
        broken = {image: entry["broken"] for image, entry in kept.entries.items() if "broken" in entry}
        if len(broken) == len(found.photos):
            raise UserError(_none_is_readable(broken))
        paint_all(kept, found.photos, progress, config["bit_depth"])
        notes += trait_notes(str(entry.get("traits", "")) for entry in kept.entries.values())
        made = Predicted(
            out, placed(_table(kept), normal, chosen), chosen, normal, broken, dict(found.passed_over), notes
        )
        said = {key: value for key, value in made.to_json().items() if key not in ("images", "out")}
        kept.tell(**said)
        write_json(out / "notes.json", notes)
        write_with(made.scores, lambda name: made.table.to_csv(name, index=False))
    return made


def _none_is_readable(broken: dict[str, str]) -> str:
    why = next(iter(broken.values()))
    none = "the image can't" if len(broken) == 1 else f"none of {len(broken):,} images can"
    return f"{none} be predicted: {why}"


def _cell(path: Path) -> CellRecord:
    """Return a cell by its directory, or the only finished one of a run. Raises UserError."""
    path = Path(os.path.abspath(path))  # a cell's labels are the names of the folders above it: think of `predict .`
    if not (path / "grid.yaml").is_file():
        return CellRecord(path)
    done = [cell for cell in RunDirectory(path).cells() if cell.state == "done"]
    if len(done) != 1:
        names = some(cell.directory.relative_to(path) for cell in done)
        told = f"; give one of its cells: {names}" if done else "; nothing to predict with"
        raise UserError(f"{path}: a run with {counted(len(done), 'finished cell')}{told}")
    return done[0]


def _model(record: CellRecord, part: str | None) -> dict[str, Any]:
    """Return what decides the predictions of a cell's model. Raises UserError without a cell or for other channels."""
    config = record.config
    if not config:
        raise UserError(f"{record.directory}: no cell (no cell.yaml); expected RUN/cells/DATASET/METHOD/SETTING/seedN")
    channels = list(config.get("method_info", {}).get("channels", ["rgb"]))
    if channels != ["rgb"]:
        raise UserError(f"{record.directory}: the model needs the channels {some(channels)}; pictures have rgb")
    keys = ("identity", "method", "dataset", "setting", "seed", "image_size", "evaluation_size")
    told = {key: config[key] for key in keys if key in config}
    return {**told, "part": kept_model(record.directory, part).name}


def load_method(record: CellRecord, part: str | None) -> tuple[Method, dict[str, Any], list[str]]:
    """Return the trained method of a cell, the cell's configuration and its notes. Raises UserError.

    The configuration also has ``bit_depth``: how 16-bit images are read, as the training images were.
    """
    config = {**record.config, "bit_depth": int(record.status.get("bit_depth") or 16)}
    kept = kept_model(record.directory, part)
    method, run, versions = load_model(record, kept)
    add(run.notes, [*versions, *origin_beside(kept).notes, *record.status.get("notes", [])])
    return method, config, run.notes


def _predict_missing(
    kept: Predictions,
    photos: Sequence[Photo],
    method: Method,
    config: dict[str, Any],
    progress: Callable[[int, int, str], None],
) -> None:
    """Predict the missing images. Batches are cut from the whole list, so that a kill doesn't change them."""
    step = max(int(config.get("batch_size", 1)), 1)
    batches = (photos[start : start + step] for start in range(0, len(photos), step))
    left = ([photo for photo in batch if photo.image not in kept.entries] for batch in batches)
    missing = [batch for batch in left if batch]
    done = len(photos) - sum(map(len, missing))
    for batch, read in _read_ahead(missing, config):
        _predict_batch(kept, batch, read, method, config)
        done += len(batch)
        progress(done, len(photos), "predict")


def _read_ahead(batches: list[list[Photo]], config: dict[str, Any]) -> Iterator[tuple[list[Photo], list[Any]]]:
    """Yield each batch with its images at the model's size, or the error of reading one; reads one batch ahead."""

    def read(photo: Photo) -> Picture | UserError:
        try:
            content = read_bytes(photo.path)
            native = decode_image(content, photo.path, config["bit_depth"])
        except UserError as error:
            return error
        dark = 0 < bits_used(content, photo.path) <= config["bit_depth"] - FEWER_BITS
        traits = f"{traits_of(content)} {DARK if dark else ''}".strip()
        return Picture(resize_image(native, tuple(config["image_size"]), config["resize"]), traits)

    with ThreadPoolExecutor(min(READERS, os.cpu_count() or 1)) as pool:
        waiting = pool.map(read, batches[0]) if batches else iter(())
        for place, batch in enumerate(batches):
            ahead = pool.map(read, batches[place + 1]) if place + 1 < len(batches) else iter(())
            yield batch, list(waiting)
            waiting = ahead


def _predict_batch(
    kept: Predictions, batch: Sequence[Photo], read: list[Any], method: Method, config: dict[str, Any]
) -> None:
    """Predict the readable images of a batch and keep the results."""
    entries: list[Entry] = [_entry(kept, photo) for photo in batch]
    whole = [place for place, pixels in enumerate(read) if not isinstance(pixels, UserError)]
    for entry, pixels in zip(entries, read, strict=True):
        if isinstance(pixels, UserError):
            entry["broken"] = str(pixels)
        elif pixels.traits:
            entry["traits"] = pixels.traits
    maps: dict[str, npt.NDArray[np.float32]] = {}
    if whole:
        images = to_tensor(np.stack([read[place].pixels for place in whole]))
        with torch.inference_mode():
            answer = answered(method, images, pick_device(config["device"]), evaluation_size(config))
        for row, place in enumerate(whole):
            _note(entries[place], float(answer.scores[row]), answer.maps[row].numpy(), maps)
    kept.keep(entries, maps)


def _entry(kept: Predictions, photo: Photo) -> Entry:
    return {"image": photo.image, "name": kept.names[photo.image], "state": photo.state()}


def _note(entry: Entry, score: float, values: npt.NDArray[np.float32], maps: dict[str, Any]) -> None:
    """Record an image's score and map; an image with values that are not finite counts as broken."""
    if not (np.isfinite(score) and np.isfinite(values).all()):
        entry["broken"] = f"{entry['image']}: the model gives values that are not finite (NaN or infinity)"
        return
    entry |= {"score": score, "map_min": float(values.min()), "map_max": float(values.max())}
    maps[entry["image"]] = values


def to_tensor(images: npt.NDArray[Any]) -> torch.Tensor:
    """Convert ``uint8 (B,H,W,3)`` to ``float32 (B,3,H,W)`` in [0,1]."""
    return torch.from_numpy(np.array(images)).permute(0, 3, 1, 2).contiguous().float() / 255


def _table(kept: Predictions) -> pd.DataFrame:
    rows = [entry for _, entry in sorted(kept.entries.items()) if "broken" not in entry]
    return pd.DataFrame(
        {
            "image": [entry["image"] for entry in rows],
            "score": [entry["score"] for entry in rows],
            "map_max": [entry["map_max"] for entry in rows],
            "map": [f"maps/{entry['name']}.npy" for entry in rows],
            "overlay": [f"overlays/{entry['name']}.png" for entry in rows],
        }
    )
