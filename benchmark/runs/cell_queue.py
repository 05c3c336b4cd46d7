"""The cells of a run that have not ended: hand them to an engine until all have, and record how each ends."""

from __future__ import annotations

import time
from collections import deque
from pathlib import Path

from diadbench.benchmark.engines.base import Engine, Job
from diadbench.benchmark.engines.gpus import named_gpu
from diadbench.benchmark.planning.forecast import remember
from diadbench.benchmark.planning.plan import Plan, PlannedCell
from diadbench.benchmark.planning.threads import gpus_of_a_cell
from diadbench.benchmark.records.identity import is_wanted
from diadbench.benchmark.records.store import ENDED, FAILED, CellRecord
from diadbench.benchmark.runs.cell_writing import fresh, record_end, write_cell
from diadbench.benchmark.runs.directory_opening import disk_errors
from diadbench.benchmark.runs.follower import Follower
from diadbench.benchmark.runs.notify import Notifier
from diadbench.benchmark.runs.watch import Watch


class Queue:
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
            record = fresh(planned)
            if record.locked() or self._is_over(record, planned):
                self.elsewhere.append(planned)
                continue
            write_cell(planned)
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
            and is_wanted(status, planned.wanted)
            and status.get("attempt", 1) >= planned.config.get("attempt", 1)
            and status.get("finished", 0.0) >= self.started
        )

    def look_elsewhere(self) -> list[PlannedCell]:
        """Return cells that another runner has ended; queue those again that it left unfinished."""
        ended, still = [], []
        for planned in self.elsewhere:
            record = fresh(planned)
            if record.locked():
                still.append(planned)
            elif self._is_over(record, planned):
                ended.append(planned)
            else:
                self.waiting.append(planned)
        self.elsewhere = still
        return ended


def work_off(queue: Queue, watch: Watch, notifier: Notifier, follower: Follower) -> bool:
    """Drive the engine until every one of the cells has ended. Returns whether Ctrl-C or SIGTERM came."""
    plan, engine = queue.plan, queue.engine
    last_look = time.monotonic()
    try:
        with disk_errors(plan.directory.path), plan.directory.recording() as add, engine:
            while not queue.over:
                if queue.fill():
                    follower.changed()
                for outcome in engine.poll():
                    planned = queue.under_way.pop(outcome.job.cell)
                    if outcome.state == "busy" or not record_end(planned, outcome, queue.started):
                        queue.elsewhere.append(planned)
                    elif fresh(planned).state == "oom" and _retry(plan, planned):
                        queue.waiting.append(planned)
                    else:
                        ended = fresh(planned)
                        remember(ended)
                        add(ended)
                        watch.ended(ended)
                        follower.changed()
                        if ended.state in FAILED:
                            notifier.cell_failed(ended)
                for planned in queue.look_elsewhere():
                    watch.ended(fresh(planned))
                    follower.changed()
                if time.monotonic() - last_look > max(0.5, len(queue.under_way) / 1000):  # a cluster takes thousands
                    watch.look([fresh(planned) for planned in (*queue.under_way.values(), *queue.elsewhere)])
                    last_look = time.monotonic()
                time.sleep(0.05)
    except KeyboardInterrupt:
        return True
    return False


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
        config["batch_by_memory"] = False
    return True
