"""What a runner writes of a cell: its configuration, and the status of one that couldn't write its own."""

from __future__ import annotations

import contextlib
import dataclasses
import time
from typing import Any

import yaml
from filelock import Timeout

from diadbench.benchmark.engines.base import Outcome
from diadbench.benchmark.planning.grids.paths import inside_relative
from diadbench.benchmark.planning.plan import PlannedCell
from diadbench.benchmark.records.identity import is_wanted
from diadbench.benchmark.records.store import ENDED, CellRecord
from diadbench.common.files import write_text


def skip_cell(planned: PlannedCell) -> None:
    """Write the status of a cell whose data or packages are missing, unless another process has the cell."""
    planned.record.directory.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(Timeout), planned.record.hold():
        write_cell(planned)
        planned.record.write_status(**_head(planned), state="skipped", reason=planned.missing, finished=time.time())


def record_end(planned: PlannedCell, outcome: Outcome, since: float) -> bool:
    """Write the status of a process that couldn't write its own. Returns False if another process has the cell now."""
    if outcome.state == "ended":
        return True
    try:
        with planned.record.hold():
            status = fresh(planned).status
            if not (status["state"] in ENDED and status.get("finished", 0.0) >= since):
                _write_end(planned, outcome, status)
            return True
    except Timeout:
        return False


def _write_end(planned: PlannedCell, outcome: Outcome, status: dict[str, Any]) -> None:
    state = {"died": "killed"}.get(outcome.state, outcome.state)
    if outcome.state == "died" and "exit code" in outcome.reason:
        state = "error"
    kept = {key: value for key, value in status.items() if key not in ("state", "reason")}
    end = {
        "state": state,
        "reason": outcome.reason,
        "peak_memory": {"cpu_bytes": outcome.peak_bytes, "gpu_bytes": None},
        "finished": time.time(),
    }
    planned.record.write_status(**{**_head(planned), **kept, **outcome.extra, **end})


def _head(planned: PlannedCell) -> dict[str, Any]:
    """Return the keys of a status that are the same for every cell that couldn't write its own."""
    keys = ("identity", "configuration", "decides", "protocol", "method_info", "dataset_info")
    return {"notes": [], "traceback": "", **{key: planned.config[key] for key in keys}}


def write_cell(planned: PlannedCell) -> None:
    """Write ``cell.yaml``, with paths inside the run directory relative to it.

    A result of another configuration is removed first: a kill before the cell's process begins must not leave it beside
    a ``cell.yaml`` that describes another.
    """
    planned.record.directory.mkdir(parents=True, exist_ok=True)
    present = fresh(planned)
    if present.status["state"] in ENDED and not is_wanted(present.status, planned.wanted):
        present.clear()
    config = inside_relative(planned.config)
    write_text(planned.record.directory / "cell.yaml", yaml.safe_dump(config, sort_keys=False, allow_unicode=True))


def fresh(planned: PlannedCell) -> CellRecord:
    """Return a new record of the present files, because records cache what they have read."""
    return dataclasses.replace(planned.record)
