"""Score the model of a finished cell under other options of prediction, without training it again.

A method says which of its options only prediction reads (``MethodInfo.predicting``). Cells that differ in these alone
have the same trained model, bit for bit, so one training serves them all.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import torch

from diadbench import datasets
from diadbench.benchmark.cells.cell import open_data
from diadbench.benchmark.cells.provenance import pick_device
from diadbench.benchmark.cells.scoring.evaluation_size import evaluation_size
from diadbench.benchmark.cells.scoring.in_turn import score_in_turn
from diadbench.benchmark.cells.scratch import kept_model
from diadbench.benchmark.metrics import Evaluation, get_protocol
from diadbench.benchmark.records.identity import deciding_options, digest
from diadbench.benchmark.records.store import CellRecord
from diadbench.benchmark.reuse.cell_code import load_model, method_of
from diadbench.common.errors import UserError
from diadbench.methods.base import no_progress


@dataclass(frozen=True)
class Variant:
    """The result of a trained model under one set of options.

    Attributes:
        metrics: Means over classes, by the metric's key, in [0,1].
        seconds: The method's own time for one image: CPU seconds on a CPU, wall seconds on a GPU.
        notes: What the method says of these options.
    """

    metrics: dict[str, float]
    seconds: float
    notes: list[str] = field(default_factory=list)


def training_identity(config: Mapping[str, Any]) -> str:
    """Return the digest of what decides a cell's trained model: its identity without what only prediction reads.

    Args:
        config: A cell's configuration (``cell.yaml``).
    """
    decides = {key: value for key, value in config["decides"].items() if key != "evaluation_size"}
    decides["method_options"] = _training_options(decides["method_options"], config["method_info"])
    return digest({**decides, "seed": config["seed"]})


def _training_options(options: Mapping[str, Any], info: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options that decide a trained model."""
    predicting = info.get("predicting", ())
    return {name: value for name, value in deciding_options(options, info).items() if name not in predicting}


def score_variants(
    record: CellRecord,
    variants: Mapping[str, Mapping[str, Any]],
    progress: Callable[[int, int, str], None] = no_progress,
) -> dict[str, Variant]:
    """Score a finished cell's test images under each set of options, batch by batch in turn.

    The metrics of a variant are those of a cell that was trained with its options. Nothing is written but spilled
    maps, which are removed. The models of all variants are in memory at once.

    Args:
        record: A finished cell with its checkpoint and one model.
        variants: All options of the method, by the variant's name; only options of prediction differ from the cell's.
        progress: Called as ``progress(done, total, what)``.

    Raises:
        UserError: The cell isn't finished, has no model or several, its code or data have changed, or a variant differs
            in an option that decides the training.
    """
    cell = record.config
    if record.state != "done":
        raise UserError(f"{record.directory}: expected a cell that is done; it is {record.state}")
    for name, options in variants.items():
        _refuse_training(record, name, options)
    kept = kept_model(record.directory)
    protocol, device = get_protocol(cell["protocol"]), pick_device(cell["device"])
    dataset = datasets.get(cell["dataset"], cell["root"], **cell["dataset_options"])
    data = open_data(dataset, cell, protocol.mask_rule, progress)
    if data.fingerprint != record.status["fingerprint"]:
        raise UserError(f"the data at {cell['root']} are not those that {record.directory} was run on; run it again")
    (part,) = dataset.parts(cell["setting"])
    _, test = data.part(part)
    torch.set_num_threads(cell.get("threads") or torch.get_num_threads())
    loaded = {name: load_model(record, kept, options) for name, options in variants.items()}
    spill = record.directory / "spill"
    try:
        turns = score_in_turn(
            {name: method for name, (method, _, _) in loaded.items()},
            dataset,
            test,
            protocol,
            spill,
            device=device,
            batch_size=cell["batch_size"],
            size=evaluation_size(cell),
            progress=progress,
        )
    finally:
        shutil.rmtree(spill, ignore_errors=True)
    return {name: Variant(_means(turn.evaluation), turn.seconds, loaded[name][1].notes) for name, turn in turns.items()}


def _refuse_training(record: CellRecord, name: str, options: Mapping[str, Any]) -> None:
    info = asdict(method_of(record)[0].info)  # of today: a cell may be older than what its method says of itself
    own, asked = (_training_options(each, info) for each in (record.config["method_options"], options))
    differ = [key for key in {**own, **asked} if own.get(key) != asked.get(key)]
    if differ:
        raise UserError(
            f"variant {name}: not the {', '.join(differ)} that {record.directory} was trained with; only options of "
            f"prediction may differ ({', '.join(info['predicting']) or 'this method names none'}): train a cell of its "
            "own"
        )


def _means(evaluation: Evaluation) -> dict[str, float]:
    mean = evaluation.mean().set_index("metric")["value"]
    return {str(name): float(value) for name, value in mean.items()}
