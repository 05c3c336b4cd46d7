"""Score the models of finished cells under other options of prediction, without training them again.

A method says which of its options only prediction reads (``MethodInfo.predicting``). Cells that differ in these alone
have the same trained model, bit for bit, so one training serves them all.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

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
from diadbench.common.wording import some
from diadbench.methods.base import no_progress

if TYPE_CHECKING:
    from diadbench.benchmark.planning.planned import PlannedCell

#: What cells must share to be scored in turn.
ALIKE = (
    "fingerprint",
    "setting",
    "protocol",
    "image_size",
    "evaluation_size",
    "resize",
    "batch_size",
    "device",
    "tf32",
)


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
    variants: Mapping[str, tuple[CellRecord, Mapping[str, Any]]],
    progress: Callable[[int, int, str], None] = no_progress,
) -> dict[str, Variant]:
    """Score the same test images with trained models under options of prediction, batch by batch in turn.

    The metrics of a variant are those of a cell that was trained with its options. Nothing is written but spilled
    maps, which are removed. The models of all variants are in memory at once.

    Args:
        variants: By the variant's name a finished cell with its checkpoint and one model, and all options of its
            method; only options of prediction differ from the cell's. The cells have the same data, sizes and protocol.
        progress: Called as ``progress(done, total, what)``.

    Raises:
        UserError: A cell isn't finished, has no model or several, its code or data have changed, a variant differs in
            an option that decides the training, or the cells were not tested alike. Skip: a method can't run here.
    """
    records = [record for record, _ in variants.values()]
    first, cell = records[0], records[0].config
    _refuse_unlike(records)
    for name, (record, options) in variants.items():
        _refuse_training(record, name, options)
    protocol, device = get_protocol(cell["protocol"]), pick_device(cell["device"])
    dataset = datasets.get(cell["dataset"], cell["root"], **cell["dataset_options"])
    data = open_data(dataset, cell, protocol.mask_rule, progress)
    if data.fingerprint != first.status["fingerprint"]:
        raise UserError(f"the data at {cell['root']} are not those that {first.directory} was run on; run it again")
    torch.set_num_threads(cell.get("threads") or torch.get_num_threads())
    loaded = {
        name: load_model(record, kept_model(record.directory), options) for name, (record, options) in variants.items()
    }
    (part,) = dataset.parts(cell["setting"])
    with tempfile.TemporaryDirectory(dir=first.directory, prefix="spill-") as spill:
        turns = score_in_turn(
            {name: method for name, (method, _, _) in loaded.items()},
            dataset,
            data.part(part)[1],
            protocol,
            Path(spill),
            device=device,
            batch_size=cell["batch_size"],
            size=evaluation_size(cell),
            progress=progress,
        )
    return {name: Variant(_means(turn.evaluation), turn.seconds, loaded[name][1].notes) for name, turn in turns.items()}


def _refuse_unlike(records: Sequence[CellRecord]) -> None:
    for record in records:
        if record.state != "done":
            raise UserError(f"{record.directory}: expected a cell that is done; it is {record.state}")
        for key in ALIKE:
            if record.config.get(key) != records[0].config.get(key):
                raise UserError(
                    f"{record.directory}: {key} is {record.config.get(key)}, that of {records[0].directory} "
                    f"{records[0].config.get(key)}; only cells that were tested alike are scored in turn"
                )


def _refuse_training(record: CellRecord, name: str, options: Mapping[str, Any]) -> None:
    info = asdict(method_of(record)[0].info)  # of today: a cell may be older than what its method says of itself
    own, asked = (_training_options(each, info) for each in (record.config["method_options"], options))
    differ = [key for key in {**own, **asked} if own.get(key) != asked.get(key)]
    if differ:
        raise UserError(
            f"variant {name}: not the {some(differ)} that {record.directory} was trained with; only options of "
            f"prediction may differ ({some(info['predicting']) or 'this method names none'}): train a cell of its "
            "own"
        )


def _means(evaluation: Evaluation) -> dict[str, float]:
    mean = evaluation.mean().set_index("metric")["value"]
    return {str(name): float(value) for name, value in mean.items()}


def by_training(cells: Iterable[PlannedCell]) -> dict[str, list[PlannedCell]]:
    """Group planned cells by their trained model; the first of each group is the one to train."""
    found: dict[str, list[PlannedCell]] = {}
    for planned in cells:
        found.setdefault(training_identity(planned.config), []).append(planned)
    return found
