"""The files of one cell on disk: its configuration, its state, its figures and curves.

This module imports neither torch nor pandas at the top, so that ``status`` answers at once.
"""

from __future__ import annotations

import csv
import os
import urllib.parse
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock

from diadbench.benchmark.metrics.names import CURVES
from diadbench.benchmark.metrics.protocols import get_protocol
from diadbench.benchmark.records.experiment import configuration, decided
from diadbench.benchmark.records.identity import Wanted, difference, is_wanted, older_note
from diadbench.benchmark.records.own_files import load_yaml, own_file
from diadbench.common.errors import unknown_name
from diadbench.common.files import read_json, write_json
from diadbench.common.processes.held import LOOKED_AT, is_held

if TYPE_CHECKING:
    import numpy as np

#: States of a cell that has ended. ``done`` has results; ``killed`` and no state at all mean unfinished.
ENDED = ("done", "error", "oom", "timeout", "skipped")
FAILED = ("error", "oom", "timeout", "killed")
#: Files of a cell that belong to one result and are removed together.
RESULTS = (
    "status.json",
    "metrics.csv",
    "scores.parquet",
    "curves.npz",
    "history.csv",
    "progress.json",
    "decisions.csv",
    "pooled.csv",
    "normal.npz",
)

_DAMAGED = "its status.json is damaged; the same command makes the cell again"

#: Types of what a status says, so that a file that was edited or damaged is known when it is read.
_KINDS: dict[str, tuple[type, ...]] = {
    "state": (str,),
    "reason": (str, type(None)),
    "notes": (list,),
    **dict.fromkeys(("started", "finished"), (float, int, type(None))),
    **dict.fromkeys(
        ("phases", "environment", "peak_memory", "decides", "method_info", "dataset_info"), (dict, type(None))
    ),
    **dict.fromkeys(("identity", "configuration", "protocol", "fingerprint", "traceback"), (str, type(None))),
}


def _is_status(found: object) -> bool:
    """Whether a value is what a cell writes as its ``status.json``. Earlier versions left keys out."""
    if not isinstance(found, dict) or "state" not in found:
        return False
    texts = all(isinstance(note, str) for note in found.get("notes") or [])
    return texts and all(isinstance(found[key], kinds) for key, kinds in _KINDS.items() if key in found)


def lasted(started: float | None, finished: float | None) -> float | None:
    """Return the seconds between two times of a clock; ``None`` if one is missing, or the clock was set back."""
    seconds = None if started is None or finished is None else finished - started
    return None if seconds is None or seconds < 0 else seconds


def cell_path(dataset: str, method: str, setting: str, seed: int) -> Path:
    """Return the directory of a cell below ``cells/``. Labels are any text; invalid characters are escaped."""
    return Path(cell_place(dataset, method, setting, seed))


def cell_place(dataset: str, method: str, setting: str, seed: int) -> str:
    """Return :func:`cell_path` as text, because creating thousands of paths takes seconds."""
    return f"{folder_of(dataset)}/{folder_of(method)}/{folder_of(setting)}/seed{seed}"


@cache
def folder_of(label: str) -> str:
    """Return the name of a label's folder; raises UnicodeEncodeError for half of a character (a lone surrogate)."""
    text = urllib.parse.quote(label, safe=" +,=@()[]!'")
    return "%2E" + text[1:] if text.startswith(".") else text


def _why_unknown(cell: Path) -> str:
    readable = os.access(cell / ".lock", os.R_OK)
    return f"the file system of {cell} has no locks" if readable else f"{cell / '.lock'} can't be read"


