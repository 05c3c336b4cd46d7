"""One cell, from samples to saved results. Start reading here.

A cell is one method on one dataset in one setting with one seed. It runs in a process of its own
(:mod:`diadbench.benchmark.cells.worker`), reads ``cell.yaml``, and leaves everything else in the cell's directory.
"""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from diadbench import datasets, methods
from diadbench.benchmark.cells.calibrating import Calibration, calibrated_on, save_normal
from diadbench.benchmark.cells.evaluating import evaluate_batch, make_evaluator
from diadbench.benchmark.cells.evaluation_size import at_evaluation_size, evaluation_size, size_notes
from diadbench.benchmark.cells.keep import Keeper
from diadbench.benchmark.cells.loggers import make_loggers
from diadbench.benchmark.cells.phases import Phases
from diadbench.benchmark.cells.provenance import environment, pick_device, seed_everything
from diadbench.benchmark.cells.scratch import Scratch
from diadbench.benchmark.metrics import get_protocol
from diadbench.common.files import cache_dir
from diadbench.datasets.decoding.data_module import DataModule
from diadbench.methods.base import Method, RunContext

if TYPE_CHECKING:
    from collections.abc import Callable

    from diadbench.benchmark.metrics import Evaluator
    from diadbench.benchmark.records.store import CellRecord
    from diadbench.datasets.base import Dataset, Part
    from diadbench.datasets.decoding.data import TestData, TrainData
    from diadbench.datasets.decoding.masks import MaskRule


def run_cell(record: CellRecord, progress: Callable[[int, int, str], None]) -> dict[str, Any]:
    """Run one cell and save its results; return what ``status.json`` says of it besides its state.

    Args:
        record: The cell's directory, with ``cell.yaml`` in it.
        progress: Called as ``progress(done, total, what)``.

    Raises:
        UserError: The input is wrong. Skip: the method can't run here. Anything else: the method failed.
    """
    cell = record.config
    phases = Phases()
    protocol = get_protocol(cell["protocol"])
    device = pick_device(cell["device"])

    with phases("prepare"):
        dataset = datasets.get(cell["dataset"], cell["root"], **cell["dataset_options"])
        with contextlib.suppress(OSError):  # a full disk is told where a result is saved
            print(f"dataset {cell['dataset_label']}: {len(dataset.samples):,} samples, {dataset.source}", flush=True)
        data = open_data(dataset, cell, protocol.mask_rule, progress)

    evaluator = make_evaluator(dataset, protocol, record.directory / "spill")
    keeper = Keeper(
        record.directory, dataset, keep_maps=cell["keep_maps"], size=evaluation_size(cell), resize=cell["resize"]
    )
    scratch = Scratch(record.directory, identity=cell["identity"], config=cell)
    notes: list[str] = [*dataset.flags, *data.notes, *size_notes(cell, protocol), *attempt_notes(cell)]
    extras: dict[str, Any] = {}
    parameters: int | None = None

    for part in dataset.parts(cell["setting"]):
        train, test = data.part(part)
        run = settings_for(part, train, cell, device, scratch, progress)
        method = methods.get_class(cell["method"])(**cell["method_options"])
        again = scratch.checkpoint(part.name).is_dir()
        with phases("fit"):
            fit_or_load(method, train, run, scratch.checkpoint(part.name), scratch)
        with phases("calibrate"):
            Calibration(cell, dataset, train, run, evaluator).calibrate(method, again=again)
        with phases("predict"):
            predict_part(method, test, dataset, device, cell, phases, evaluator, keeper, progress)
        notes += [note for note in run.notes if note not in notes]
        extras[part.name] = run.extras
        parameters = method.parameters_count() or parameters

    with phases("evaluate"):
        progress(0, 1, "evaluate")
        evaluation = evaluator.compute()
        keeper.save(evaluation)
        save_normal(record.directory, {place: evaluator.normal(place) for place in range(len(dataset.classes))})
        progress(1, 1, "evaluate")

    scratch.clear(keep_checkpoints=cell["keep_checkpoints"])
    return {
        "protocol": protocol.name,
        "protocol_text": protocol.describe(evaluation_size(cell)),
        "evaluation_size": list(evaluation_size(cell)),
        "kept_maps": keeper.kept,
        "thresholds_from": calibrated_on(dataset),
        "identity": cell["identity"],
        "fingerprint": data.fingerprint,
        **{f"n_{split}": int(count) for split, count in dataset.samples["split"].value_counts().items()},
        "vanished_masks": data.vanished if dataset.info.has_masks else {},
        "empty_masks": data.empty_masks if dataset.info.has_masks else {},
        "phases": phases.seconds,
        "images_per_second": phases.rate("model", int((dataset.samples["split"] == "test").sum())),
        "resumed": scratch.resumed,
        "parameters": parameters,
        "notes": notes,
        "data_notes": list(data.notes),
        "extras": extras if len(extras) > 1 else next(iter(extras.values()), {}),
        "environment": environment(device),
    }


