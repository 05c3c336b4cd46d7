"""Predict the cost of a run from past run times of similar cells, kept in the cache directory."""

from __future__ import annotations

import contextlib
import heapq
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rich.table import Table
from rich.text import Text

from diadbench.benchmark.planning.grid import parse_time
from diadbench.benchmark.planning.planned import summary
from diadbench.benchmark.planning.speeds import kept_speed
from diadbench.benchmark.planning.threads import cells_at_once
from diadbench.benchmark.records.store import lasted
from diadbench.benchmark.runs.status import clock
from diadbench.common.errors import UserError
from diadbench.common.files import cache_dir, read_json, write_json
from diadbench.common.wording import counted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from diadbench.benchmark.planning.plan import Plan, PlannedCell
    from diadbench.benchmark.records.store import CellRecord


@dataclass(frozen=True)
class Forecast:
    """What a cell may need; values are ``None`` if no similar cell has run on this machine.

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
    """Keep the cost of a finished cell for later plans."""
    status = record.status
    seconds = lasted(status.get("started"), status.get("finished"))
    if status["state"] != "done" or seconds is None:
        return
    size = sum(path.stat().st_size for path in record.directory.rglob("*") if path.is_file())
    memory = status.get("peak_memory", {})
    seen = {
        "seconds": seconds,
        "gpu_bytes": memory.get("gpu_bytes"),
        "cpu_bytes": memory.get("cpu_bytes"),
        "disk_bytes": size,
    }
    with contextlib.suppress(OSError):  # With a full or read-only cache the next plan has no forecast.
        write_json(cache_dir() / "costs" / f"{_key(record.config)}.json", seen)
        write_json(cache_dir() / "costs" / f"{_key(record.config, _ALIKE)}.json", {**seen, **_growing(status)})


def forecast(config: dict[str, Any]) -> Forecast:
    """Return what a cell with this configuration cost when it, or one that differs in seed alone, ran here."""
    seen = read_json(cache_dir() / "costs" / f"{_key(config)}.json") or {}
    return Forecast(**{key: seen.get(key) for key in Forecast.__dataclass_fields__})


def _growing(status: dict[str, Any]) -> dict[str, Any]:
    """Return how many images a cell had, and the seconds of its phases that grow with their number."""
    phases = status.get("phases", {})
    return {
        "train": status.get("n_train", 0),
        "images": status.get("n_train", 0) + status.get("n_test", 0),
        "fit": phases.get("fit", 0.0),
        "others": sum(seconds for name, seconds in phases.items() if name in ("prepare", "predict", "evaluate")),
    }


def estimate(planned: PlannedCell) -> Forecast | None:
    """Return what a cell may need by the same method's last cell on other data.

    Time grows with the number of images; but for the start of a process, and for a training whose length is an option
    in steps. ``None`` where the method has not run here with these options, or nobody knows how many images there are.
    """
    seen = read_json(cache_dir() / "costs" / f"{_key(planned.config, _ALIKE)}.json") or {}
    if not seen.get("train") or planned.images is None:
        return None
    options = planned.config["method_options"]
    by_steps = any(options.get(name) for name in ("steps", "train_steps", "max_steps"))
    more = 0.0 if by_steps else planned.images[0] / seen["train"] - 1
    seconds = seen["seconds"] + seen["fit"] * more + seen["others"] * (sum(planned.images) / seen["images"] - 1)
    return Forecast(max(seconds, 0.0), seen.get("gpu_bytes"), seen.get("cpu_bytes"))


def by_speed(planned: PlannedCell) -> Forecast | None:
    """Return what a cell may need by the speed of its method that ``diadbench doctor`` has measured here.

    Metrics are not counted. ``None`` where nothing was measured, or nobody knows how many images there are.
    """
    speed = kept_speed(planned.config)
    if speed is None or planned.images is None:
        return None
    seconds = speed.seconds(*planned.images)
    return None if seconds is None else Forecast(seconds, speed.gpu_bytes, speed.cpu_bytes, speed.disk_bytes)


#: What cells have in common whose costs differ by their data alone, and what the same cell has with another seed.
_ALIKE = ("method", "method_options", "setting", "image_size", "device", "devices")
_SAME = (*_ALIKE, "fingerprint")


def _key(config: dict[str, Any], names: tuple[str, ...] = _SAME) -> str:
    import hashlib

    if "train_subset" in config:  # only there, so that what earlier versions remembered is still found
        names = (*names, "train_subset")
    known = {name: config.get(name) for name in names}
    if ".py:" in str(known["method"]):  # a finished cell names the copy of the file that the run keeps
        known["method"] = str(known["method"]).replace("\\", "/").rpartition("/")[2]
    text = json.dumps(known, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def in_turn(cells: Sequence[PlannedCell], first: Sequence[str] = ()) -> list[PlannedCell]:
    """Order cells as they are run.

    Args:
        cells: Cells that have to run.
        first: Labels of methods whose cells come before all others, in this order.

    Returns:
        The cells of ``first``; then the rest so that a grid ends early: unknown ones, they may be long, then the
        longest.
    """
    place = {label: number for number, label in enumerate(first)}

    def turn(planned: PlannedCell) -> tuple[int, float]:
        early = place.get(planned.cell.method.label)
        seconds = forecast(planned.config).seconds
        return (early, 0.0) if early is not None else (len(place), -(float("inf") if seconds is None else seconds))

    return sorted(cells, key=turn)


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
    costs = [(planned, *_cost(planned)) for planned in plan.cells]
    reasons = plan.missing
    made = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("cell", "what", "images", "why", "time", "memory", "GPU", "disk"):
        made.add_column(name, overflow="fold")
    for planned, cost, about in costs:
        what = planned.what
        if planned.run and fits is not None and id(planned) not in fits:
            what = "over budget"
        made.add_row(
            Text(str(planned.cell)),
            what,
            "?" if planned.images is None else f"{planned.images[0]:,} + {planned.images[1]:,}",
            f"see ({reasons.index(planned.missing) + 1})" if planned.missing else Text(planned.reason),
            f"{about}{clock(cost.seconds)}" if cost.seconds is not None else "?",
            _gigabytes(cost.cpu_bytes),
            _gigabytes(cost.gpu_bytes),
            _gigabytes(cost.disk_bytes),
        )
    made.caption = _caption(costs)
    made.caption_justify = "left"
    return made


def _cost(planned: PlannedCell) -> tuple[Forecast, str]:
    """Return what a cell may cost, and by what: the same method on other data (``~``), or its speed (``≈``)."""
    exact = forecast(planned.config)
    if exact.seconds is not None:
        return exact, ""
    for mark, find in (("~", estimate), ("≈", by_speed)):
        found = find(planned)
        if found is not None:
            return found, mark
    return exact, ""


def _caption(costs: Sequence[tuple[PlannedCell, Forecast, str]]) -> str:
    """Sum up the time of all cells that have to run or would, if what they miss were here."""
    wanted = [(cost.seconds, about) for planned, cost, about in costs if planned.run or planned.missing]
    known = [seconds for seconds, _ in wanted if seconds is not None]
    told = f"predicted: {clock(sum(known)) or '0:00'} for {counted(len(known), 'cell')}"
    told += f"; {len(wanted) - len(known)} never timed here"
    for mark, by in (("~", "by the same method on other data"), ("≈", "by speeds that diadbench doctor measured")):
        rough = sum(about == mark for _, about in wanted)
        told += f"; {mark}: {rough} {by}" if rough else ""
    return told


def plan_title(plan: Plan, budget: str | None = None) -> str:
    """Return how many of the plan's cells will run, and where. No title of the table, which would break a long path."""
    to_run = plan.pending
    if budget:
        to_run = within_budget(to_run, budget, cells_at_once(plan.grid, plan.compute))
    return f"{plan.directory.path}: {summary(plan.cells, to_run)}"


def _gigabytes(value: float | None) -> str:
    return "?" if value is None else f"{value / 1e9:.2f} GB" if value else "-"
