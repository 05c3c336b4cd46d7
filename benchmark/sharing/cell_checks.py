"""Whether what a cell says of itself holds together: its identity, configuration, labels, end, notes and files."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

import torch

from diadbench.benchmark.cells.cell import attempt_notes
from diadbench.benchmark.cells.determinism import gpu_notes
from diadbench.benchmark.cells.keep import map_file
from diadbench.benchmark.cells.scoring.evaluation_size import evaluation_size, size_notes
from diadbench.benchmark.metrics.protocols import PROTOCOLS, get_protocol
from diadbench.benchmark.records.identity import CONTENT, deciding_options, digest
from diadbench.benchmark.records.store import CellRecord, RunDirectory, lasted
from diadbench.benchmark.reuse.cell_code import changed_code
from diadbench.benchmark.sharing.verify_findings import Finding
from diadbench.common.errors import UserError
from diadbench.methods.features.origin import kept
from diadbench.version import __version__

#: What every finished cell has.
FILES = ("cell.yaml", "metrics.csv", "scores.parquet", "curves.npz", "decisions.csv", "pooled.csv", "normal.npz")
#: What stands in ``decides`` and in ``cell.yaml`` under one name.
_BOTH = ("setting", "image_size", "resize", "evaluation_size", "batch_size", "threads", "tf32", "fingerprint")
_Found = Iterator[tuple[str, str]]


def check_cell(record: CellRecord, run: RunDirectory) -> Iterator[Finding]:
    """Yield what is wrong with a cell beside its figures."""
    name = told(record)
    for check in _CHECKS:
        try:
            yield from (Finding(kind, text, name) for kind, text in check(record, run))
        except (KeyError, TypeError, ValueError, AttributeError, UserError) as error:
            what = check.__name__.removeprefix("_")
            yield Finding(what, f"can't be checked, for the cell's files hold something else ({error!r})", name)


def told(record: CellRecord) -> str:
    """Return a cell's labels as text."""
    return f"{record.dataset} / {record.method} / {record.setting} / seed {record.seed}"


def _identity(record: CellRecord, run: RunDirectory) -> _Found:
    status, config = record.status, record.config
    decides = status.get("decides") or {}
    if not decides:
        yield "identity", "status.json doesn't say what decides the result"
        return
    configuration, identity = digest(decides), digest({**decides, "seed": record.seed})
    for where, values in (("status.json", status), ("cell.yaml", config)):
        if values.get("configuration") != configuration:
            yield "configuration", f"{where} says {values.get('configuration')}, what decides gives {configuration}"
        if values.get("identity") != identity:
            yield "identity", f"{where} says {values.get('identity')}, what decides and the seed give {identity}"
    if config.get("decides") != decides:
        yield "identity", "cell.yaml and status.json differ in what decides the result"


def _options(record: CellRecord, run: RunDirectory) -> _Found:
    """Compare what was run with what decides: an option that names a file is known by its content alone."""
    config, decides = record.config, record.status["decides"]
    for key in _BOTH:
        if key in decides and config.get(key) != decides[key]:
            kind = "fingerprint" if key == "fingerprint" else "configuration"
            yield kind, f"cell.yaml has {key} {config.get(key)}, what decides has {decides[key]}"
    given = deciding_options(config["method_options"], config["method_info"])
    known = {key: value for key, value in decides["method_options"].items() if CONTENT not in str(value)}
    for key in dict.fromkeys([*known, *given]):
        if key not in decides["method_options"] or (key in known and given.get(key) != known[key]):
            yield "options", f"cell.yaml has {key}: {given.get(key)!r}, what decides has {known.get(key)!r}"
    for key in ("method_info", "dataset_info"):
        if record.state == "done" and record.status.get(key) != config.get(key):
            yield "labels", f"cell.yaml and status.json differ in {key}"
    said = record.status.get("fingerprint")
    if record.state == "done" and said != decides.get("fingerprint"):
        yield "fingerprint", f"status.json says {said}, what decides has {decides.get('fingerprint')}"


