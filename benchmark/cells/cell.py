"""One cell, from samples to saved results. Start reading here.

A cell is one method on one dataset in one setting with one seed. It runs in a process of its own
(:mod:`diadbench.benchmark.cells.worker`), reads ``cell.yaml``, and leaves everything else in the cell's directory.
"""

from __future__ import annotations

import contextlib
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from diadbench import datasets, methods
from diadbench.benchmark.cells.determinism import gpu_notes, set_tf32, settings_notes
from diadbench.benchmark.cells.fitting import fit_or_load, tell
from diadbench.benchmark.cells.keep import Keeper
from diadbench.benchmark.cells.loggers import make_loggers
from diadbench.benchmark.cells.predicting import PartScorer
from diadbench.benchmark.cells.provenance import environment, pick_device, seed_everything
from diadbench.benchmark.cells.scoring.batch_by_memory import batch_for
from diadbench.benchmark.cells.scoring.calibrating import Calibration, calibrated_on, save_normal
from diadbench.benchmark.cells.scoring.evaluating import make_evaluator
from diadbench.benchmark.cells.scoring.evaluation_size import evaluation_size, size_notes
from diadbench.benchmark.cells.scratch import Scratch
from diadbench.benchmark.metrics import get_protocol
from diadbench.common.files import cache_dir, write_with
from diadbench.common.plugins import apart_of
from diadbench.common.wording import counted
from diadbench.datasets.decoding.data_module import DataModule
from diadbench.datasets.decoding.train_subset import TrainSubset
from diadbench.methods.base import Method, RunContext
from diadbench.methods.features.origin import add

if TYPE_CHECKING:
    from collections.abc import Callable

    from diadbench.benchmark.records.store import CellRecord
    from diadbench.datasets.base import Dataset, Part
    from diadbench.datasets.decoding.data import TrainData
    from diadbench.datasets.decoding.masks import MaskRule

#: File of a cell that names the images it was trained on, where these aren't all.
TRAIN_IMAGES = "train_images.csv"


