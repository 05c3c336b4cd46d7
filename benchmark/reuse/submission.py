"""Make the archive of predictions on MVTec AD 2 that its owner's server scores, from a finished cell."""

from __future__ import annotations

import tarfile
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import tifffile
import torch
from numpy.typing import NDArray
from PIL import Image

from diadbench import datasets
from diadbench.benchmark.cells.provenance import pick_device
from diadbench.benchmark.cells.scoring.answering import answered
from diadbench.benchmark.cells.scoring.calibrating import load_normal
from diadbench.benchmark.cells.scoring.evaluation_size import evaluation_size
from diadbench.benchmark.metrics import get_protocol
from diadbench.benchmark.metrics.decisions.threshold_rules import ThresholdRule, threshold_rule
from diadbench.benchmark.records.store import CellRecord, RunDirectory
from diadbench.benchmark.reuse.predict import load_method, to_tensor
from diadbench.benchmark.reuse.submission_check import DECISIONS, MAPS, SPLITS, check_submission
from diadbench.common.cache.disk_space import MOVE_RUN, reserve_file, writing
from diadbench.common.errors import UserError
from diadbench.common.files import atomic_write, write_json, write_with
from diadbench.common.wording import some
from diadbench.datasets.decoding.images import inside, read_image, resize_image
from diadbench.datasets.sets.mvtec_ad_2 import MvtecAd2

if TYPE_CHECKING:
    from diadbench.methods.base import Method

Progress = Callable[[int, int, str], None]


def export_submission(
    run: Path, *, method: str, rule: str, out: Path | None, progress: Progress
) -> tuple[Path, list[str]]:
    """Write and check the archive of a cell on MVTec AD 2.

    Written beside the archive: its folder, ``scores.csv`` (image, class, split, score, threshold, anomalous) and
    ``notes.json``.

    Args:
        run: A run directory, or the directory of one cell.
        method: Method of the cell, if the run has several; ``""``: the only one.
        rule: How thresholds are set on the validation images: ``3sigma``, ``q0.99``.
        out: Directory for all files; ``submission`` in the cell's directory by default.
        progress: Called as ``progress(done, total, what)``.

    Returns:
        The archive, and notes on it.

    Raises:
        UserError: No such cell, no kept model, a missing image, or an archive that the server would refuse.
    """
    chosen, cell = threshold_rule(rule), _cell(run, method)
    dataset = _dataset(cell)
    target = out or cell.directory / "submission"
    name = f"{cell.method}-seed{cell.seed}".replace("/", "-").replace(" ", "-")
    folder = target / name
    if folder.exists():
        raise UserError(f"{folder}: exists already; remove it or name another place with --out")
    sizes: dict[tuple[str, str], dict[str, tuple[int, int] | None]] = {}
    rows: list[dict[str, Any]] = []
    notes: list[str] = []
    with writing(target.parent if target.parent.is_dir() else cell.directory, MOVE_RUN):
        for cls, model, config, said in _models(cell, dataset):
            work = _Object(dataset, cls, model, config, _thresholds(cell, dataset, cls, chosen))
            rows += work.write(folder, sizes, progress)
            notes += [note for note in said if note not in notes]
        found = check_submission(folder, sizes)
        archive = _packed(folder, target / f"{name}.tar.gz")
    check_submission(archive, sizes)
    notes += [*found.notes, f"maps scaled to 0 to 1 within each object; thresholds: {chosen.words}"]
    table = pd.DataFrame(rows)
    write_with(target / "scores.csv", lambda path: table.to_csv(path, index=False))
    write_json(target / "notes.json", notes)
    return archive, notes


def _cell(run: Path, method: str) -> CellRecord:
    """Return the one finished cell on MVTec AD 2."""
    if (run / "cell.yaml").is_file():
        cells = [CellRecord(run)]
    else:
        cells = RunDirectory(run).cells()
    found = [cell for cell in cells if cell.state == "done" and cell.config.get("dataset") == "mvtec_ad_2"]
    found = [cell for cell in found if method in ("", cell.method)]
    if not found:
        raise UserError(f"{run}: no finished cell{f' of {method!r}' if method else ''} on mvtec_ad_2")
    if len(found) > 1:
        names = some(cell.directory for cell in found)
        raise UserError(f"{run}: {len(found)} finished cells on mvtec_ad_2; give --method or one's directory: {names}")
    protocol = get_protocol(found[0].config["protocol"])
    if protocol.changes_maps:
        raise UserError(
            f"{found[0].directory}: protocol {protocol.name} cuts, resizes or blurs maps, so its thresholds are not "
            "those of the maps that are written; run the grid under mvtec-ad-2 or exact"
        )
    return found[0]


def _dataset(cell: CellRecord) -> MvtecAd2:
    config = cell.config
    dataset = datasets.get(config["dataset"], config["root"], **config["dataset_options"])
    assert isinstance(dataset, MvtecAd2)
    missing = [name for name in dataset.info.classes if name not in dataset.classes]
    if missing:
        raise UserError(f"{cell.directory}: run without {some(missing)}; the server needs all eight objects")
    return dataset


def _models(cell: CellRecord, dataset: MvtecAd2) -> Iterator[tuple[str, Method, dict[str, Any], list[str]]]:
    """Yield each class with its fitted model."""
    parts = dataset.parts(cell.config["setting"])
    for part in parts:
        model, config, notes = load_method(cell, part.name if len(parts) > 1 else None)
        for cls in part.classes:
            yield cls, model, config, notes


