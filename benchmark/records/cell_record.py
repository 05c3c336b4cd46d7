"""What the disk holds of one cell: its configuration, its state, its figures and curves.

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

import yaml
from filelock import FileLock

from diadbench.benchmark.metrics.names import CURVES
from diadbench.benchmark.metrics.protocols import get_protocol
from diadbench.benchmark.records.experiment import configuration, decided
from diadbench.benchmark.records.identity import Wanted, difference, is_wanted, older_note
from diadbench.common.errors import unknown_name
from diadbench.common.files import read_json, write_json
from diadbench.common.processes.held import LOOKED_AT, is_held

if TYPE_CHECKING:
    import numpy as np

#: States in which a cell is over. ``done`` has results; ``killed`` and no state at all are unfinished.
ENDED = ("done", "error", "oom", "timeout", "skipped")
FAILED = ("error", "oom", "timeout", "killed")
#: Files of a cell that belong to one result, and go with it.
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


def cell_path(dataset: str, method: str, setting: str, seed: int) -> Path:
    """Return the directory of a cell below ``cells/``. Labels are any text; what a path can't hold is escaped."""
    return Path(cell_place(dataset, method, setting, seed))


def cell_place(dataset: str, method: str, setting: str, seed: int) -> str:
    """Return :func:`cell_path` as text: thousands of paths take seconds."""
    return f"{_safe(dataset)}/{_safe(method)}/{_safe(setting)}/seed{seed}"


@cache
def _safe(label: str) -> str:
    text = urllib.parse.quote(label, safe=" +,=@()[]!'")
    return "%2E" + text[1:] if text.startswith(".") else text


def _why_unknown(cell: Path) -> str:
    readable = os.access(cell / ".lock", os.R_OK)
    return f"the file system of {cell} has no locks" if readable else f"{cell / '.lock'} can't be read"


def load_yaml(path: Path) -> dict[str, Any]:
    """Return the keys and values of a YAML file that this program wrote; ``{}`` for an empty one."""
    return yaml.load(path.read_text(encoding="utf-8"), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)) or {}


@dataclass(frozen=True)
class CellRecord:
    """What the disk holds of one cell.

    Attributes:
        directory: The cell's directory.
        wanted: What the grid asks of it. A cell that has ended as something else is ``stale``.
    """

    directory: Path
    wanted: Wanted | None = field(default=None, compare=False, repr=False)

    @cached_property
    def config(self) -> dict[str, Any]:
        """``cell.yaml``: the resolved cell, its paths absolute; ``{}`` before it is written."""
        try:
            return _placed(load_yaml(self.directory / "cell.yaml"), self.directory)
        except (FileNotFoundError, NotADirectoryError):
            return {}

    @cached_property
    def status(self) -> dict[str, Any]:
        """``status.json``, as the grid sees it.

        A cell whose process is gone without an end has the state ``killed``; one that has ended with another
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
        found: dict[str, Any] = read_json(self.directory / "status.json") or {"state": "waiting"}
        if found.get("state") == "done" and not (self.directory / "metrics.csv").is_file():
            return {**found, "state": "killed", "reason": "its metrics.csv is gone; the same command makes it again"}
        if found.get("state") != "running" or (held := self.locked()):
            return found
        again = read_json(self.directory / "status.json") or found  # it may have ended between the two looks
        if again.get("state") != "running":
            return dict(again)
        if held is None:
            return {**again, "reason": f"can't tell whether its process is still there: {_why_unknown(self.directory)}"}
        return {**again, "state": "killed", "reason": "its process ended without a word (killed?)"}

    @property
    def state(self) -> str:
        """``waiting``, ``running``, ``stale``, or how it ended."""
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
        """Resolved path of the run directory."""
        return self.directory.resolve().parents[4]

    @property
    def decides(self) -> dict[str, Any]:
        """What decides the result besides the seed, see :func:`diadbench.benchmark.records.experiment.decided`."""
        if self.wanted is not None and self.state != "done":
            return self.wanted.decides
        return decided(self.status, self.config if "decides" not in self.status else {}, self.run)

    @property
    def identity(self) -> str:
        """Hash of what decides the result and the seed; ``""`` for a cell that says nothing of it."""
        if self.wanted is not None and self.state != "done":
            return self.wanted.identity
        return str(self.status.get("identity") or self.config.get("identity", ""))

    @property
    def configuration(self) -> str:
        """Hash that all seeds of one experiment share, and no other cell has."""
        if self.wanted is not None and self.state != "done":
            return self.wanted.configuration
        return configuration(self.status, self.config if not self.status.get("configuration") else {}, self.run)

    @property
    def progress(self) -> dict[str, Any]:
        """Last word of a running cell: ``done``, ``total``, ``what``, ``time``.

        ``since`` and ``first`` are time and count of its first word on the same ``what``.
        """
        return read_json(self.directory / "progress.json") or {}

    def lock(self) -> FileLock:
        """Return the lock that a cell's process holds for its life. The kernel frees it, however the process ends."""
        return FileLock(self.directory / ".lock")

    def hold(self) -> AbstractContextManager[Any]:
        """Take :meth:`lock`; one who only looks at it (:meth:`locked`) doesn't keep it from us.

        Raises:
            filelock.Timeout: Another process has the cell.
        """
        return self.lock().acquire(timeout=LOOKED_AT, poll_interval=0.02)

    def locked(self) -> bool | None:
        """Whether a process is at work on this cell; ``None`` where that can't be known.

        Another user, who may only read the run directory, gets the same answer.
        """
        return is_held(self.directory / ".lock")

    def metrics(self) -> list[dict[str, str]]:
        """Rows of ``metrics.csv`` as text; empty unless the cell is done.

        Another runner may take the file away after the state was read. Then the cell isn't done any more, and its
        state is read again.
        """
        if self.state != "done":
            return []
        try:
            with open(self.directory / "metrics.csv", encoding="utf-8", newline="") as file:
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
        with np.load(path, allow_pickle=False) as arrays:
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
        """Largest false positive rate that AU-PRO counts, by the cell's protocol. Raises UserError if it is unknown."""
        return get_protocol(self.status.get("protocol") or "exact").pro_limit

    def clear(self) -> None:
        """Forget results and status; keep the log and what a cell goes on from, which its process judges.

        That is ``scratch``, ``scored``, ``checkpoint``, and pictures and maps of what is scored.
        """
        for name in RESULTS:
            (self.directory / name).unlink(missing_ok=True)

    def write_status(self, **status: Any) -> None:
        """Write ``status.json`` atomically."""
        write_json(self.directory / "status.json", status)


def _placed(config: dict[str, Any], cell: Path) -> dict[str, Any]:
    """Return ``cell.yaml`` with absolute paths: those inside the run directory are written relative to it."""
    if len(cell.parents) < 5 or cell.absolute().parents[3].name != "cells":  # one that travels has its own paths
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
