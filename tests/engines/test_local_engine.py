"""The local engine against processes that do all that a cell's process may do."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable

import psutil
import pytest
from engine_tools import drain, state, trace, wait_for

from diadbench.benchmark.engines import make
from diadbench.benchmark.engines.base import Job
from diadbench.benchmark.engines.local import LocalEngine
from diadbench.benchmark.records.store import CellRecord
from diadbench.common.errors import UserError

MakeJob = Callable[..., Job]


def test_a_cell_runs_in_its_own_process_with_its_threads(make_job: MakeJob) -> None:
    job = make_job("a", {"threads": 3})
    with LocalEngine(gpus=0) as engine:
        engine.submit(job)
        assert drain(engine, 1)["a"].state == "ended"
    status = CellRecord(job.cell).status
    assert (status["state"], status["threads"]) == ("done", "3")
    assert status["pid"] != os.getpid()


def test_how_a_process_ends_is_told(make_job: MakeJob) -> None:
    jobs = [make_job("exit", exit=3), make_job("kill", kill=9), make_job("raise", **{"raise": "no luck"})]
    with LocalEngine(jobs=3, gpus=0) as engine:
        for job in jobs:
            engine.submit(job)
        found = drain(engine, 3)
    assert (found["exit"].state, "exit code 3" in found["exit"].reason) == ("died", True)
    assert (found["kill"].state, "SIGKILL" in found["kill"].reason) == ("died", True)
    assert found["raise"].state == "ended"
    assert str(CellRecord(jobs[2].cell).status["reason"]).startswith("RuntimeError: no luck (sitecustomize.py:")
    assert state(jobs[1]) == "killed"


def test_time_limit_ends_a_process_that_ignores_sigterm(make_job: MakeJob, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("diadbench.benchmark.engines.process.GRACE", 0.5)
    job = make_job("slow", {"time_limit": 1.0}, hang=True)
    start = time.monotonic()
    with LocalEngine(gpus=0) as engine:
        engine.submit(job)
        outcome = drain(engine, 1)["slow"]
    assert (outcome.state, outcome.reason) == ("timeout", "over its time limit of 1 s")
    assert time.monotonic() - start < 10
    assert not CellRecord(job.cell).locked()


def test_memory_limit_says_how_much_was_held(make_job: MakeJob) -> None:
    job = make_job("big", {"memory_limit": 150e6}, allocate=300e6, hold=30)
    with LocalEngine(gpus=0) as engine:
        engine.submit(job)
        outcome = drain(engine, 1)["big"]
    assert outcome.state == "oom"
    assert outcome.peak_bytes > 150e6
    assert "over its memory limit of 0.15 GB" in outcome.reason


def test_a_cell_that_another_process_holds_is_busy(make_job: MakeJob) -> None:
    job = make_job("mine")
    with CellRecord(job.cell).lock(), LocalEngine(gpus=0) as engine:
        engine.submit(job)
        assert drain(engine, 1)["mine"].state == "busy"
    assert trace(job) == []


def test_leaving_ends_what_runs_and_it_resumes(make_job: MakeJob) -> None:
    job = make_job("long", sleep=60)
    with LocalEngine(gpus=0) as engine:
        engine.submit(job)
        wait_for(lambda: (job.cell / "scratch" / "step").is_file())
        pid = CellRecord(job.cell).status["pid"]
    assert not psutil.pid_exists(pid)
    assert state(job) == "killed"
    (job.cell / "scratch" / "step").write_text("2999")
    with LocalEngine(gpus=0) as engine:
        engine.submit(job)
        drain(engine, 1)
    assert trace(job) == ["start", "start", "resumed 2999", "end"]


def test_gpus_are_shared_out_evenly(make_job: MakeJob) -> None:
    engine = LocalEngine(jobs=4, gpus=2)
    chosen = []
    with engine:
        for name in "abcd":
            engine.submit(make_job(name, {"gpus": 1}, sleep=30))
            pid = engine._running[-1][0]._process.pid
            environment = psutil.Process(pid).environ
            wait_for(lambda read=environment: "CUDA_VISIBLE_DEVICES" in read(), 30)  # it is empty while exec runs
            chosen.append(environment()["CUDA_VISIBLE_DEVICES"])
    assert sorted(chosen) == ["0", "0", "1", "1"]
    assert LocalEngine(gpus=8).slots == 8


def test_a_killed_runner_takes_its_cells_along(make_job: MakeJob) -> None:
    job = make_job("orphan", sleep=60)
    child = os.fork()
    if child == 0:
        engine = LocalEngine(gpus=0)
        engine.submit(job)
        time.sleep(60)
    wait_for(lambda: (job.cell / "scratch" / "step").is_file())
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    wait_for(lambda: not CellRecord(job.cell).locked())
    assert state(job) == "killed"


def test_unknown_engines_and_options_are_refused_by_name() -> None:
    with pytest.raises(UserError, match="did you mean ray"):
        make("rey")
    with pytest.raises(UserError, match="did you mean jobs"):
        make("local", job=3)
    with pytest.raises(UserError, match="engine 'local': gpus: expected a whole number, found 'many'"):
        make("local", gpus="many")
