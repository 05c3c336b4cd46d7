"""The states of a run's cells, for people and for programs. Imports neither torch nor pandas."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from diadbench.benchmark.records.cell_labels import Key
from diadbench.benchmark.records.store import FAILED, CellRecord, RunDirectory, lasted
from diadbench.benchmark.runs.presence import somebody_is_at_work

if TYPE_CHECKING:
    from diadbench.benchmark.records.results import Glance

STYLES = {"done": "green", "running": "cyan", "skipped": "yellow", "stale": "yellow", "waiting": "dim"}


def states(run: RunDirectory) -> list[dict[str, Any]]:
    """Return one plain dict per cell: labels, state, reason, seconds, progress and the estimated remaining seconds."""
    keys = list(_keys(run))
    known = run.found_at(keys).glances()
    return [_glanced(key, known[key]) if _stands(run, key, known) else _state(*key, run.as_wanted(key)) for key in keys]


def states_of(run: RunDirectory) -> dict[Key, str]:
    """Return the state of each cell of the grid, by its labels."""
    return {(each["dataset"], each["method"], each["setting"], each["seed"]): each["state"] for each in states(run)}


def _keys(run: RunDirectory) -> Iterator[Key]:
    """Yield the labels of the grid's cells, including those without a directory.

    In a directory of an earlier version, which keeps no plan, its other cells follow.
    """
    yield from run.planned()
    for record in run.left_over() if not run.wanted else ():
        yield record.dataset, record.method, record.setting, record.seed


def _stands(run: RunDirectory, key: Key, known: Mapping[Key, Glance]) -> bool:
    """Whether a cell has ended as the grid asks for, so that its files needn't be opened."""
    if key not in known:
        return False
    wanted = run.wanted.get(key)
    return wanted is None or (known[key].identity, known[key].protocol) == (wanted.identity, wanted.protocol)


def _glanced(key: Key, glance: Glance) -> dict[str, Any]:
    seconds = lasted(glance.started, glance.finished or time.time())
    labels = dict(zip(("dataset", "method", "setting", "seed"), key))
    return {**labels, "state": glance.state, "reason": glance.reason, "seconds": seconds}


def left_over_note(run: RunDirectory) -> str:
    """Say how many cells on disk are not in the grid; ``""`` when there are none."""
    count = len(run.left_over()) if run.wanted else 0
    if not count:
        return ""
    are = "cell on disk is" if count == 1 else "cells on disk are"
    return f"{count} {are} not in the grid; no table shows {'it' if count == 1 else 'them'}"


def _state(dataset: str, method: str, setting: str, seed: int, record: CellRecord) -> dict[str, Any]:
    status = record.status
    found: dict[str, Any] = {
        "dataset": dataset,
        "method": method,
        "setting": setting,
        "seed": seed,
        "state": status["state"],
        "reason": status.get("reason", ""),
        "seconds": None,
    }
    found["seconds"] = lasted(status.get("started"), status.get("finished") or time.time())
    if status["state"] == "running":
        found["progress"] = progress = record.progress
        found["eta"] = _eta(progress)
    return found


def _eta(progress: dict[str, Any]) -> float | None:
    """Return the estimated remaining seconds of the present step, from the pace since its first report."""
    done, total, first = (progress.get(key, 0) for key in ("done", "total", "first"))
    if "since" not in progress or not first < done <= total:
        return None
    seconds: float = (progress["time"] - progress["since"]) * (total - done) / (done - first)
    return seconds


#: Up to this number all cells are printed; of more, those that run or failed come first.
MOST = 200


def show(path: str, *, follow: bool, as_json: bool, interval: float, every: bool = False) -> int:
    """Print the state of a run; with ``follow`` until nothing runs any more. Returns 1 when cells failed.

    Args:
        path: The run directory.
        follow: Print again and again.
        as_json: Print JSON, with every cell.
        interval: Seconds between two looks.
        every: Print every cell; by default at most :data:`MOST`, and the number of the others.
    """
    run = RunDirectory(path)
    console = Console()
    if as_json:
        found = states(run)
        print(json.dumps(found, indent=2))
        return _code(found)
    found = states(run)
    if not follow:
        console.print(table(run, found, None if every else MOST))
        return _code(found)
    most = console.height - 6 if console.is_terminal else None  # besides title, header and the last line
    with Live(table(run, found, most), console=console, auto_refresh=False) as live:
        while _goes_on(run, found):
            time.sleep(interval)
            found = states(run)
            live.update(table(run, found, most), refresh=True)
        # The final table stays on the screen, so that all of it can be read by scrolling.
        live.update(table(run, found, None if every else MOST))
    left = sum(entry["state"] in ("waiting", "killed") for entry in found)
    if left:
        are = "1 cell is" if left == 1 else f"{left} cells are"
        console.print(Text(f"nothing runs any more; {are} left, `diadbench run {run.path}` goes on"))
    return _code(found)


def _goes_on(run: RunDirectory, found: list[dict[str, Any]]) -> bool:
    """Whether a cell runs, or an unfinished cell is left and a runner is present that may take it."""
    states = {entry["state"] for entry in found}
    return "running" in states or (bool(states & {"waiting", "killed"}) and somebody_is_at_work(run.path) is not False)


def _code(found: list[dict[str, Any]]) -> int:
    return 1 if any(entry["state"] in FAILED for entry in found) else 0


def table(run: RunDirectory, found: list[dict[str, Any]], most: int | None = None) -> Table:
    """Return the states as a rich table with a count at its head.

    If there are more than ``most`` cells, running and failed ones come first and a last line counts the rest.
    """
    counts = Counter(entry["state"] for entry in found)
    title = f"{run.path}: " + ", ".join(f"{count} {state}" for state, count in counts.items())
    made = Table(title=Text(title), title_justify="left", box=None, pad_edge=False, header_style="bold")
    for name in ("dataset", "method", "setting", "seed", "state", "time", ""):
        made.add_column(name, overflow="fold")
    shown = found if most is None or len(found) <= most else sorted(found, key=_interest)[: max(most, 1)]
    for entry in shown:
        made.add_row(
            Text(entry["dataset"]),
            Text(entry["method"]),
            entry["setting"],
            str(entry["seed"]),
            Text(entry["state"], style=STYLES.get(entry["state"], "red")),
            clock(entry["seconds"]),
            Text(_remark(entry)),
        )
    captions = [note] if (note := left_over_note(run)) else []
    if len(shown) < len(found):
        captions.insert(0, f"and {len(found) - len(shown)} more; --every prints them all")
    made.caption, made.caption_justify = Text("\n".join(captions)) if captions else None, "left"
    return made


def _interest(entry: dict[str, Any]) -> int:
    """Return the rank of a state in a long list: running, failed, waiting, done."""
    return {"running": 0, "waiting": 2, "skipped": 3, "done": 4}.get(entry["state"], 1)


def _remark(entry: dict[str, Any]) -> str:
    if entry["state"] != "running":
        return str(entry["reason"])
    progress = entry.get("progress") or {}
    if entry["reason"]:
        return str(entry["reason"])
    text = f"{progress.get('what', 'starts')} {progress.get('done', 0)}/{progress.get('total', '?')}"
    return text + (f", {clock(entry['eta'])} left" if entry.get("eta") is not None else "")


def clock(seconds: float | None) -> str:
    """Return ``1:02:03`` or ``2:03`` for seconds; ``""`` for none."""
    if seconds is None:
        return ""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
