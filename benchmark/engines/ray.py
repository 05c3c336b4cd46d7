"""The Ray engine: cells as Ray tasks, on this machine or on a cluster."""

from __future__ import annotations

import contextlib
import dataclasses
import uuid
from pathlib import Path
from typing import Any

import ray
from filelock import FileLock, Timeout
from ray import exceptions

from diadbench.benchmark.engines.base import Engine, Job, Outcome
from diadbench.benchmark.engines.process import GRACE
from diadbench.benchmark.engines.ray_cluster import (
    connect,
    described,
    largest_node,
    live_nodes,
    on_node,
    slots_for,
    total_of,
)
from diadbench.benchmark.engines.ray_tasks import ComingResults, cancel_tasks, run_as_task, sees
from diadbench.benchmark.engines.remote import Arrival, head, last_line, listing, parts, read_piece, user_files
from diadbench.benchmark.records.store import CellRecord
from diadbench.common.errors import UserError
from diadbench.common.processes.held import LOOKED_AT

#: Seconds within which all nodes have to report whether they see the run directory.
PROBE = 120.0


class RayEngine(Engine):
    """Runs each cell as a Ray task that watches the cell's process on its node.

    A worker or a node that dies costs the task one retry. Nodes that see the run directory (a shared file system) work
    in it. For a node that doesn't see it, the cell's directory is sent to the node and returned with the results, in
    pieces of a few MiB.

    Args:
        jobs: Number of cells that run at the same time. ``None``: as many as the nodes have GPUs for, or one per node.
        address: A cluster's address (``auto``, ``ray://host:10001``, ``host:6379``); ``None`` starts Ray here.
        retries: How often a cell is tried again after its worker or node died.
        autoscaling: Ask for more resources than any node has now, for clusters that grow on demand.
        init: Further keyword arguments of ``ray.init`` (``num_cpus``, ``runtime_env``).

    Raises:
        UserError: There is no cluster at the address.
    """

    def __init__(
        self,
        jobs: int | None = None,
        address: str | None = None,
        retries: int = 3,
        autoscaling: bool = False,
        init: dict[str, Any] | None = None,
    ) -> None:
        self._own = not ray.is_initialized()
        if self._own:
            connect(address, init or {})
        self._retries = retries
        self._autoscaling = autoscaling
        self._jobs = jobs
        self.slots = jobs if jobs is not None else slots_for(1)
        self._cores = int(total_of("CPU"))
        self._tasks: dict[Any, Job] = {}
        self._coming: dict[Any, ComingResults] = {}
        self._losses: dict[Path, int] = {}
        self._ended: list[Outcome] = []
        self._locks: dict[Path, FileLock] = {}
        self._token: Path | None = None
        self._apart = False

    def share_out(self, gpus: int, named: int | None = None) -> None:
        """Set the number of slots from the number of GPUs of a cell; its GPUs have to be on one node."""
        self.slots = self._jobs if self._jobs is not None else slots_for(gpus)

    def threads(self) -> int:
        """Return the number of the cluster's cores per slot."""
        return max(self._cores // self.slots, 1)

    def submit(self, job: Job) -> None:
        """Queue the job as a Ray task. Raises UserError when no node is large enough."""
        token = self._token or self._look_around(job.cell.parents[4])
        if self._apart and not self._lock(job):
            self._ended.append(Outcome(job, "busy"))
            return
        task = ray.remote(run_as_task).options(
            **self._needs(job), max_retries=self._retries, name=f"diadbench {job.cell.parents[2].name}"
        )
        sent = [head(job.cell)]
        kept = [ray.put(read_piece(job.cell, *part)) for part in parts(listing(job.cell))] if self._apart else []
        self._tasks[task.remote(job, token, sent, kept, user_files(job.cell))] = job

    def poll(self) -> list[Outcome]:
        """Return the jobs that have ended since the last call. Each call fetches one piece of every remote result."""
        ended, self._ended = self._ended, []
        pending = [*self._tasks, *self._coming]
        if pending:
            ready, _ = ray.wait(pending, num_returns=len(pending), timeout=0.05)
            for task in ready:
                found = self._piece(task) if task in self._coming else self._outcome(task, self._tasks.pop(task))
                ended += [found] if found is not None else []
        return ended

    def cancel(self) -> None:
        """Cancel all tasks, give their cells time to write checkpoints, and shut Ray down if this engine started it."""
        cancel_tasks(list(self._tasks))
        self._tasks = {}
        gone = [coming.leave() for coming in self._coming.values()]
        if gone:
            ray.wait(gone, num_returns=len(gone), timeout=GRACE)
        self._coming = {}
        for lock in self._locks.values():
            lock.release()
        if self._token is not None:
            self._token.unlink(missing_ok=True)
        if self._own:
            ray.shutdown()

    def _needs(self, job: Job) -> dict[str, Any]:
        cores = max((int(node["Resources"].get("CPU", 0)) for node in live_nodes()), default=1)
        cpus = max(job.threads if self._autoscaling else min(job.threads, cores), 1)
        needs: dict[str, Any] = {"num_cpus": cpus, "num_gpus": job.gpus}
        if job.memory_limit:
            needs["memory"] = int(job.memory_limit)
        wanted = {"CPU": needs["num_cpus"], "GPU": needs["num_gpus"], "memory": needs.get("memory", 0)}
        fits = any(
            all(node["Resources"].get(key, 0) >= value for key, value in wanted.items()) for node in live_nodes()
        )
        if not (fits or self._autoscaling):
            instead = " (or set device: cpu)" if job.gpus and not total_of("GPU") else ""
            message = f"no node has {described(wanted)}, which a cell asks for; {largest_node()}{instead}"
            raise UserError(f"engine 'ray': {message}")
        return needs

    def _look_around(self, run_directory: Path) -> Path:
        """Write a token into the run directory and find out whether every node sees it."""
        self._token = token = run_directory.absolute() / f".seen-{uuid.uuid4().hex}"
        token.touch()
        asked = [
            ray.remote(sees).options(num_cpus=0, scheduling_strategy=on_node(node["NodeID"])).remote(token)
            for node in live_nodes()
        ]
        answered, silent = ray.wait(asked, num_returns=len(asked), timeout=PROBE)
        for task in silent:
            ray.cancel(task, force=True)
        with contextlib.suppress(exceptions.RayError):  # A node that dies now is handled by the task's retries.
            self._apart = not all(ray.get(answered))
        return token

    def _lock(self, job: Job) -> bool:
        """Hold the lock of a cell that runs elsewhere, so that a second runner on this directory sees it as busy."""
        lock = CellRecord(job.cell).lock()
        try:
            lock.acquire(timeout=LOOKED_AT, poll_interval=0.02)
        except Timeout:
            return False
        self._locks[job.cell] = lock
        return True

    def _outcome(self, task: Any, job: Job) -> Outcome | None:
        """Return how a task ended; ``None`` while its results still have to be copied from another machine."""
        try:
            outcome, place = ray.get(task)
        except exceptions.OutOfMemoryError as error:
            message = f"Ray ended it, its node was out of memory: {last_line(error)}"
            return self._end(job, Outcome(job, "oom", message))
        except exceptions.RayError as error:
            what = type(error).__name__
            message = f"Ray gave up after {self._retries} retries ({what}: {last_line(error)})"
            return self._end(job, Outcome(job, "died", message))
        if place is None:
            return self._end(job, dataclasses.replace(outcome, job=job))
        coming = ComingResults(job, outcome, place, Arrival(job.cell))
        self._coming[coming.next()] = coming
        return None

    def _piece(self, task: Any) -> Outcome | None:
        """Receive one piece of remote results; return the outcome with the last one."""
        coming = self._coming.pop(task)
        try:
            coming.arrival.take(ray.get(task))
        except exceptions.RayError as error:
            coming.arrival.forget()
            return self._end(coming.job, self._lost(coming.job, error))
        if (following := coming.next()) is not None:
            self._coming[following] = coming
            return None
        coming.arrival.finish()
        coming.leave()
        return self._end(coming.job, dataclasses.replace(coming.outcome, job=coming.job))

    def _lost(self, job: Job, error: Exception) -> Outcome:
        """Handle a node that was lost with its results: the runner submits the job again, up to ``retries`` times."""
        self._losses[job.cell] = self._losses.get(job.cell, 0) + 1
        if self._losses[job.cell] <= self._retries:
            return Outcome(job, "busy")
        return Outcome(job, "died", f"its results were lost {self._losses[job.cell]} times: {last_line(error)}")

    def _end(self, job: Job, outcome: Outcome) -> Outcome:
        lock = self._locks.pop(job.cell, None)
        if lock is not None:
            lock.release()
        return outcome
