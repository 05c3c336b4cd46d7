"""A trained cell on images that no dataset knows: maps, overlays, a table of scores."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from PIL import Image
from rich.progress import track

from diadbench import methods
from diadbench.benchmark.cells.evaluation_size import at_evaluation_size, evaluation_size
from diadbench.benchmark.cells.provenance import pick_device, seed_everything
from diadbench.benchmark.cells.scratch import kept_model
from diadbench.benchmark.records.store import CellRecord
from diadbench.common.errors import UserError
from diadbench.common.files import cache_dir, write_json, write_with
from diadbench.common.heatmap import overlay, paint
from diadbench.datasets.decoding.images import read_image, resize_image
from diadbench.methods.base import RunContext
from diadbench.methods.features.origin import add
from diadbench.methods.features.origin import kept as origin_beside

if TYPE_CHECKING:
    from diadbench.methods.base import Method

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp")


def predict_images(cell: Path, images: Path, out: Path, part: str | None = None) -> Path:
    """Run a trained cell on every image below a directory.

    Writes to ``out``: ``scores.csv`` (image, score, and the map's maximum), ``maps/*.npy`` (float32, the size at which
    the cell was evaluated), ``maps/*.png`` and ``overlays/*.png`` (the size of the image; one colour scale for all),
    ``notes.json`` (what must be said beside these scores).

    Args:
        cell: Directory of a cell that is done, with its checkpoint.
        images: A directory, read with all below it, or one image.
        out: Directory for the results.
        part: Name of the model, where the cell has several (``one-per-class``: the class).

    Returns:
        The path of ``scores.csv``.

    Raises:
        UserError: No such cell, no checkpoint, no images.
    """
    record = CellRecord(cell)
    paths = list(find_images(images))
    if not paths:
        raise UserError(f"{images}: no images ({', '.join(SUFFIXES)}) in it")
    method, config, notes = load_method(record, part)
    device = pick_device(config["device"])
    depth = int(record.status.get("bit_depth") or 16)  # as the training images were read
    rows, maps = [], []
    for path in track(paths, description="predict", transient=True):
        image = read_image(path, depth)
        tensor = to_tensor(resize_image(image, tuple(config["image_size"]), config["resize"]))
        with torch.inference_mode():
            prediction = method.predict(tensor.to(device))
        found = at_evaluation_size(prediction.anomaly_map.float().cpu(), tensor, evaluation_size(config))
        maps.append(found[0].numpy())
        rows.append({"image": _name(path, images), "score": float(prediction.score[0]), "map_max": float(found.max())})
    write_pictures(out, paths, images, maps, depth)
    table = pd.DataFrame(rows).sort_values("score", ascending=False)
    write_json(out / "notes.json", notes)
    write_with(out / "scores.csv", lambda name: table.to_csv(name, index=False))
    return out / "scores.csv"


def find_images(path: Path) -> Iterator[Path]:
    """Yield all image files below a directory, in order of their names; or the one image that was given."""
    if not path.exists():
        raise UserError(f"{path}: no such file or directory; give images or a directory of images")
    if path.is_file():
        yield path
        return
    yield from sorted(each for each in path.rglob("*") if each.suffix.lower() in SUFFIXES and each.is_file())


def load_method(record: CellRecord, part: str | None) -> tuple[Method, dict[str, Any], list[str]]:
    """Return the trained method of a cell, the cell's configuration and its notes. Raises UserError."""
    config = record.config
    if not config:
        raise UserError(f"{record.directory}: no cell (no cell.yaml); expected RUN/cells/DATASET/METHOD/SETTING/seedN")
    kept = kept_model(record.directory, part)
    seed_everything(config["seed"])
    run = RunContext(
        seed=config["seed"],
        device=pick_device(config["device"]),
        image_size=tuple(config["image_size"]),
        class_names=(),
        directory=record.directory / "scratch",
        cache_dir=cache_dir(),
    )
    method = methods.get_class(config["method"])(**config["method_options"])
    method.load(kept, run)
    add(run.notes, [*origin_beside(kept).notes, *record.status.get("notes", [])])
    return method, config, run.notes


def to_tensor(image: np.ndarray[Any, Any]) -> torch.Tensor:
    """``uint8 (H,W,3)`` -> ``float32 (1,3,H,W)`` in [0,1]."""
    return torch.from_numpy(np.array(image)).permute(2, 0, 1)[None].float() / 255


def _name(path: Path, base: Path) -> str:
    return path.name if base.is_file() else path.relative_to(base).as_posix()


def write_pictures(out: Path, paths: list[Path], base: Path, maps: list[np.ndarray[Any, Any]], depth: int = 16) -> None:
    """Write maps and overlays. All share one colour scale, from the least to the greatest value of all maps."""
    low, high = min(float(each.min()) for each in maps), max(float(each.max()) for each in maps)
    for path, values in zip(paths, maps, strict=True):
        stem = Path(_name(path, base)).with_suffix("").as_posix().replace("/", "__")
        image = Image.fromarray(read_image(path, depth))
        colours = Image.fromarray(paint(values, low, high)).resize(image.size, Image.Resampling.BILINEAR)
        write_with(out / "maps" / f"{stem}.npy", partial(np.save, arr=values))
        write_with(out / "maps" / f"{stem}.png", colours.save)
        laid_over = Image.fromarray(overlay(np.asarray(image), np.asarray(colours)))
        write_with(out / "overlays" / f"{stem}.png", laid_over.save)
