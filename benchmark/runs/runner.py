"""Run a grid: plan, prepare, hand cells to an engine, record how each ends, collect the results."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import time
from collections import Counter, deque
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from filelock import Timeout

from diadbench.benchmark.cells.provenance import host
from diadbench.benchmark.engines.base import Engine, Job, Outcome
from diadbench.benchmark.engines.gpus import named_gpu
from diadbench.benchmark.planning.forecast import in_turn, remember, within_budget
from diadbench.benchmark.planning.grid import Grid
from diadbench.benchmark.planning.kept_code import with_kept_code
from diadbench.benchmark.planning.paths import inside_relative
from diadbench.benchmark.planning.plan import MissingRule, Overwrite, Plan, PlannedCell, make_plan
from diadbench.benchmark.planning.planned import summary
from diadbench.benchmark.planning.takeover import take_over
from diadbench.benchmark.planning.threads import gpus_of_a_cell
from diadbench.benchmark.records.store import ENDED, FAILED, CellRecord, RunDirectory
from diadbench.benchmark.runs.follower import Follower, Nobody
from diadbench.benchmark.runs.notify import Notifier
from diadbench.benchmark.runs.presence import at_work
from diadbench.benchmark.runs.status import states_of
from diadbench.benchmark.runs.watch import Watch
from diadbench.common.errors import UserError
from diadbench.common.files import write_json, write_text
from diadbench.common.processes.interrupt import as_ctrl_c
from diadbench.common.processes.systems import need_posix

if TYPE_CHECKING:
    import pandas as pd


@dataclass
class Run:
    """A run of a grid, over or interrupted.

    Attributes:
        directory: The run directory.
        states: State of each cell of the grid, by its labels.
        interrupted: Whether Ctrl-C or SIGTERM ended the run.
    """

    directory: RunDirectory
    states: dict[tuple[str, str, str, int], str] = field(default_factory=dict)
    interrupted: bool = False

    @property
    def path(self) -> Path:
        """Path of the run directory."""
        return self.directory.path

    @property
    def failed(self) -> list[tuple[str, str, str, int]]:
        """Labels of the cells that failed."""
        return [key for key, state in self.states.items() if state in FAILED]

    def left_out(self) -> list[str]:
        """Return the reasons of skipped cells, each once, with the number of its cells."""
        skipped = [key for key, state in self.states.items() if state == "skipped"]
        reasons = Counter(str(self.directory.as_wanted(key).status["reason"]) for key in skipped)
        return [f"{count} cell{'' if count == 1 else 's'}: {reason}" for reason, count in reasons.items()]

    def results(self) -> pd.DataFrame:
        """Return the results in long form, one row a (cell, class, metric)."""
        return self.directory.results()


def run_grid(
    grid: Grid,
    out: Path | str | None = None,
    *,
    overwrite: Overwrite = "failed",
    engine: Engine | None = None,
    budget: str | None = None,
    quiet: bool = False,
    only: Collection[str] = (),
    skip_missing: bool = False,
    follower: Follower | None = None,
) -> Run:
    """Run all cells of a grid that have to run, and write ``results.csv``.

    Args:
        grid: The checked grid.
        out: The run directory; ``runs/<name>`` by default. One that exists is continued.
        overwrite: What is run again, see :func:`~diadbench.benchmark.planning.plan.make_plan`.
        engine: Where cells run; by default what the grid names.
        budget: Run only cells that are predicted to fit into this wall time (``24h``).
        quiet: Print nothing.
        only: Labels of methods and datasets whose cells are run; the others wait.
        skip_missing: Run what is there; cells whose data or packages aren't are ``skipped``, with the reason.
        follower: Is told when the run begins and when a cell has begun or ended, as a page that grows is.

    Raises:
        UserError: The input is wrong; no cell has run. A failing cell raises nothing: look at the result.
    """
    need_posix("diadbench run")
    with as_ctrl_c():
        return _run_grid(
            grid,
            out,
            overwrite,
            engine,
            budget,
            quiet=quiet,
            only=only,
            skip_missing=skip_missing,
            follower=follower or Nobody(),
        )


def _run_grid(
    grid: Grid,
    out: Path | str | None,
    overwrite: Overwrite,
    engine: Engine | None,
    budget: str | None,
    *,
    quiet: bool,
    only: Collection[str],
    skip_missing: bool,
    follower: Follower,
) -> Run:
    started = time.time()
    directory = RunDirectory(out if out is not None else Path("runs") / grid.name, must_exist=False)
    notifier = Notifier(grid.notify, str(directory.path.absolute()))
    with Watch(quiet=quiet) as watch:
        rule: MissingRule = "skip" if skip_missing else "refuse"
        plan = make_plan(grid, directory, overwrite, watch.step, only=only, missing=rule)
        plan = open_directory(plan)
        engine = engine or make_engine(grid)
        engine.share_out(gpus_of_a_cell(plan.grid, plan.compute), named_gpu(plan.grid.device))
        cells = within_budget(plan.pending, budget, engine.at_once) if budget else plan.pending
        try:
            if cells:
                watch.say(follower.begin(directory.path))
            prepare(cells, watch)
            watch.start(len(cells), summary(plan.cells, cells), directory.path)
            queue = _Queue(plan, in_turn(cells, plan.grid.first), engine, started)
            with at_work(directory.path):
                interrupted = _work(queue, watch, notifier, follower) if cells else False
        except UserError:
            notifier.over("failed", failed=0)
            raise
    if cells or not directory.results_are_current():
        with _disk(directory.path):
            directory.write_results()
    run = Run(directory, states_of(directory), interrupted)
    if plan.pending:
        event = "interrupted" if run.interrupted else "failed" if run.failed else "done"
        notifier.over(event, len(run.failed))
    return run


def make_engine(grid: Grid) -> Engine:
    """Return the engine that the grid names. Raises UserError when its package is missing."""
    from diadbench.benchmark.engines import make

    return make(grid.engine, jobs=grid.jobs, **grid.engine_options)


def prepare(cells: list[PlannedCell], watch: Watch) -> None:
    """Decode every image that the cells will need, before any of them runs. Raises UserError."""
    wanted: dict[Any, dict[str, Any]] = {}
    for planned in cells:
        config = planned.config
        channels = tuple(config["method_info"]["channels"])
        sizes = tuple(config["image_size"]), tuple(config["evaluation_size"])
        key = (config["fingerprint"], sizes, config["resize"], channels)
        wanted.setdefault(key, config)
    if not wanted:
        return
    from diadbench import datasets
    from diadbench.benchmark.cells.cell import open_data
    from diadbench.benchmark.metrics import get_protocol

    for config in wanted.values():
        dataset = datasets.get(config["dataset"], config["root"], **config["dataset_options"])
        open_data(dataset, config, get_protocol(config["protocol"]).mask_rule, watch.step)


def open_directory(plan: Plan) -> Plan:
    """Write ``grid.yaml``, ``plan.json`` and ``environment.json``, and move cells whose labels have changed.

    Returns the plan; a cell that could not be moved has to run.
    """
    path = plan.directory.path
    with _disk(path):
        path.mkdir(parents=True, exist_ok=True)
        text = plan.grid.to_yaml(path)
        if not (path / "grid.yaml").is_file() or (path / "grid.yaml").read_text(encoding="utf-8") != text:
            write_text(path / "grid.yaml", text)
        if plan.pending or not (path / "environment.json").is_file():
            about = {**host(), "seeds": plan.grid.seeds, "threads": plan.compute["threads"]}
            write_json(path / "environment.json", about)
        plan.directory.keep(plan.to_keep())
        plan = dataclasses.replace(plan, cells=with_kept_code(plan.cells, path))
        renamed = [planned for planned in plan.cells if planned.source is not None]
        left = take_over(renamed, path) if renamed else []
        for planned in plan.cells:
            if planned.missing:
                _skip(planned)
    again = {planned.cell.key: dataclasses.replace(planned, run=True, why="new", source=None) for planned in left}
    return dataclasses.replace(plan, cells=[again.get(planned.cell.key, planned) for planned in plan.cells])


def _skip(planned: PlannedCell) -> None:
    """Write the status of a cell whose data or packages are missing, unless another process has the cell."""
    planned.record.directory.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(Timeout), planned.record.hold():
        _write_cell(planned)
        planned.record.write_status(**_head(planned), state="skipped", reason=planned.missing, finished=time.time())


@contextlib.contextmanager
def _disk(path: Path) -> Iterator[None]:
    """Report in one line that the run directory can't be written, since no cell can then end."""
    try:
        yield
    except OSError as error:
        if error.errno not in (
            errno.ENOSPC,
            errno.EDQUOT,
            errno.EROFS,
            errno.EACCES,
            errno.EPERM,
            errno.EIO,
            errno.ENOTDIR,
        ):
            raise
        raise UserError(
            f"run directory {path}: can't be written ({error.strerror}); mend that and the same command goes on, "
            "or choose another with --out"
        ) from error


