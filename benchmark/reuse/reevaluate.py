"""Metrics of finished cells again, from kept maps, without running any model."""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
import yaml

from diadbench import datasets
from diadbench.benchmark.cells.calibrating import load_normal
from diadbench.benchmark.cells.cell import open_data
from diadbench.benchmark.cells.evaluating import make_evaluator
from diadbench.benchmark.cells.evaluation_size import evaluation_size, size_notes
from diadbench.benchmark.cells.keep import limits_file, map_file, save_metrics, save_scores
from diadbench.benchmark.metrics import get_protocol
from diadbench.benchmark.metrics.decisions.normal_scores import NormalSummary, no_normal
from diadbench.benchmark.records.store import CellRecord, RunDirectory
from diadbench.common.errors import UserError
from diadbench.common.files import write_json, write_text
from diadbench.common.half import from_half

if TYPE_CHECKING:
    from diadbench.benchmark.metrics import Evaluation, Protocol
    from diadbench.datasets.decoding.data import TestData

#: Sums over the same scores in another order differ by less.
ROUNDING = 1e-13
ProgressCall = Callable[[int, int, str], None]


def evaluate_run(run: Path, protocol: str, out: Path | None, progress: ProgressCall) -> tuple[RunDirectory, list[str]]:
    """Evaluate every finished cell of a run under another protocol, into a run directory of its own.

    The new directory holds metrics, scores and curves, marked with the new protocol; reports read it like any
    other. Maps, models and pictures stay where they are.

    Args:
        run: A run directory whose cells kept their maps (``keep_maps: float16`` or ``float32``).
        protocol: Name of the protocol.
        out: The new directory; ``<run>-<protocol>`` by default.
        progress: Called as ``progress(done, total, what)``.

    Returns:
        The new run directory, and one line for each cell that couldn't be evaluated.

    Raises:
        UserError: No run, unknown protocol, or no cell at all could be evaluated.
    """
    source = RunDirectory(run)
    get_protocol(protocol)
    target = RunDirectory(out or source.path.with_name(f"{source.path.resolve().name}-{protocol}"), must_exist=False)
    if target.path.resolve() == source.path.resolve():
        raise UserError(f"{target.path}: --out must be another directory than the run")
    write_text(target.path / "grid.yaml", yaml.safe_dump({**source.grid, "protocol": protocol}, sort_keys=False))
    write_json(target.path / "environment.json", source.environment)
    left_out = []
    done = [cell for cell in source.cells() if cell.state == "done"]
    for place, cell in enumerate(done):
        progress(place, len(done), f"{cell.dataset} / {cell.method}")
        try:
            evaluate_cell(cell, protocol, target)
        except UserError as error:
            left_out.append(f"{cell.dataset} / {cell.method} / {cell.setting} / seed {cell.seed}: {error}")
    if len(left_out) == len(done):
        raise UserError(left_out[0] if left_out else f"{run}: no cell is done; nothing to evaluate")
    target.write_results()
    return target, left_out


