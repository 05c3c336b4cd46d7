"""Run a grid: plan, prepare, hand cells to an engine, record how each ends, collect the results."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from diadbench.benchmark.engines.base import Engine
from diadbench.benchmark.engines.gpus import named_gpu
from diadbench.benchmark.planning.forecast import in_turn, within_budget
from diadbench.benchmark.planning.grid import Grid
from diadbench.benchmark.planning.plan import MissingRule, Overwrite, PlannedCell, make_plan
from diadbench.benchmark.planning.planned import summary
from diadbench.benchmark.planning.threads import gpus_of_a_cell
from diadbench.benchmark.records.store import FAILED, RunDirectory
from diadbench.benchmark.runs.cell_queue import Queue, work_off
from diadbench.benchmark.runs.directory_opening import disk_errors, open_directory
from diadbench.benchmark.runs.follower import Follower, Nobody
from diadbench.benchmark.runs.notify import Notifier
from diadbench.benchmark.runs.presence import at_work
from diadbench.benchmark.runs.status import states_of
from diadbench.benchmark.runs.watch import Watch
from diadbench.common.errors import UserError
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
            queue = Queue(plan, in_turn(cells, plan.grid.first), engine, started)
            with at_work(directory.path):
                interrupted = work_off(queue, watch, notifier, follower) if cells else False
        except UserError:
            notifier.over("failed", failed=0)
            raise
    if cells or not directory.results_are_current():
        with disk_errors(directory.path):
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