class _Queue:
    """Cells that have not ended, with their state."""

    def __init__(self, plan: Plan, cells: list[PlannedCell], engine: Engine, started: float) -> None:
        self.waiting = deque(cells)
        self.elsewhere: list[PlannedCell] = []
        self.under_way: dict[Path, PlannedCell] = {}
        self.plan = plan
        self.engine = engine
        self._threads = plan.compute["threads"] or engine.threads()
        self._gpus = gpus_of_a_cell(plan.grid, plan.compute)
        self.started = started

    @property
    def over(self) -> bool:
        """Whether all cells have ended."""
        return not (self.waiting or self.elsewhere or self.under_way)

    def fill(self) -> int:
        """Submit cells while the engine has slots; return how many. Cells that another runner holds are put aside."""
        submitted = 0
        while self.waiting and len(self.under_way) < self.engine.slots:
            planned = self.waiting.popleft()
            record = _fresh(planned)
            if record.locked() or self._is_over(record, planned):
                self.elsewhere.append(planned)
                continue
            _write_cell(planned)
            self.engine.submit(self._job(planned))
            self.under_way[planned.record.directory] = planned
            submitted += 1
        return submitted

    def _job(self, planned: PlannedCell) -> Job:
        config = planned.config
        # a result that another runner finishes from now on counts; an older one was judged by the plan
        since = self.started if planned.why == "overwrite" else 0.0
        return Job(
            planned.record.directory,
            since=since,
            time_limit=config["time_limit"],
            memory_limit=config["memory_limit"],
            threads=self._threads,
            gpus=self._gpus,
            named=named_gpu(config["device"]),
        )

    def _is_over(self, record: CellRecord, planned: PlannedCell) -> bool:
        """Whether another runner has ended this try of the cell since the plan was made."""
        status = record.status
        return (
            status["state"] in ENDED
            and status.get("identity") == planned.config["identity"]
            and status.get("attempt", 1) >= planned.config.get("attempt", 1)
            and status.get("finished", 0.0) >= self.started
        )

    def look_elsewhere(self) -> list[PlannedCell]:
        """Return cells that another runner has ended; queue those again that it left unfinished."""
        ended, still = [], []
        for planned in self.elsewhere:
            record = _fresh(planned)
            if record.locked():
                still.append(planned)
            elif self._is_over(record, planned):
                ended.append(planned)
            else:
                self.waiting.append(planned)
        self.elsewhere = still
        return ended