def evaluate_cell(cell: CellRecord, name: str, target: RunDirectory) -> None:
    """Evaluate one cell's kept maps and scores. Raises UserError when it has none, or the data have changed."""
    protocol = get_protocol(name)
    config = {**cell.config, "protocol": name}
    dataset = datasets.get(config["dataset"], config["root"], **config["dataset_options"])
    data = open_data(dataset, config, protocol.mask_rule, lambda done, total, what: None)
    if data.fingerprint != cell.status["fingerprint"]:
        raise UserError(f"the data at {config['root']} are not those that the cell was run on; run it again")
    if dataset.info.has_masks and not list((cell.directory / "maps").glob("*.npy")):
        raise UserError("no maps were kept; run the grid with keep_maps=float16 or float32")
    record = target.cell(cell.dataset, cell.method, cell.setting, cell.seed)
    record.directory.mkdir(parents=True, exist_ok=True)
    evaluator = make_evaluator(dataset, protocol, record.directory / "spill")
    for place, summary in normal_again(cell, protocol, len(dataset.classes)).items():
        evaluator.set_normal(place, summary)
    scores = pd.read_parquet(cell.directory / "scores.parquet").set_index("index")
    kept = KeptMaps(cell.directory, dataset.classes, dataset.samples)
    for part in dataset.parts(config["setting"]):
        _, test = data.part(part)
        for update in updates(test, kept, scores, dataset.samples, dataset.classes):
            evaluator.update(**update)
    evaluation = evaluator.compute()
    shutil.rmtree(record.directory / "spill", ignore_errors=True)
    # the protocol's rule for masks may change what the data's notes say
    before = [*size_notes(config, get_protocol(cell.config["protocol"])), *cell.status.get("data_notes", [])]
    notes = [note for note in cell.status["notes"] if note not in before]
    notes += [*data.notes, *size_notes(config, protocol), *kept.notes(), *_difference(cell, name, evaluation)]
    text = protocol.describe(evaluation_size(config))
    said = {"notes": list(dict.fromkeys(notes)), "data_notes": list(data.notes), "protocol_text": text}
    _write(record, cell, config, evaluation, scores, said)


def normal_again(cell: CellRecord, protocol: Protocol, classes: int) -> dict[int, NormalSummary]:
    """Return a cell's normal images for another evaluation: where it compares maps and scores in another way, none.

    Their maps are not kept, only counts of their pixels.
    """
    found = load_normal(cell.directory)
    own = get_protocol(cell.config["protocol"])
    if found and own.comparison != protocol.comparison:
        reason = f"normal images were scored under protocol {own.name} alone: run the grid under {protocol.name}"
        return {place: replace(no_normal(), reason=reason) for place in range(classes)}
    return found


def _difference(cell: CellRecord, protocol: str, evaluation: Evaluation) -> list[str]:
    """Say by how much the figures differ from the cell's own, where both are of one protocol."""
    if protocol != cell.status["protocol"]:
        return []
    own = {(row["class"], row["metric"]): row["value"] for row in cell.metrics() if row["scope"] == "class"}
    again = zip(*(evaluation.table[name] for name in ("class", "metric", "value")))
    off = {
        (name, metric): abs(value - float(own[name, metric]))
        for name, metric, value in again
        if own.get((name, metric))
    }
    lost = sum(math.isnan(value) for value in off.values())
    if lost:
        return [f"{lost} of the run's own figures can't be computed from the kept maps"]
    largest = max(off, key=lambda key: off[key], default=None)
    if largest is None or off[largest] < ROUNDING:
        return ["every figure is the run's own"]
    name, metric = largest
    return [
        f"the largest difference from the run's own figures is {100 * off[largest]:.2g} points ({metric} of {name})"
    ]


def _write(
    record: CellRecord,
    cell: CellRecord,
    config: dict[str, Any],
    evaluation: Evaluation,
    scores: pd.DataFrame,
    said: dict[str, Any],
) -> None:
    write_text(record.directory / "cell.yaml", yaml.safe_dump(config, sort_keys=False, allow_unicode=True))
    save_metrics(record.directory, evaluation)
    if (cell.directory / "normal.npz").is_file():
        shutil.copy2(cell.directory / "normal.npz", record.directory / "normal.npz")
    save_scores(record.directory, scores.reset_index(), evaluation)
    for name in ("gallery", "history.csv"):
        source = cell.directory / name
        if source.is_dir():
            shutil.copytree(source, record.directory / name, dirs_exist_ok=True)
        elif source.is_file():
            shutil.copy2(source, record.directory / name)
    record.write_status(**{**cell.status, "protocol": config["protocol"], **said, "kept_maps": {}})


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
                self._maps[name] = np.load(path, mmap_mode="r")
            if limits.is_file():
                self._limits[name] = np.load(limits)
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
        """Say at which precision maps were kept, and how far that is from what the method gave."""
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
    """Yield what the evaluator wants, batch by batch."""
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
