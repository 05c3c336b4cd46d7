"""The SLURM engine on submitit's local executor, and on a small stand-in for SLURM's commands."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from engine_tools import drain, is_over, state, steps, trace, wait_for

from diadbench.benchmark.engines import make
from diadbench.benchmark.engines.base import Job
from diadbench.benchmark.records.store import CellRecord
from diadbench.common.errors import UserError

pytest.importorskip("submitit")
MakeJob = Callable[..., Job]


def task_of(job: Job) -> psutil.Process:
    """submitit's process that watches a cell."""
    wait_for(lambda: state(job) == "running")
    parent = psutil.Process(CellRecord(job.cell).status["pid"]).parent()
    assert parent is not None
    assert "submitit" in " ".join(parent.cmdline())
    return parent


def test_cells_run_one_task_each_and_a_killed_one_leaves_its_sibling(make_job: MakeJob) -> None:
    killed, sibling, failed = make_job("killed", sleep=60), make_job("sibling", sleep=1), make_job("failed", exit=3)
    with make("slurm", jobs=3, cluster="local") as engine:
        for job in (killed, sibling, failed):
            engine.submit(job)
        assert engine.poll() == []
        task_of(killed).send_signal(signal.SIGKILL)
        found = drain(engine, 3)
    assert found["killed"].state == "died"
    assert found["sibling"].state == "ended"
    assert (found["failed"].state, "exit code 3" in found["failed"].reason) == ("died", True)
    wait_for(lambda: state(killed) == "killed")
    assert state(sibling) == "done"
    assert found["sibling"].extra["slurm_job"]


def test_preemption_queues_again_and_the_cell_resumes(make_job: MakeJob) -> None:
    job = make_job("preempted", sleep=0.5, wait_at=4)
    with make("slurm", cluster="local") as engine:
        engine.submit(job)
        engine.poll()
        task = task_of(job)
        wait_for(lambda: steps(job) == 4)
        task.send_signal(signal.SIGUSR2)  # what submitit has SLURM send before it takes the node away
        assert drain(engine, 1)["preempted"].state == "ended"
    assert trace(job) == ["start", "start", "resumed 4", "end"]


def test_leaving_ends_tasks_and_their_cells(make_job: MakeJob, in_background: None) -> None:
    jobs = [make_job(name, sleep=60) for name in "ab"]
    with make("slurm", jobs=2, cluster="local") as engine:
        for job in jobs:
            engine.submit(job)
        engine.poll()
        wait_for(lambda: {state(job) for job in jobs} == {"running"})
        pids = [CellRecord(job.cell).status["pid"] for job in jobs]
    assert all(is_over(pid) for pid in pids), "leaving waits for the end"
    assert all(CellRecord(job.cell).status["reason"].startswith("ended by SIGTERM") for job in jobs)


def test_leaving_at_once_leaves_nothing_behind(make_job: MakeJob, in_background: None) -> None:
    job = make_job("young", sleep=60)
    with make("slurm", cluster="local") as engine:
        engine.submit(job)
        engine.poll()
        controller = engine._tasks[0][0]._process
    assert controller.poll() is not None
    assert not [one for one in psutil.process_iter(["cmdline"]) if str(job.cell) in (one.info["cmdline"] or [])]


def test_limits_hold_in_a_task_too(make_job: MakeJob) -> None:
    with make("slurm", jobs=2, cluster="local") as engine:
        engine.submit(make_job("slow", {"time_limit": 1.0}, sleep=60))
        engine.submit(make_job("big", {"memory_limit": 150e6}, allocate=300e6, hold=30))
        found = drain(engine, 2)
    assert {name: outcome.state for name, outcome in found.items()} == {"slow": "timeout", "big": "oom"}


def test_an_array_with_a_cap_and_the_users_settings(make_job: MakeJob, slurm: Path) -> None:
    jobs = [make_job(f"cell{number}", {"threads": 2}, sleep=0.5) for number in range(4)]
    lone = make_job("gpu", {"threads": 2, "gpus": 1, "memory_limit": 8e9})
    more = {"constraint": "a100", "additional_parameters": {"requeue": True}}
    options = {"partition": "long", "account": "lab", "time": "2h", "cluster": "slurm", "more": more}
    with make("slurm", jobs=2, **options) as engine:
        assert engine.slots > 1000
        for job in (*jobs, lone):
            engine.submit(job)
        found = drain(engine, 5)
    assert {outcome.state for outcome in found.values()} == {"ended"}
    assert {state(job) for job in jobs} == {"done"}
    array = (slurm / "100.sh").read_text()
    for line in ("array=0-3%2", "partition=long", "account=lab", "time=120", "cpus-per-task=2", "constraint=a100"):
        assert f"#SBATCH --{line}" in array
    assert "#SBATCH --requeue" in array
    assert "gpus" not in array
    single = (slurm / "101.sh").read_text()
    assert "#SBATCH --gpus-per-node=1" in single
    assert "#SBATCH --mem=8" in single
    assert max(int(line) for line in (slurm / "at_once").read_text().split()) == 2


def most_at_once(jobs: list[Job]) -> int:
    """Return how many cells ran at the same moment. The task itself ends a moment after its cell."""
    times = [CellRecord(job.cell).status for job in jobs]
    return max(sum(one["started"] <= at["started"] < one["finished"] for one in times) for at in times)


def test_the_cap_holds_over_all_arrays(make_job: MakeJob, slurm: Path) -> None:
    needs = [{"threads": 1 + number % 3} for number in range(9)]  # arrays are of like needs: three of three
    jobs = [make_job(f"cell{number}", need, sleep=0.3) for number, need in enumerate(needs)]
    late = make_job("late", {"threads": 1}, sleep=0.3)  # a second try, say, in the midst of it
    with make("slurm", jobs=2, cluster="slurm", array_size=4) as engine:
        assert engine.at_once == 2
        for job in jobs:
            engine.submit(job)
        engine.poll()
        engine.submit(late)
        drain(engine, 10)
    assert {state(job) for job in (*jobs, late)} == {"done"}
    assert most_at_once([*jobs, late]) == 2
    assert "array=0-2%2" in (slurm / "100.sh").read_text(), "the first array has the cap, and SLURM its queue"


def test_a_preempted_task_of_an_array_resumes_and_siblings_go_on(make_job: MakeJob, slurm: Path) -> None:
    taken, sibling = make_job("taken", sleep=0.5, wait_at=4), make_job("sibling", sleep=1)
    killed = make_job("killed", sleep=60)
    with make("slurm", cluster="slurm") as engine:
        for job in (taken, sibling, killed):
            engine.submit(job)
        engine.poll()
        wait_for(lambda: steps(taken) == 4)
        task_of(taken).send_signal(signal.SIGUSR2)
        task_of(killed).send_signal(signal.SIGKILL)
        found = drain(engine, 3)
    assert {name: outcome.state for name, outcome in found.items()} == {
        "taken": "ended",
        "sibling": "ended",
        "killed": "died",
    }
    assert found["killed"].reason.endswith("FAILED")
    assert trace(taken) == ["start", "start", "resumed 4", "end"]
    assert trace(sibling) == ["start", "end"]


def test_no_slurm_here_is_said_with_a_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(UserError, match="no sbatch and srun on this machine"):
        make("slurm")


def test_a_wrong_setting_is_a_users_mistake(make_job: MakeJob, slurm: Path) -> None:
    engine = make("slurm", cluster="slurm", more={"nonsense": 3})
    engine.submit(make_job("a"))
    with pytest.raises(UserError, match="engine 'slurm'"):
        engine.poll()
