"""Compute metrics of finished cells again from kept maps, without running any model.

Each class of each cell is a separate task. Tasks are distributed over the cores, each reads its maps batch by
batch, and results are kept, so that a killed evaluation resumes with the next class.
"""

from __future__ import annotations

import math
import os
import shutil
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import pandas as pd
import torch
import yaml

from diadbench import datasets
from diadbench.benchmark.cells.cell import open_data
from diadbench.benchmark.cells.keep import save_metrics, save_scores
from diadbench.benchmark.cells.scoring.calibrating import load_normal
from diadbench.benchmark.cells.scoring.evaluating import make_evaluator
from diadbench.benchmark.cells.scoring.evaluation_size import evaluation_size, size_notes
from diadbench.benchmark.metrics import Evaluation, Evaluator, Protocol, get_protocol
from diadbench.benchmark.metrics.class_result import ClassResult
from diadbench.benchmark.metrics.decisions.normal_scores import NormalSummary, no_normal
from diadbench.benchmark.records.own_files import read_scores
from diadbench.benchmark.records.store import CellRecord, RunDirectory
from diadbench.benchmark.reuse.class_results import ClassResults
from diadbench.benchmark.reuse.kept_maps import KeptMaps, updates
from diadbench.common.errors import UserError
from diadbench.common.files import write_json, write_text
from diadbench.common.processes.freed import give_back
from diadbench.datasets.base import Dataset, Part
from diadbench.datasets.decoding.data_module import DataModule

#: Bytes of maps that the evaluator of a class keeps in memory: a process a core computes one, and the maps lie on disk.
MEMORY = 32 << 20
#: Mapped files count as a process's memory for loky, which would end a process as leaking after its first large class.
_NO_LEAK = {"LOKY_MAX_MEMORY_LEAK_SIZE": "1e15"}
#: Sums over the same scores in another order differ by less than this.
ROUNDING = 1e-13
ProgressCall = Callable[[int, int, str], None]


def evaluate_run(run: Path, protocol: str, out: Path | None, progress: ProgressCall) -> tuple[RunDirectory, list[str]]:
    """Evaluate every finished cell of a run under another protocol, into a run directory of its own.

    The new directory holds metrics, scores and curves, marked with the new protocol; reports read it like any
    other. Maps, models and pictures stay where they are. Results that an earlier, killed call has finished there for
    the same cells or classes are not computed again.

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
    is_new = not target.path.exists()
    _check_target(target, source, protocol)
    write_text(target.path / "grid.yaml", yaml.safe_dump({**source.grid, "protocol": protocol}, sort_keys=False))
    write_json(target.path / "environment.json", source.environment)
    done = [cell for cell in source.cells() if cell.state == "done"]
    left_out = _evaluate([Task(cell.directory, target.path, protocol) for cell in done], progress)
    if len(left_out) == len(done):
        if is_new:
            shutil.rmtree(target.path)
        raise UserError(left_out[0] if left_out else f"{run}: no cell is done; nothing to evaluate")
    target.write_results()
    return target, left_out


def _check_target(target: RunDirectory, source: RunDirectory, protocol: str) -> None:
    """Refuse a directory that holds something else than an earlier evaluation of this run. Raises UserError."""
    if (target.path / "plan.json").is_file():
        raise UserError(f"{target.path}: a run, which would be overwritten; choose another directory with --out")
    if (target.path / "grid.yaml").is_file():
        here, wanted = target.grid, {"name": source.grid.get("name"), "protocol": protocol}
        if {key: here.get(key) for key in wanted} != wanted:
            what = f"{here.get('name')} by {here.get('protocol')}"
            raise UserError(f"{target.path}: holds an evaluation of {what}; choose another directory with --out")


@dataclass(frozen=True)
class Task:
    """A cell to evaluate: its directory, the run directory of the result, and the protocol's name."""

    cell: Path
    target: Path
    protocol: str

    @property
    def source(self) -> CellRecord:
        """Return the record of the cell."""
        return CellRecord(self.cell)

    @property
    def record(self) -> CellRecord:
        """Return the record of the result."""
        cell = self.source
        return RunDirectory(self.target, must_exist=False).cell(cell.dataset, cell.method, cell.setting, cell.seed)

    @property
    def made_from(self) -> dict[str, Any]:
        """Return the source of the result. A result with an equal source needn't be computed again."""
        status = self.source.status
        return {"identity": status.get("identity"), "finished": status.get("finished"), "protocol": self.protocol}

    def __str__(self) -> str:
        cell = self.source
        return f"{cell.dataset} / {cell.method} / {cell.setting} / seed {cell.seed}"