@dataclass(frozen=True)
class CellRecord:
    """The files of one cell on disk.

    Attributes:
        directory: The cell's directory.
        wanted: What the grid asks of the cell. A cell that has ended with another configuration is ``stale``.
    """

    directory: Path
    wanted: Wanted | None = field(default=None, compare=False, repr=False)

    @cached_property
    def config(self) -> dict[str, Any]:
        """Return ``cell.yaml``, the resolved cell with absolute paths; ``{}`` before it is written."""
        try:
            return _placed(load_yaml(self.directory / "cell.yaml"), self.directory)
        except (FileNotFoundError, NotADirectoryError):
            return {}

    @cached_property
    def status(self) -> dict[str, Any]:
        """Return ``status.json``, as the grid sees it.

        A cell whose process is gone without an end has the state ``killed``. One that has ended with another
        configuration than the grid's has the state ``stale`` and the difference as its reason.
        """
        found = self._status()
        if self.wanted is None or found["state"] not in ENDED or is_wanted(found, self.wanted):
            return found
        changed = difference(found, self.config, self.wanted)
        if changed:
            return {**found, "state": "stale", "reason": f"{found['state']} with another configuration: {changed}"}
        note = older_note(found, self.wanted)
        return {**found, "notes": [*found.get("notes", []), note]} if note else found

    def _status(self) -> dict[str, Any]:
        found: dict[str, Any] = {"state": "waiting"}
        read = read_json(self.directory / "status.json")
        if _is_status(read):
            found = read
        elif (self.directory / "status.json").is_file():
            found["reason"] = _DAMAGED
        if found.get("state") == "done" and not (self.directory / "metrics.csv").is_file():
            return {**found, "state": "killed", "reason": "its metrics.csv is gone; the same command makes it again"}
        if found.get("state") != "running" or (held := self.locked()):
            return found
        again = read_json(self.directory / "status.json") or found  # The cell may have ended between the two reads.
        if again.get("state") != "running":
            return dict(again)
        if held is None:
            return {**again, "reason": f"can't tell whether its process is still there: {_why_unknown(self.directory)}"}
        return {**again, "state": "killed", "reason": "its process ended without a word (killed?)"}

    @property
    def state(self) -> str:
        """Return ``waiting``, ``running``, ``stale``, or the state in which the cell ended."""
        return str(self.status["state"])

    @property
    def dataset(self) -> str:
        """Label of the dataset in the grid."""
        return urllib.parse.unquote(self.directory.parents[2].name)

    @property
    def method(self) -> str:
        """Label of the method in the grid."""
        return urllib.parse.unquote(self.directory.parents[1].name)

    @property
    def setting(self) -> str:
        """``multi-class`` or ``one-per-class``."""
        return urllib.parse.unquote(self.directory.parents[0].name)

    @property
    def seed(self) -> int:
        """Seed of the method."""
        return int(self.directory.name.removeprefix("seed"))

    @property
    def run(self) -> Path:
        """Resolved path of the run directory; of a cell that was copied elsewhere, that of the folders there."""
        parents = self.directory.resolve().parents
        return parents[min(4, len(parents) - 1)]

    @property
    def decides(self) -> dict[str, Any]:
        """What decides the result besides the seed, see :func:`diadbench.benchmark.records.experiment.decided`."""
        if self.wanted is not None and self.state != "done":
            return self.wanted.decides
        return decided(self.status, self.config if "decides" not in self.status else {}, self.run)

    @property
    def identity(self) -> str:
        """Return the hash of what decides the result and the seed; ``""`` for a cell that doesn't state it."""
        if self.wanted is not None and self.state != "done":
            return self.wanted.identity
        return str(self.status.get("identity") or self.config.get("identity", ""))

    @property
    def configuration(self) -> str:
        """Return the hash that all seeds of one experiment share, and no other cell has."""
        if self.wanted is not None and self.state != "done":
            return self.wanted.configuration
        return configuration(self.status, self.config if not self.status.get("configuration") else {}, self.run)

    @property
    def progress(self) -> dict[str, Any]:
        """Return the latest progress of a running cell: ``done``, ``total``, ``what``, ``time``.

        ``since`` and ``first`` are the time and count of its first report on the same ``what``.
        """
        return read_json(self.directory / "progress.json") or {}

    def lock(self) -> FileLock:
        """Return the lock that a cell's process holds until it ends. The kernel releases it in any case."""
        return FileLock(self.directory / ".lock")

    def hold(self) -> AbstractContextManager[Any]:
        """Acquire :meth:`lock`. A process that only tests it (:meth:`locked`) doesn't prevent this.

        Raises:
            filelock.Timeout: Another process has the cell.
        """
        return self.lock().acquire(timeout=LOOKED_AT, poll_interval=0.02)

    def locked(self) -> bool | None:
        """Return whether a process works on this cell; ``None`` if that can't be known.

        A user who may only read the run directory gets the same answer.
        """
        return is_held(self.directory / ".lock")

    def metrics(self) -> list[dict[str, str]]:
        """Rows of ``metrics.csv`` as text; empty unless the cell is done. Raises UserError if the file is damaged.

        Another runner may take the file away after the state was read. Then the cell isn't done any more, and its
        state is read again.
        """
        if self.state != "done":
            return []
        try:
            path = self.directory / "metrics.csv"
            with own_file(path), open(path, encoding="utf-8", newline="") as file:
                return list(csv.DictReader(file))
        except FileNotFoundError:
            self.__dict__.pop("status", None)
            return []

    def curves(self) -> dict[str, dict[str, tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]]]:
        """Return class -> kind -> ``(x, y)``, as ``curves.npz`` holds them; ``{}`` when the cell keeps none.

        Every class of the dataset is a key; it lacks the kinds that are undefined for it. Kinds are the keys of
        :data:`CURVES`. Raises UserError for another kind in the file.
        """
        import numpy as np

        path = self.directory / "curves.npz"
        if self.state != "done" or not path.is_file():
            return {}
        with own_file(path), np.load(path, allow_pickle=False) as arrays:
            found: dict[str, Any] = {str(name): {} for name in arrays["classes"]}
            names = list(found)
            for key in arrays.files:
                place, _, rest = key.partition("/")
                kind, _, axis = rest.partition("/")
                if axis == "x":
                    if kind not in CURVES:
                        raise unknown_name("kind of curve", kind, CURVES, where=str(path))
                    found[names[int(place)]][kind] = (
                        arrays[key].astype(float),
                        arrays[f"{place}/{kind}/y"].astype(float),
                    )
        return found

    @property
    def pro_limit(self) -> float:
        """Return the largest false positive rate of AU-PRO by the cell's protocol. Raises UserError if unknown."""
        return get_protocol(self.status.get("protocol") or "exact").pro_limit

    def clear(self) -> None:
        """Remove results and status. The log and the files for a resume are kept; the cell's process judges these.

        The files for a resume are ``scratch``, ``scored``, ``checkpoint``, and the pictures and maps of scored images.
        """
        for name in RESULTS:
            (self.directory / name).unlink(missing_ok=True)

    def write_status(self, **status: Any) -> None:
        """Write ``status.json`` atomically."""
        write_json(self.directory / "status.json", status)


def _placed(config: dict[str, Any], cell: Path) -> dict[str, Any]:
    """Return ``cell.yaml`` with absolute paths: those inside the run directory are written relative to it."""
    if len(cell.parents) < 5 or cell.absolute().parents[3].name != "cells":  # A copy has its own paths.
        return config
    run = cell.absolute().parents[4]
    placed = {key: str(run / config[key]) for key in ("root", "method", "dataset") if _is_inside(run, key, config)}
    return {**config, **placed, **({"run_directory": str(run)} if "run_directory" in config else {})}


def _is_inside(run: Path, key: str, config: dict[str, Any]) -> bool:
    """Whether a value is a path relative to the run directory: a root, or a file with ``:Class`` behind it."""
    value = str(config.get(key) or "")
    place = value if key == "root" else value.rpartition(":")[0]
    is_path = bool(place) and (key == "root" or place.endswith(".py"))
    return is_path and not os.path.isabs(place) and (run / place).exists()
