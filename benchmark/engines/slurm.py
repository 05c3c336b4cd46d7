"""The SLURM engine: cells as tasks of job arrays, by submitit."""

from __future__ import annotations

import contextlib
import signal
import time
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import psutil
import submitit
from submitit.helpers import DelayedSubmission

from diadbench.benchmark.engines.base import Engine, Job, Outcome, State
from diadbench.benchmark.engines.gpus import Gpus, environment_for, visible_gpus
from diadbench.benchmark.engines.process import GRACE, CellProcess
from diadbench.benchmark.engines.remote import in_batches, last_line, wait
from diadbench.benchmark.planning.grid import parse_memory, parse_time
from diadbench.common.errors import UserError
from diadbench.common.processes.interrupt import listening

#: Lightning treats a job of this name as interactive, and then leaves processes and signals to this project.
QUIET_LIGHTNING = {"SLURM_JOB_NAME": "interactive"}
#: Seconds that a result file may take to appear on a shared file system after its job has ended.
LATE = 15.0
#: Number of cells that the runner hands over at once if SLURM queues them.
QUEUED = 100_000
#: SLURM's state of a job that ended without a result -> this project's state
STATES: dict[str, State] = {"OUT_OF_MEMORY": "oom", "TIMEOUT": "timeout"}


class SlurmEngine(Engine):
    """Submit cells as job arrays. Preempted and timed-out tasks are queued again and resume from their checkpoints.

    Queued cells outlive a runner that is killed. A later run of the same command reads the results of those that have
    finished and waits for those that still run.

    Args:
        jobs: Number of cells that run at the same time, over the tasks of all arrays; ``None``: as many as the cluster
            allows. A single array gets this limit as its own. Further cells wait here until its tasks end.
        partition: Partition.
        account: Account.
        qos: Quality of service.
        time: Wall time of a task (``24h``). A cell that needs longer resumes from its checkpoint.
        cpus: CPU cores of a task; ``None``: the cell's threads.
        memory: Memory of a task (``32GB``); ``None``: the cell's memory limit, or the partition's default.
        requeues: How often a task may run out of ``time`` and go on.
        array_size: Tasks of one array (SLURM's MaxArraySize is 1001 by default).
        cluster: ``slurm``, or ``local``: submitit's processes on this machine, for testing.
        more: Further sbatch settings, as submitit names them: ``{constraint: a100, additional_parameters: {...}}``.

    Raises:
        UserError: No SLURM here, or a wrong value.
    """

    def __init__(
        self,
        jobs: int | None = None,
        partition: str | None = None,
        account: str | None = None,
        qos: str | None = None,
        time: str = "24h",
        cpus: int | None = None,
        memory: str | None = None,
        requeues: int = 100,
        array_size: int = 1000,
        cluster: Literal["slurm", "local"] = "slurm",
        more: dict[str, Any] | None = None,
    ) -> None:
        chosen = {"slurm_partition": partition, "slurm_account": account, "slurm_qos": qos}
        self._settings = {key: value for key, value in chosen.items() if value is not None}
        self._settings |= {f"slurm_{key}": value for key, value in (more or {}).items()}
        self._minutes = max(int((parse_time(time, "engine_options.time") or 0) // 60), 1)
        self._memory = parse_memory(memory, "engine_options.memory")
        self._cpus = cpus
        self._cap = jobs
        self._requeues = requeues
        self._array_size = array_size
        self._cluster = cluster
        self._gpus = Gpus(visible_gpus() if cluster == "local" else [])
        # A cluster has its own queue, so all cells are submitted at once; the local executor has none.
        self.slots = QUEUED if cluster == "slurm" else jobs or self._gpus.slots(1)
        self._waiting: list[Job] = []
        self._tasks: list[tuple[submitit.Job[Outcome], Job]] = []
        self._arrays: list[_Array] = []
        self._given: dict[Path, list[str]] = {}
        self._gone: dict[str, float] = {}
        self._last_look = 0.0
        if cluster == "slurm" and submitit.SlurmExecutor.affinity() < 0:
            raise UserError(
                "engine 'slurm': no sbatch and srun on this machine; run on the cluster's login node, "
                "or try with engine_options.cluster=local"
            )

    @property
    def at_once(self) -> int | None:
        """Return ``jobs``; ``None`` if SLURM decides."""
        return self._cap if self._cluster == "slurm" else self.slots

    def share_out(self, gpus: int, named: int | None = None) -> None:
        """Set the slots of submitit's local executor, which distributes no GPUs. Raises UserError for too few GPUs."""
        if self._cluster == "local":
            self.slots = self._cap or self._gpus.slots(gpus)

    def threads(self) -> int:
        """Return the cores of a task."""
        return self._cpus or (4 if self._cluster == "slurm" else super().threads())

    def submit(self, job: Job) -> None:
        """Add the job to those that the next :meth:`poll` submits as arrays."""
        self._waiting.append(job)

    def poll(self) -> list[Outcome]:
        """Submit the waiting jobs; return the jobs that have ended since the last call."""
        self._send_what_fits()
        now = time.monotonic()
        if now - self._last_look < (2.0 if self._cluster == "slurm" else 0.1):
            return []
        self._last_look = now
        looked = [(task, job, self._outcome(task, job)) for task, job in self._tasks]
        self._tasks = [(task, job) for task, job, outcome in looked if outcome is None]
        for _, job, outcome in looked:
            if outcome is not None:
                self._gpus.give_back(self._given.pop(job.cell, []))
        return [outcome for _, _, outcome in looked if outcome is not None]

    def cancel(self) -> None:
        """Cancel all queued and running jobs at once; SLURM ends its jobs gracefully, local ones are ended here."""
        self._waiting = []
        tasks, self._tasks = [task for task, _ in self._tasks], []
        if self._cluster == "local":
            _end_here(tasks)
            return
        for task in tasks:
            task.cancel(check=False)

    def _send_what_fits(self) -> None:
        """Submit waiting jobs as arrays that together run no more cells at once than the limit allows.

        The limit of an array can't be changed later. So the first array gets all of it, and later ones get no more
        tasks than its last tasks leave free.
        """
        batches = deque(in_batches(self._waiting, self._array_size))
        self._waiting = []
        while batches:
            jobs = batches.popleft()
            free = self._free()
            now, later = (jobs, []) if self._cap is None or free == self._cap else (jobs[:free], jobs[free:])
            if now:
                parallel = min(len(now), free)
                self._arrays.append(_Array(self._send(now, parallel), parallel))
            self._waiting += later

    def _free(self) -> int:
        """Return how many more cells may run at once, whichever of its tasks SLURM starts."""
        if self._cap is None:
            return QUEUED
        under_way = {id(task) for task, _ in self._tasks}
        self._arrays = [array for array in self._arrays if array.left(under_way)]
        return max(self._cap - sum(min(array.parallel, array.left(under_way)) for array in self._arrays), 0)

    def _send(self, jobs: list[Job], parallel: int) -> list[submitit.Job[Outcome]]:
        first = jobs[0]
        executor = submitit.AutoExecutor(
            first.cell.absolute().parents[4] / "slurm", cluster=self._cluster, slurm_max_num_timeout=self._requeues
        )
        settings: dict[str, Any] = {
            "name": "diadbench",
            "timeout_min": self._minutes,
            "cpus_per_task": self._cpus or max(first.threads, 1),
            "slurm_array_parallelism": parallel,
            **self._settings,
        }
        if first.gpus:
            settings["gpus_per_node"] = first.gpus
        memory = self._memory or (first.memory_limit and first.memory_limit * 1.1)
        if memory:
            settings["mem_gb"] = memory / 1024**3
        try:
            executor.update_parameters(**settings)
            tasks: list[submitit.Job[Outcome]] = executor.submit_array([self._task(job) for job in jobs])
        except (NameError, TypeError, ValueError, submitit.core.utils.FailedJobError) as error:
            raise UserError(f"engine 'slurm': {last_line(error)}") from error
        self._tasks += zip(tasks, jobs, strict=True)
        return tasks

    def _task(self, job: Job) -> CellTask:
        """Return the task for the node. submitit's local executor names GPUs from 0 on, so the names are set here."""
        self._given[job.cell] = names = self._gpus.take(job.gpus)
        return CellTask(job, environment_for(names), ends_by_sigterm=self._cluster == "local")

    def _outcome(self, task: submitit.Job[Outcome], job: Job) -> Outcome | None:
        extra = {"slurm_job": task.job_id}
        if task.paths.result_pickle.exists():
            try:
                found = task.result()
            except (submitit.core.utils.FailedJobError, submitit.core.utils.UncompletedJobError) as error:
                return Outcome(job, "died", f"SLURM job {task.job_id}: {last_line(error)}", extra=extra)
            return Outcome(job, found.state, found.reason, found.peak_bytes, extra)
        if not task.done():
            return None
        since = self._gone.setdefault(task.job_id, time.monotonic())
        if time.monotonic() - since < (LATE if self._cluster == "slurm" else 0.5):
            return None
        state = str(task.state)
        return Outcome(job, STATES.get(state.split(" ")[0], "died"), f"SLURM job {task.job_id}: {state}", extra=extra)


@dataclass(frozen=True)
class _Array:
    """The tasks of an array, and how many of them SLURM runs at once."""

    tasks: list[submitit.Job[Outcome]]
    parallel: int

    def left(self, under_way: set[int]) -> int:
        return sum(id(task) in under_way for task in self.tasks)


def _end_here(tasks: list[submitit.Job[Outcome]]) -> None:
    """End the processes of submitit's local executor: SIGTERM repeatedly, then SIGKILL for those that remain.

    submitit itself would send SIGINT, which processes started in the background ignore. It passes SIGTERM on, but a
    task that is about to start its cell may not handle signals yet, so the signal is sent again.
    """
    processes: list[Any] = [task._process for task in tasks if task._process is not None]  # type: ignore[attr-defined]
    until = time.monotonic() + GRACE + 2
    while (left := [process for process in processes if process.poll() is None]) and time.monotonic() < until:
        for process in left:
            process.send_signal(signal.SIGTERM)
        time.sleep(0.25)
    for process in left:
        _kill_tree(process.pid)
        process.wait()


def _kill_tree(pid: int) -> None:
    with contextlib.suppress(psutil.Error):
        process = psutil.Process(pid)
        for one in [process, *process.children(recursive=True)]:
            with contextlib.suppress(psutil.Error):
                one.kill()


class CellTask:
    """Run and watch the cell's process on the node. submitit calls :meth:`checkpoint` before a preemption.

    Args:
        job: The cell's job.
        environment: Environment variables for its process.
        ends_by_sigterm: Let SIGTERM to this process end the cell. SLURM also sends SIGTERM to the cell's process, and
            submitit ignores it, because it waits for SIGUSR2.
    """

    def __init__(self, job: Job, environment: dict[str, str] | None = None, *, ends_by_sigterm: bool = False) -> None:
        self.job = job
        self._environment = environment or {}
        self._ends_by_sigterm = ends_by_sigterm
        self._process: CellProcess | None = None

    def __call__(self) -> Outcome:
        """Run the cell's process to its end."""
        if not self._ends_by_sigterm:
            return wait(self._start())
        with listening(signal.SIGTERM) as asked:
            return wait(self._start(), asked)

    def _start(self) -> CellProcess:
        self._process = CellProcess(self.job, {**QUIET_LIGHTNING, **self._environment})
        return self._process

    def checkpoint(self) -> DelayedSubmission:
        """End the cell, which writes its checkpoint, and queue it again."""
        if self._process is not None:
            self._process.end()
        return DelayedSubmission(CellTask(self.job, self._environment, ends_by_sigterm=self._ends_by_sigterm))