def _evaluate(tasks: Sequence[Task], progress: ProgressCall) -> list[str]:
    """Evaluate cells; return a line for each that couldn't be evaluated."""
    left_out: dict[Task, str] = {}
    pieces: list[tuple[Task, str]] = []
    open_cells: dict[Task, set[str]] = {}
    for task in tasks:
        if task.record.state == "done" and task.record.status.get("evaluated_from") == task.made_from:
            continue
        try:
            names = checked_classes(task)
        except UserError as error:
            left_out[task] = str(error)
            continue
        open_cells[task] = set(names)
        pieces += [(task, name) for name in names]
    for done, (task, name, why) in enumerate(_computed(pieces)):
        progress(done, len(pieces), f"{task}: {name}")
        open_cells[task].discard(name)
        if why:
            left_out.setdefault(task, why)
        elif not open_cells[task] and task not in left_out:
            finish_cell(task)
    return [f"{task}: {left_out[task]}" for task in tasks if task in left_out]


def _computed(pieces: Sequence[tuple[Task, str]]) -> Iterator[tuple[Task, str, str]]:
    """Compute the classes on all cores; yield each when it ends, with the reason if it couldn't be computed."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    count = min(cores, len(pieces))
    if count < 2:
        yield from ((*piece, compute_class(*piece)) for piece in pieces)
        return
    from loky import ProcessPoolExecutor

    pool = ProcessPoolExecutor(count, initializer=_begin, env=_NO_LEAK)
    try:
        asked = {pool.submit(compute_class, *piece): piece for piece in pieces}
        for future in as_completed(asked):
            try:
                yield (*asked[future], future.result())
            except BrokenProcessPool:  # A process was killed, perhaps for its memory: try once more, alone.
                yield (*asked[future], compute_class(*asked[future]))
    finally:
        pool.shutdown(wait=True, kill_workers=True)


def _begin() -> None:
    """Initialise a process. Ctrl-C reaches all processes of the terminal: the main one handles it and ends the rest."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(1)


def checked_classes(task: Task) -> list[str]:
    """Return the classes that a cell was tested on. Raises UserError if maps are missing or the data have changed."""
    dataset, data = _opened(task)
    cell = task.source
    if data.fingerprint != cell.status["fingerprint"]:
        raise UserError(f"the data at {cell.config['root']} are not those that the cell was run on; run it again")
    if dataset.info.has_masks and not list((cell.directory / "maps").glob("*.npy")):
        raise UserError("no maps were kept; run the grid with keep_maps=float16 or float32")
    parts = dataset.parts(cell.config["setting"])
    return list(dict.fromkeys(name for part in parts for name in part.classes))


@lru_cache(maxsize=2)
def _opened(task: Task) -> tuple[Dataset, DataModule]:
    config = task.source.config
    dataset = datasets.get(config["dataset"], config["root"], **config["dataset_options"])
    return dataset, open_data(dataset, config, get_protocol(task.protocol).mask_rule, lambda done, total, what: None)


def compute_class(task: Task, name: str) -> str:
    """Compute the metrics of one class, unless an earlier call kept them; return why it can't be done, or ``""``.

    Memory is bounded, because the evaluator writes maps to disk and kept maps are read by batch.
    """
    results = ClassResults(task.record.directory, task.made_from)
    if results.has(name):
        return ""
    try:
        results.save(name, _result(task, name))
    except UserError as error:
        return str(error)
    give_back()
    return ""


