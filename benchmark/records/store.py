"""The run directory: what a grid leaves on disk, and the only door that reports have to it.

::

    RUN/grid.yaml  plan.json  environment.json  results.csv
    RUN/cells/<dataset>/<method>/<setting>/seed<k>/
        cell.yaml        the resolved cell
        status.json      state, reason, times, memory, load of the machine, notes, provenance: written last, so ``done``
                         means complete
        metrics.csv      class, scope, metric, value, reason, n_normal, n_anomalous, n_defined, n_classes
        scores.parquet   index, image, class, defect, label, score, sample_id
        decisions.csv    what thresholds do, for each class and one for all: DECISION_COLUMNS
        pooled.csv       metrics of all classes as one set, beside the mean over classes: POOLED_COLUMNS
        normal.npz       scores of the normal images that thresholds were set on
        curves.npz       thinned curves of each class, by the kinds of CURVES
        history.csv      training curves: step, name, value (when the method trains)
        gallery/         a fixed choice of test images with maps, for pictures
        maps/            all anomaly maps of each class (on demand); N.limits.npy: see common/half.py
        checkpoint/      the trained model
        log.txt          what the cell's process printed

``plan.json`` holds what the grid asks of each cell (identity, configuration, what they are made of) and what was
decided once for the directory. By it a result of another configuration is known as ``stale``: it has no figures in the
results. Cells on disk that are not in the grid are no part of the results. Paths inside the run directory are written
relative to it, all others are absolute; the directory can be moved.

``results.csv`` is derived from the cells and can be rebuilt at any time. This module imports neither torch nor
pandas at the top, so that ``status`` answers at once.
"""

from __future__ import annotations

import contextlib
import csv
import os
import shutil
import urllib.parse
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from filelock import FileLock

from diadbench.benchmark.metrics.names import CURVES, METRICS, CurveInfo, is_metric, metric_info
from diadbench.benchmark.metrics.protocols import get_protocol
from diadbench.benchmark.records.cell_labels import keys_of_grid
from diadbench.benchmark.records.experiment import CODE_OF, EARLIER, configuration, decided, run_names
from diadbench.benchmark.records.identity import Wanted, difference, is_wanted, older_note
from diadbench.common.errors import UserError, unknown_name
from diadbench.common.files import read_json, write_json, write_text
from diadbench.common.processes.held import LOOKED_AT, is_held

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

__all__ = [
    "CODE_OF",
    "CSV_COLUMNS",
    "CURVES",
    "EARLIER",
    "ENDED",
    "METRICS",
    "RESULT_COLUMNS",
    "CellRecord",
    "CurveInfo",
    "RunDirectory",
    "cell_path",
    "is_metric",
    "load_results",
    "metric_info",
    "open_runs",
]

#: States in which a cell is over. ``done`` has results; ``killed`` and no state at all are unfinished.
ENDED = ("done", "error", "oom", "timeout", "skipped")
FAILED = ("error", "oom", "timeout", "killed")

METRIC_COLUMNS = (
    "class",
    "scope",
    "metric",
    "value",
    "reason",
    "n_normal",
    "n_anomalous",
    "n_defined",
    "n_classes",
)
RESULT_COLUMNS = (
    "run",
    "dataset",
    "method",
    "setting",
    "seed",
    "protocol",
    *METRIC_COLUMNS,
    "state",
    "flags",
    "identity",
    "configuration",
    "path",
)
#: what ``results.csv`` holds: all but the place of the run directory, which may be moved
CSV_COLUMNS = RESULT_COLUMNS[:-1]


def cell_path(dataset: str, method: str, setting: str, seed: int) -> Path:
    """Return the directory of a cell below ``cells/``. Labels are any text; what a path can't hold is escaped."""
    return Path(_safe(dataset)) / _safe(method) / _safe(setting) / f"seed{seed}"


def _safe(label: str) -> str:
    text = urllib.parse.quote(label, safe=" +,=@()[]!'")
    return "%2E" + text[1:] if text.startswith(".") else text


def _why_unknown(cell: Path) -> str:
    readable = os.access(cell / ".lock", os.R_OK)
    return f"the file system of {cell} has no locks" if readable else f"{cell / '.lock'} can't be read"