def _work(queue: _Queue, watch: Watch, notifier: Notifier, follower: Follower) -> bool:
    """Drive the engine until every one of the cells has ended. Returns whether Ctrl-C or SIGTERM came."""
    plan, engine = queue.plan, queue.engine
    last_look = time.monotonic()
    try:
        with _disk(plan.directory.path), plan.directory.recording() as add, engine:
            while not queue.over:
                if queue.fill():
                    follower.changed()
                for outcome in engine.poll():
                    planned = queue.under_way.pop(outcome.job.cell)
                    if outcome.state == "busy" or not _record(planned, outcome, queue.started):
                        queue.elsewhere.append(planned)
                    elif _fresh(planned).state == "oom" and _retry(plan, planned):
                        queue.waiting.append(planned)
                    else:
                        ended = _fresh(planned)
                        remember(ended)
                        add(ended)
                        watch.ended(ended)
                        follower.changed()
                        if ended.state in FAILED:
                            notifier.cell_failed(ended)
                for planned in queue.look_elsewhere():
                    watch.ended(_fresh(planned))
                    follower.changed()
                if time.monotonic() - last_look > max(0.5, len(queue.under_way) / 1000):  # a cluster takes thousands
                    watch.look([_fresh(planned) for planned in (*queue.under_way.values(), *queue.elsewhere)])
                    last_look = time.monotonic()
                time.sleep(0.05)
    except KeyboardInterrupt:
        return True
    return False


def _record(planned: PlannedCell, outcome: Outcome, since: float) -> bool:
    """Write the status of a process that couldn't write its own. Returns False if another process has the cell now."""
    if outcome.state == "ended":
        return True
    try:
        with planned.record.hold():
            status = _fresh(planned).status
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


def _retry(plan: Plan, planned: PlannedCell) -> bool:
    """Prepare a second try if the grid allows it.

    Training batches are divided in two and their gradients summed; test batches are halved where the method's result
    doesn't depend on them.
    """
    config = planned.config
    if not plan.grid.retry_oom or config.get("attempt", 1) > 1:
        return False
    info = config["method_info"]
    if not (info.get("batch_invariant") or info.get("supports_ddp")):
        return False
    config["attempt"] = 2
    if info.get("batch_invariant"):
        config["batch_size"] = max(config["batch_size"] // 2, 1)
    return True


def _write_cell(planned: PlannedCell) -> None:
    planned.record.directory.mkdir(parents=True, exist_ok=True)
    config = inside_relative(planned.config)
    write_text(planned.record.directory / "cell.yaml", yaml.safe_dump(config, sort_keys=False, allow_unicode=True))


def _fresh(planned: PlannedCell) -> CellRecord:
    """Return a new record of the present files, because records cache what they have read."""
    return dataclasses.replace(planned.record)
