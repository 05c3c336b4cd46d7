"""What a run may cost: from past run times of like cells, kept in the cache directory."""

from __future__ import annotations

import contextlib
import heapq
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rich.table import Table
from rich.text import Text

from diadbench.benchmark.planning.grid import parse_time
from diadbench.benchmark.planning.threads import cells_at_once
from diadbench.benchmark.runs.status import clock
from diadbench.common.errors import UserError
from diadbench.common.files import cache_dir, read_json, write_json

if TYPE_CHECKING:
    from collections.abc import Sequence

    from diadbench.benchmark.planning.plan import Plan, PlannedCell
    from diadbench.benchmark.records.store import CellRecord


@dataclass(frozen=True)
class Forecast:
    """What a cell may need; ``None`` where nothing like it has run on this machine.

    Attributes:
        seconds: Wall time.
        gpu_bytes: Peak GPU memory.
        cpu_bytes: Peak resident memory.
        disk_bytes: Size of its directory.
    """

    seconds: float | None = None
    gpu_bytes: float | None = None
    cpu_bytes: float | None = None
    disk_bytes: float | None = None


def remember(record: CellRecord) -> None:
    """Keep what a finished cell has cost, for the next plan."""
    status = record.status
    if status["state"] != "done":
        return
    size = sum(path.stat().st_size for path in record.directory.rglob("*") if path.is_file())
    memory = status.get("peak_memory", {})
    seen = {
        "seconds": status["finished"] - status["started"],
        "gpu_bytes": memory.get("gpu_bytes"),
        "cpu_bytes": memory.get("cpu_bytes"),
        "disk_bytes": size,
    }
    with contextlib.suppress(OSError):  # a full or read-only cache costs the next plan its forecast, no more
        write_json(cache_dir() / "costs" / f"{_key(record.config)}.json", seen)


def forecast(config: dict[str, Any]) -> Forecast:
    """Return what a cell with this configuration cost when it, or one that differs in seed alone, ran here."""
    seen = read_json(cache_dir() / "costs" / f"{_key(config)}.json") or {}
    return Forecast(**{key: seen.get(key) for key in Forecast.__dataclass_fields__})


def _key(config: dict[str, Any]) -> str:
    import hashlib

    names = ["method", "method_options", "fingerprint", "setting", "image_size", "device", "devices"]
    if "train_subset" in config:  # only there, so that what earlier versions remembered is still found
        names.append("train_subset")
    text = json.dumps({name: config.get(name) for name in names}, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def longest_first(cells: Sequence[PlannedCell]) -> list[PlannedCell]:
    """Order cells so that a grid ends early: unknown ones first, they may be long; then the longest."""
    return sorted(cells, key=lambda planned: -(forecast(planned.config).seconds or float("inf")))


def within_budget(cells: Sequence[PlannedCell], budget: str, at_once: int | None = 1) -> list[PlannedCell]:
    """Pick the cells that are predicted to end within ``budget`` (``24h``) of wall time, shortest first.

    Cells that nobody has timed are left out: nothing says that they fit.

    Args:
        cells: Cells that have to run.
        budget: Wall time.
        at_once: How many cells run at once; each goes where one ends first.

    Raises:
        UserError: Nobody knows how many run at once (``None``).
    """
    if at_once is None:
        raise UserError(f"--budget {budget}: the cluster decides how many cells run at once; say how many: --jobs 16")
    limit = parse_time(budget, "--budget") or 0.0
    ends = [0.0] * max(min(at_once, len(cells)), 1)
    chosen = []
    for planned in sorted(cells, key=lambda planned: forecast(planned.config).seconds or float("inf")):
        seconds = forecast(planned.config).seconds
        if seconds is not None and ends[0] + seconds <= limit:
            chosen.append(planned)
            heapq.heapreplace(ends, ends[0] + seconds)
    return chosen


def plan_table(plan: Plan, budget: str | None = None) -> Table:
    """Return the plan as a rich table: what runs, why, and what it may cost."""
    at_once = cells_at_once(plan.grid, plan.compute)
    fits = {id(planned) for planned in within_budget(plan.pending, budget, at_once)} if budget else None
    costs = [(planned, forecast(planned.config)) for planned in plan.cells]
    made = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("cell", "what", "why", "time", "memory", "GPU", "disk"):
        made.add_column(name, overflow="fold")
    for planned, cost in costs:
        what = "run" if planned.run else "keep"
        if planned.run and fits is not None and id(planned) not in fits:
            what = "over budget"
        made.add_row(
            Text(str(planned.cell)),
            what,
            Text(planned.why),
            clock(cost.seconds) or "?",
            _gigabytes(cost.cpu_bytes),
            _gigabytes(cost.gpu_bytes),
            _gigabytes(cost.disk_bytes),
        )
    known = [cost.seconds for planned, cost in costs if planned.run and cost.seconds is not None]
    unknown = len(plan.pending) - len(known)
    made.caption = f"predicted: {clock(sum(known)) or '0:00'} for {len(known)} cells; {unknown} never timed here"
    made.caption_justify = "left"
    return made


def plan_title(plan: Plan) -> str:
    """Return how many of the plan's cells will run, and where. No title of the table, which would break a long path."""
    return f"{plan.directory.path}: {len(plan.pending)} of {len(plan.cells)} cells to run"


def _gigabytes(value: float | None) -> str:
    return "?" if value is None else f"{value / 1e9:.2f} GB" if value else "-"