def _labels(record: CellRecord, run: RunDirectory) -> _Found:
    own = {"dataset_label": record.dataset, "method_label": record.method, "setting": record.setting}
    for key, label in own.items():
        if record.config.get(key) != label:
            yield "labels", f"it lies where {label} lies, cell.yaml has {key} {record.config.get(key)}"
    if record.config.get("seed") != record.seed:
        yield "seed", f"it lies at seed {record.seed}, cell.yaml has seed {record.config.get('seed')}"


def _protocol(record: CellRecord, run: RunDirectory) -> _Found:
    said = record.status.get("protocol")
    others = {"cell.yaml": record.config.get("protocol"), "grid.yaml": run.grid.get("protocol")}
    if record.wanted is not None:
        others["plan.json"] = record.wanted.protocol
    for where, name in others.items():
        if name != said:
            yield "protocol", f"status.json says {said}, {where} has {name}"
    if str(said).partition("+")[0] not in PROTOCOLS:
        yield "protocol", f"{said} is unknown here"
        return
    version = (record.status.get("environment") or {}).get("diadbench")
    text = get_protocol(str(said)).describe(evaluation_size(record.config))
    if record.state == "done" and version == __version__ and record.status.get("protocol_text") != text:
        yield "protocol", f"its text in status.json isn't that of {said}"


def _end(record: CellRecord, run: RunDirectory) -> _Found:
    status = record.status
    if record.state == "done":
        if not status.get("started") or not status.get("finished"):
            yield "status", "it is done, but doesn't say from when to when it ran"
        elif lasted(status["started"], status["finished"]) is None:
            yield "status", "it says that it ended before it began, as where the clock was set back meanwhile"
        if status.get("reason"):
            yield "status", f"it is done, but has a reason: {status['reason']}"
    elif record.state == "stale":
        yield "status", str(status.get("reason"))
    elif (record.directory / "metrics.csv").is_file():
        yield "status", f"it says {record.state}, but has metrics.csv"


def _files(record: CellRecord, run: RunDirectory) -> _Found:
    if not (record.directory / "status.json").is_file():
        yield "file", "status.json isn't there"
    if record.state != "done" and record.state != "killed":
        return
    for name in FILES:
        if not (record.directory / name).is_file():
            yield "file", f"{name} isn't there"
    if record.status.get("kept_maps"):
        classes = dict.fromkeys(row["class"] for row in record.metrics() if row["scope"] == "class")
        for place, label in enumerate(classes):
            if not map_file(record.directory, place).is_file():
                yield "file", f"the kept maps of {label} aren't there"


def _notes(record: CellRecord, run: RunDirectory) -> _Found:
    """Name the notes that must stand beside the figures, as far as the cell's other files tell them."""
    if record.state != "done":
        return
    status, config = record.status, record.config
    device = torch.device(str((status.get("environment") or {}).get("device", "cpu")))
    needed = [*config["dataset_info"].get("flags", []), *status.get("data_notes", [])]
    needed += size_notes(config, get_protocol(config["protocol"]))
    needed += gpu_notes(config["method"], device, tf32=config.get("tf32", True))
    needed += attempt_notes({**config, "attempt": status.get("attempt", 1)})
    for part in sorted((record.directory / "checkpoint").glob("*/run.json")):
        needed += kept(part.parent).notes
    for note in dict.fromkeys(needed):
        if note not in status.get("notes", []):
            yield "notes", f"the note {note!r} isn't there"


def _code(record: CellRecord, run: RunDirectory) -> _Found:
    """Compare the code that came with the run; it is read, not executed."""
    name = str(record.config["method"])
    if ".py:" in name and not os.path.isabs(name):
        yield "code", f"{name.rpartition(':')[0]}, the code of its method, isn't in the run"
    if ".py:" in name and name.startswith(str(run.path.absolute())):
        changed = changed_code(record, name)
        if changed:
            yield "code", f"the code of {', '.join(changed)} in the run isn't what the result was made with"


_CHECKS: tuple[Callable[[CellRecord, RunDirectory], _Found], ...] = (
    _files,
    _labels,
    _identity,
    _options,
    _protocol,
    _end,
    _notes,
    _code,
)