def _result(task: Task, name: str) -> ClassResult:
    dataset, data = _opened(task)
    cell, position = task.source, dataset.classes.index(name)
    spill = task.record.directory / "spill" / str(position)
    evaluator = _evaluator(task, spill)
    scores = read_scores(cell.directory).set_index("index")
    kept = KeptMaps(cell.directory, dataset.classes, dataset.samples)
    _, test = data.part(Part(name, (name,)))
    for update in updates(test, kept, scores, dataset.samples, dataset.classes):
        evaluator.update(**update)
    found = evaluator.close(position)
    shutil.rmtree(spill, ignore_errors=True)
    return found


def _evaluator(task: Task, spill: Path) -> Evaluator:
    """Return an evaluator of all classes with the cell's normal images."""
    dataset, _ = _opened(task)
    protocol = get_protocol(task.protocol)
    thresholds = task.source.config.get("thresholds", True)
    evaluator = make_evaluator(dataset, protocol, spill, thresholds=thresholds, memory=MEMORY)
    for place, summary in normal_again(task.source, protocol, len(dataset.classes)).items():
        evaluator.set_normal(place, summary)
    return evaluator


def finish_cell(task: Task) -> None:
    """Write a cell's result from those of its classes; ``status.json`` last."""
    dataset, data = _opened(task)
    cell, record, protocol = task.source, task.record, get_protocol(task.protocol)
    config = {**cell.config, "protocol": task.protocol}
    (record.directory / "status.json").unlink(missing_ok=True)  # left by an earlier result, which is replaced
    results = ClassResults(record.directory, task.made_from)
    evaluator = _evaluator(task, record.directory / "spill")
    for name in checked_classes(task):
        evaluator.restore(dataset.classes.index(name), results.read(name))
    evaluation = evaluator.compute()
    scores = read_scores(cell.directory)
    kept = KeptMaps(cell.directory, dataset.classes, dataset.samples)
    # The protocol's rule for masks may change the notes on the data.
    before = [*size_notes(config, get_protocol(cell.config["protocol"])), *cell.status.get("data_notes", [])]
    notes = [note for note in cell.status["notes"] if note not in before]
    notes += [*data.notes, *size_notes(config, protocol), *kept.notes(), *_difference(cell, task.protocol, evaluation)]
    text = protocol.describe(evaluation_size(config))
    said = {"notes": list(dict.fromkeys(notes)), "data_notes": list(data.notes), "protocol_text": text}
    _write(record, cell, config, evaluation, scores, {**said, "evaluated_from": task.made_from})
    results.clear()
    shutil.rmtree(record.directory / "spill", ignore_errors=True)


def normal_again(cell: CellRecord, protocol: Protocol, classes: int) -> dict[int, NormalSummary]:
    """Return a cell's normal images for another evaluation; none if that compares maps and scores in another way.

    Only counts of their pixels are kept, not their maps.
    """
    found = load_normal(cell.directory)
    own = get_protocol(cell.config["protocol"])
    if found and own.comparison != protocol.comparison:
        reason = f"normal images were scored under protocol {own.name} alone: run the grid under {protocol.name}"
        return {place: replace(no_normal(), reason=reason) for place in range(classes)}
    return found


def _difference(cell: CellRecord, protocol: str, evaluation: Evaluation) -> list[str]:
    """Return how far the figures differ from the cell's own, if both are of one protocol."""
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
    save_scores(record.directory, scores, evaluation)
    for name in ("gallery", "history.csv"):
        source = cell.directory / name
        if source.is_dir():
            shutil.copytree(source, record.directory / name, dirs_exist_ok=True)
        elif source.is_file():
            shutil.copy2(source, record.directory / name)
    record.write_status(**{**cell.status, "protocol": config["protocol"], **said, "kept_maps": {}})