def _thresholds(cell: CellRecord, dataset: MvtecAd2, cls: str, rule: ThresholdRule) -> tuple[float, float]:
    """Return the thresholds of pixels and of images, from the class's validation images."""
    normal = load_normal(cell.directory).get(dataset.classes.index(cls))
    if normal is None:
        raise UserError(f"{cell.directory}: no normal.npz in it, so no threshold can be set; run the cell again")
    if normal.reason:
        raise UserError(f"{cell.directory}: {cls}: {normal.reason}; no threshold can be set")
    return normal.pixel_threshold(rule), normal.image_threshold(rule)


class _Object:
    """Predict and write the private images of one object.

    Args:
        dataset: The dataset.
        cls: The object.
        model: The fitted model.
        config: The cell's configuration.
        thresholds: Thresholds of pixels and of images.
    """

    def __init__(
        self, dataset: MvtecAd2, cls: str, model: Method, config: dict[str, Any], thresholds: tuple[float, float]
    ) -> None:
        self.dataset, self.cls, self.model, self.config = dataset, cls, model, config
        self.of_pixels, self.of_images = thresholds

    def write(
        self, folder: Path, sizes: dict[tuple[str, str], dict[str, tuple[int, int] | None]], progress: Progress
    ) -> list[dict[str, Any]]:
        """Write the object's maps and decisions; return one row per image."""
        images = [(split, path) for split in SPLITS for path in self._images(split)]
        rows: list[dict[str, Any]] = []
        with tempfile.TemporaryDirectory(dir=_made(folder), prefix=".maps-") as place:
            shape = (len(images), *evaluation_size(self.config))
            file = Path(place) / "maps.npy"
            with writing(file.parent, MOVE_RUN):
                maps = np.lib.format.open_memmap(file, mode="w+", dtype=np.float32, shape=shape)
                reserve_file(file)
            for number, (split, path) in enumerate(images):
                maps[number], score, size = self._predicted(path)
                sizes.setdefault((self.cls, split), {})[Path(path).stem] = size
                rows.append(self._row(split, path, score))
                progress(number + 1, len(images), f"private images of {self.cls}")
            low, high = float(maps.min()), float(maps.max())
            if not np.isfinite([low, high]).all():
                raise UserError(f"{self.cls}: NaN or infinity in a map of a private image; nothing can be submitted")
            for values, (split, path) in zip(maps, images, strict=True):
                stem = Path(path).stem
                self._write_one(folder, split, stem, values, sizes[self.cls, split][stem], low, high)
            del maps
        return rows

    def _images(self, split: str) -> list[str]:
        table = self.dataset.held_out(split)
        return [str(path) for path in table.loc[table["class"] == self.cls, "image"]]

    def _predicted(self, path: str) -> tuple[NDArray[np.float32], float, tuple[int, int]]:
        native = read_image(inside(self.dataset.root, path), self.config["bit_depth"])
        small = resize_image(native, tuple(self.config["image_size"]), self.config["resize"])
        tensor = to_tensor(small[None])
        with torch.inference_mode():
            device, size = pick_device(self.config["device"]), evaluation_size(self.config)
            answer = answered(self.model, tensor, device, size)
        protocol = get_protocol(self.config["protocol"])
        score = float(answer.scores[0]) if protocol.score == "method" else float(answer.maps.max())
        return answer.maps[0].numpy(), score, (int(native.shape[0]), int(native.shape[1]))

    def _row(self, split: str, path: str, score: float) -> dict[str, Any]:
        return {
            "image": path,
            "class": self.cls,
            "split": split,
            "score": score,
            "threshold": self.of_images,
            "anomalous": int(score > self.of_images),
        }

    def _write_one(
        self, folder: Path, split: str, stem: str, values: NDArray[np.float32], size: Any, low: float, high: float
    ) -> None:
        """Write a map and its decision at the image's size."""
        tensor = torch.from_numpy(np.array(values))[None, None]
        full = torch.nn.functional.interpolate(tensor, size, mode="bilinear", align_corners=False)[0, 0].numpy()
        scaled = ((full - low) / (high - low) if high > low else np.zeros_like(full)).astype(np.float16)
        called = Image.fromarray(np.where(full > self.of_pixels, np.uint8(255), np.uint8(0)))
        write_with(folder / MAPS / self.cls / split / f"{stem}.tiff", partial(tifffile.imwrite, data=scaled))
        write_with(folder / DECISIONS / self.cls / split / f"{stem}.png", called.save)


def _made(folder: Path) -> Path:
    folder.parent.mkdir(parents=True, exist_ok=True)
    return folder.parent


def _packed(folder: Path, archive: Path) -> Path:
    """Write the archive: the submission's files below a folder of its name, as the server's script packs it."""
    with atomic_write(archive) as file, tarfile.open(fileobj=file, mode="w:gz", compresslevel=6) as made:
        made.add(folder, arcname=folder.name)
    return archive


def expected_of(dataset: MvtecAd2) -> dict[tuple[str, str], dict[str, tuple[int, int] | None]]:
    """Return the private images of a dataset on disk with their sizes, which a submission must contain."""
    found: dict[tuple[str, str], dict[str, tuple[int, int] | None]] = {}
    for split in SPLITS:
        for path, cls in dataset.held_out(split)[["image", "class"]].itertuples(index=False):
            with Image.open(inside(dataset.root, path)) as image:
                found.setdefault((cls, split), {})[Path(path).stem] = (image.height, image.width)
    return found


def check_archive(path: Path, root: Path) -> list[str]:
    """Check a submission's folder or archive against the data set below ``root``; return notes. Raises UserError."""
    dataset = MvtecAd2(root)
    checked = check_submission(path, expected_of(dataset))
    return [f"{checked.files:,} files as the server wants them", *checked.notes]