def run_cell(record: CellRecord, progress: Callable[[int, int, str], None]) -> dict[str, Any]:
    """Run one cell and save its results; return what ``status.json`` says of it besides its state.

    Args:
        record: The cell's directory, with ``cell.yaml`` in it.
        progress: Called as ``progress(done, total, what)``.

    Raises:
        UserError: The input is wrong. Skip: the method can't run here. Anything else: the method failed.
    """
    cell = record.config
    scratch = Scratch(record.directory, identity=cell["identity"], config=cell)
    phases = scratch.phases()
    protocol = get_protocol(cell["protocol"])
    device, tf32 = pick_device(cell["device"]), cell.get("tf32", True)
    set_tf32(tf32)

    with phases("prepare"):
        dataset = datasets.get(cell["dataset"], cell["root"], **cell["dataset_options"])
        with contextlib.suppress(OSError):  # a full disk is told where a result is saved
            print(
                f"dataset {cell['dataset_label']}: {counted(len(dataset.samples), 'sample')}, {dataset.source}",
                flush=True,
            )
        data = open_data(dataset, cell, protocol.mask_rule, progress)

    evaluator = make_evaluator(dataset, protocol, record.directory / "spill", thresholds=cell.get("thresholds", True))
    size = evaluation_size(cell)
    keeper = Keeper(
        record.directory,
        dataset,
        keep_maps=cell["keep_maps"],
        size=size,
        resize=cell["resize"],
        resumed=scratch.resumed,
        depth=data.bit_depth,
    )
    chosen = keep_train_images(record.directory, data, cell)
    notes: list[str] = [*dataset.flags, *chosen, *data.notes, *size_notes(cell, protocol), *attempt_notes(cell)]
    notes += gpu_notes(cell["method"], device, tf32=tf32)
    extras: dict[str, Any] = {}
    parameters: int | None = None

    for part in dataset.parts(cell["setting"]):
        train, test = data.part(part)
        run = settings_for(part, train, cell, device, scratch, progress)
        scored, checkpoint = scratch.predictions(part.name), scratch.checkpoint(part.name)
        scorer = PartScorer(cell, dataset, test, run, scored, phases, evaluator, keeper)
        again = checkpoint.is_dir()
        whole = again and scorer.is_whole()
        with phases("fit"):
            method = None if whole else fit_or_load(partial(make, cell), train, run, checkpoint, scratch, scored)
        scorer.announce(method)
        with phases("calibrate"):
            scorer.batch_size = batch_for(method, cell, test, run)
            normal = Calibration(cell, dataset, train, run, evaluator, scorer.batch_size)
            normal.calibrate(method, again=again)
        phases.keep()
        with phases("predict"):
            scorer.restore()
            if method is None:
                scratch.recall(checkpoint, run)
                tell(scored, run)
            else:
                scorer.predict(method)
        if method is not None:
            add(run.notes, settings_notes(apart_of(type(method)).changed, run.threads))
        notes += [note for note in run.notes if note not in notes]
        extras[part.name] = run.extras
        parameters = (method.parameters_count() if method else scored.said.get("parameters")) or parameters

    with phases("evaluate"):
        progress(0, 1, "evaluate")
        evaluation = evaluator.compute()
        keeper.save(evaluation)
        save_normal(record.directory, {place: evaluator.normal(place) for place in range(len(dataset.classes))})
        progress(1, 1, "evaluate")

    return {
        "protocol": protocol.name,
        "protocol_text": protocol.describe(size),
        "evaluation_size": list(size),
        "kept_maps": keeper.kept,
        "thresholds_from": calibrated_on(dataset) if evaluator.needs_normal else "",
        "identity": cell["identity"],
        "fingerprint": data.fingerprint,
        "n_train": data.n_train,
        "n_test": data.n_test,
        "bit_depth": data.bit_depth,
        "vanished_masks": data.vanished if dataset.info.has_masks else {},
        "empty_masks": data.empty_masks if dataset.info.has_masks else {},
        "phases": phases.seconds,
        "images_per_second": phases.rate("model"),
        "resumed": scratch.resumed,
        "parameters": parameters,
        "notes": notes,
        "data_notes": list(data.notes),
        "extras": extras if len(extras) > 1 else next(iter(extras.values()), {}),
        "environment": environment(device),
    }


def make(cell: dict[str, Any]) -> Method:
    """Return the cell's method, not fitted."""
    method: Method = methods.get_class(cell["method"])(**cell["method_options"])
    return method


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
        subset=TrainSubset.read(cell.get("train_subset")),
    )
    data.prepare()
    return data


def keep_train_images(directory: Path, data: DataModule, cell: dict[str, Any]) -> list[str]:
    """Write ``train_images.csv`` where a cell isn't trained on all training images; return what a table must say."""
    subset = TrainSubset.read(cell.get("train_subset"))
    if subset is None:
        return []
    train = data.used[data.used["split"] == "train"][["image", "class", "label"]]
    write_with(directory / TRAIN_IMAGES, lambda name: train.to_csv(name, index=False))
    return subset.notes(data.samples)


def settings_for(
    part: Part, train: TrainData, cell: dict[str, Any], device: torch.device, scratch: Scratch, progress: Any
) -> RunContext:
    """Seed everything and return the run's settings as the method sees them. Each part starts from the same seed."""
    seed_everything(cell["seed"], cell["method"], tf32=cell.get("tf32", True))
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
        split=2 ** (cell.get("attempt", 1) - 1),
        progress=progress,
        logger=make_loggers(cell, part.name, directory),
    )


def attempt_notes(cell: dict[str, Any]) -> list[str]:
    """Say when the cell had to be tried again with a smaller batch."""
    if cell.get("attempt", 1) == 1:
        return []
    return [f"second try with {cell['batch_size']} test images a batch, the first was out of memory"]