def open_data(dataset: Dataset, cell: dict[str, Any], mask_rule: MaskRule, progress: Any) -> DataModule:
    """Return the dataset's images, decoded once into a cache that all cells share; masks at the evaluation size."""
    data = DataModule(
        dataset,
        tuple(cell["image_size"]),
        mask_size=evaluation_size(cell),
        mask_rule=mask_rule,
        resize=cell["resize"],
        channels=tuple(cell["method_info"]["channels"]),
        progress=progress,
    )
    data.prepare()
    return data


def settings_for(
    part: Part, train: TrainData, cell: dict[str, Any], device: torch.device, scratch: Scratch, progress: Any
) -> RunContext:
    """Seed everything and return the run's settings as the method sees them. Each part starts from the same seed."""
    seed_everything(cell["seed"])
    directory = scratch.directory(part.name)
    return RunContext(
        seed=cell["seed"],
        device=device,
        image_size=train.image_size,
        class_names=train.class_names,
        directory=directory,
        cache_dir=cache_dir(),
        threads=torch.get_num_threads(),
        devices=cell["devices"],
        progress=progress,
        logger=make_loggers(cell, part.name, directory),
    )


def fit_or_load(method: Method, train: TrainData, run: RunContext, checkpoint: Path, scratch: Scratch) -> None:
    """Fit the method and save it; or load it, when an earlier process of this cell was killed after it had."""
    if checkpoint.is_dir():
        method.load(checkpoint, run)
        scratch.recall(checkpoint, run)
    else:
        method.fit(train, run)
        scratch.save(checkpoint, method, run)


def predict_part(
    method: Method,
    test: TestData,
    dataset: Dataset,
    device: torch.device,
    cell: dict[str, Any],
    phases: Phases,
    evaluator: Evaluator,
    keeper: Keeper,
    progress: Callable[[int, int, str], None],
) -> None:
    """Feed all test images of a part, grouped by class, to the method and its answers to the evaluator."""
    done = 0
    for batch in test.batches(cell["batch_size"]):
        with phases("model"), torch.inference_mode():
            prediction = method.predict(batch.image.to(device))
            maps, scores = prediction.anomaly_map.float().cpu(), prediction.score.float().cpu()
        maps = at_evaluation_size(maps, batch.image, evaluation_size(cell))
        evaluate_batch(evaluator, dataset, batch, maps, scores)
        keeper.keep(batch, maps, scores, prediction.reconstruction)
        done += len(scores)
        progress(done, len(test), "predict")


def attempt_notes(cell: dict[str, Any]) -> list[str]:
    """Say when the cell had to be tried again with a smaller batch."""
    if cell.get("attempt", 1) == 1:
        return []
    return [f"second try with {cell['batch_size']} test images a batch, the first was out of memory"]