def _load_yaml(path: Path) -> dict[str, Any]:
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
            return _placed(_load_yaml(self.directory / "cell.yaml"), self.directory)
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
        """Rows of ``metrics.csv`` as text; empty unless the cell is done."""
        if self.state != "done":
            return []
        with open(self.directory / "metrics.csv", encoding="utf-8", newline="") as file:
            return list(csv.DictReader(file))

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
        """Forget results and status, keep what a resumed training needs (``scratch``) and the log."""
        for name in (
            "status.json",
            "metrics.csv",
            "scores.parquet",
            "curves.npz",
            "history.csv",
            "progress.json",
            "decisions.csv",
            "pooled.csv",
            "normal.npz",
        ):
            (self.directory / name).unlink(missing_ok=True)
        for name in ("gallery", "maps", "checkpoint"):
            shutil.rmtree(self.directory / name, ignore_errors=True)

    def write_status(self, **status: Any) -> None:
        """Write ``status.json`` atomically."""
        write_json(self.directory / "status.json", status)


class RunDirectory:
    """A run directory, new or old.

    Args:
        path: The directory.
        must_exist: Raise when it is not a run directory.

    Raises:
        UserError: Not a run directory.
    """

    def __init__(self, path: Path | str, *, must_exist: bool = True) -> None:
        self.path = Path(path)
        if self.path.is_file():
            raise UserError(f"{self.path}: a file; expected the directory of a run")
        if must_exist and not (self.path / "grid.yaml").is_file():
            raise UserError(f"{self.path}: not a run directory (no grid.yaml in it); give the directory of a run")

    @property
    def name(self) -> str:
        """Name of the run, for tables."""
        return self.path.resolve().name

    @cached_property
    def grid(self) -> dict[str, Any]:
        """``grid.yaml``, resolved."""
        return _load_yaml(self.path / "grid.yaml")

    @cached_property
    def kept(self) -> dict[str, Any]:
        """``plan.json``; ``{}`` in a directory of an earlier version, and before the first run."""
        return read_json(self.path / "plan.json") or {}

    @cached_property
    def wanted(self) -> dict[tuple[str, str, str, int], Wanted]:
        """What the grid asks of each cell, by its labels; empty where there is no ``plan.json``."""
        decides = self.kept.get("configurations", {})
        return {
            (entry["dataset"], entry["method"], entry["setting"], entry["seed"]): Wanted(
                entry["identity"],
                entry["configuration"],
                entry["protocol"],
                decides[entry["configuration"]],
                entry["earlier"],
            )
            for entry in self.kept.get("cells", [])
        }

    def keep(self, plan: dict[str, Any]) -> None:
        """Write ``plan.json``."""
        if plan != self.kept:
            write_json(self.path / "plan.json", plan)
        for name in ("kept", "wanted", "grid"):
            self.__dict__.pop(name, None)

    @cached_property
    def environment(self) -> dict[str, Any]:
        """``environment.json``: versions, hardware, commit."""
        return read_json(self.path / "environment.json") or {}

    def cell(self, dataset: str, method: str, setting: str, seed: int) -> CellRecord:
        """Return the record of one cell as it is on disk, there or not."""
        return CellRecord(self.path / "cells" / cell_path(dataset, method, setting, seed))

    def as_wanted(self, key: tuple[str, str, str, int]) -> CellRecord:
        """Return the record of one cell as the grid sees it: ``stale`` when it isn't what the grid asks for."""
        return CellRecord(self.cell(*key).directory, self.wanted.get(key))

    def cells(self) -> list[CellRecord]:
        """Return the grid's cells that the disk holds, in the grid's order, as the grid sees them.

        A directory without ``plan.json`` (of an earlier version) has all its cells in: the grid's first, then the rest
        by path.
        """
        if not self.wanted:
            return self.on_disk()
        records = (self.as_wanted(key) for key in self.wanted)
        return [record for record in records if (record.directory / "cell.yaml").is_file()]

    def left_over(self) -> list[CellRecord]:
        """Return the cells on disk that are not in the grid; they are no part of the results."""
        planned = {self.cell(*key).directory for key in self.wanted or self.planned()}
        return [record for record in self.on_disk() if record.directory not in planned]

    def on_disk(self) -> list[CellRecord]:
        """Return all cells that the disk knows: the grid's order first, then the rest by path."""
        found = {path.parent for path in (self.path / "cells").glob("*/*/*/seed*/cell.yaml")}
        rank = {self.path / "cells" / cell_path(*key): place for place, key in enumerate(self.planned())}
        return [CellRecord(path) for path in sorted(found, key=lambda path: (rank.get(path, len(rank)), str(path)))]

    def planned(self) -> Iterator[tuple[str, str, str, int]]:
        """Yield the labels of the grid's cells, in its order."""
        if self.wanted:
            yield from self.wanted
            return
        if (self.path / "grid.yaml").is_file():
            yield from keys_of_grid(self.grid)

    def rows(self) -> Iterator[dict[str, Any]]:
        """Yield the results row by row from the grid's cells. A cell that isn't done gives one row without a metric.

        ``identity`` and ``configuration`` are those of the figures; without figures, those that the grid asks for.
        """
        path = str(self.path.resolve())
        for cell in self.cells():
            status = cell.status
            head = {
                "run": self.name,
                "dataset": cell.dataset,
                "method": cell.method,
                "setting": cell.setting,
                "seed": cell.seed,
                "protocol": cell.wanted.protocol
                if cell.wanted
                else status.get("protocol") or cell.config.get("protocol", ""),
                "state": cell.state,
                "flags": "; ".join(status.get("notes", [])) if cell.state != "stale" else "",
                "identity": cell.identity,
                "configuration": cell.configuration,
                "path": path,
            }
            metrics = cell.metrics()
            for row in metrics:
                yield {**head, **row}
            if not metrics:
                yield {**head, "reason": status.get("reason", "")}

    def write_results(self) -> Path:
        """Rebuild ``results.csv`` from the cells, atomically."""
        import io

        newest = self._newest()
        rows = list(self.rows())
        text = io.StringIO()
        writer = csv.DictWriter(text, CSV_COLUMNS, restval="", extrasaction="ignore", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        path = self.path / "results.csv"
        write_text(path, text.getvalue())
        if not any(row["state"] == "running" for row in rows):  # its end may leave no trace in the files' dates
            os.utime(path, ns=(newest, newest))
        return path

    def results_are_current(self) -> bool:
        """Whether ``results.csv`` was built from the cells as they are. It carries the time of the newest of them."""
        path = self.path / "results.csv"
        try:
            with open(path, encoding="utf-8") as file:
                header = file.readline().rstrip("\n")
            return header == ",".join(CSV_COLUMNS) and path.stat().st_mtime_ns == self._newest()
        except OSError:
            return False

    def _newest(self) -> int:
        """Return the latest change, in ns, of grid and plan, of a cell's files or of a directory that cells lie in."""
        places = [self.path / "grid.yaml", self.path / "plan.json", self.path / "cells"]
        for depth in range(1, 5):
            places += (self.path / "cells").glob("/".join(["*"] * depth))
        for name in ("status.json", "metrics.csv", "cell.yaml"):
            places += (self.path / "cells").glob(f"*/*/*/*/{name}")
        times = [0]
        for path in places:
            with contextlib.suppress(FileNotFoundError):
                times.append(path.stat().st_mtime_ns)
        return max(times)

    def results(self) -> pd.DataFrame:
        """Return the results in long form (columns :data:`RESULT_COLUMNS`), rebuilt from the cells."""
        return _frame(self.rows())


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


def load_results(paths: Iterable[Path | str] | Path | str) -> pd.DataFrame:
    """Return the results of one or several run directories in long form, one row a (cell, class, metric).

    ``value`` is float64, NaN where undefined (``reason`` says why). ``configuration`` is the same for the seeds of one
    experiment and for nothing else. ``path`` is the resolved path of the run; ``run`` is its shortest end that no other
    run has. A run that is given twice counts once. Raises UserError if a path is no run directory.
    """
    return _frame({**row, "run": name} for name, run in open_runs(paths) for row in run.rows())


def open_runs(paths: Iterable[Path | str] | Path | str) -> list[tuple[str, RunDirectory]]:
    """Return one or several run directories with their names; one that is given twice, or by a link, is there once."""
    several = [paths] if isinstance(paths, (str, os.PathLike)) else list(paths)
    runs: dict[Path, RunDirectory] = {}
    for run in map(RunDirectory, several):
        runs.setdefault(run.path.resolve(), run)
    names = run_names(list(runs))
    return [(names[path], run) for path, run in runs.items()]


def _frame(rows: Iterable[dict[str, Any]]) -> pd.DataFrame:
    import pandas as pd

    table = pd.DataFrame(list(rows), columns=list(RESULT_COLUMNS))
    numbers = ("value", "n_normal", "n_anomalous", "n_defined", "n_classes")
    for name in numbers:
        table[name] = pd.to_numeric(table[name].replace("", None), errors="raise").astype("float64")
    table["seed"] = table["seed"].astype("int64")
    texts = [name for name in RESULT_COLUMNS if name not in (*numbers, "seed")]
    table[texts] = table[texts].astype(object).fillna("").astype(str)
    return table
