"""Signals as they come: at any instant, to processes that were started in the background, to many cells at once."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import time
from collections.abc import Callable

import pytest
from engine_tools import drain, state, wait_for

from diadbench.benchmark.engines.base import Job
from diadbench.benchmark.engines.local import LocalEngine
from diadbench.benchmark.engines.process import CellProcess
from diadbench.benchmark.engines.remote import wait
from diadbench.benchmark.records.store import CellRecord
from diadbench.common.processes.interrupt import (
    Interruptible,
    Terminated,
    as_ctrl_c,
    check,
    deferred,
    is_pending,
    listening,
    noted,
)

MakeJob = Callable[..., Job]


def why_it_ended(job: Job, after: float | None) -> str:
    """Start a cell, send it SIGTERM after so many seconds or when it is at work; return the reason that is known."""
    process = CellProcess(job)
    if after is None:
        wait_for((job.cell / "scratch" / "step").is_file)
    time.sleep(after or 0.0)
    os.kill(process._process.pid, signal.SIGTERM)
    outcome = wait(process, interval=0.01)
    status = CellRecord(job.cell).status
    assert status["state"] != "running"
    return str(status.get("reason", "")) if outcome.state == "ended" else outcome.reason


def end_at(make_job: MakeJob, instants: list[float | None]) -> set[str]:
    reasons = set()
    for number, instant in enumerate(instants):
        job = make_job(f"cell{number}", sleep=60)
        reason = why_it_ended(job, instant)
        assert "SIGTERM" in reason, f"after {instant} s: {reason!r}"
        reasons.add(reason.partition(";")[0])
    return reasons


def test_sigterm_finds_a_reason_at_ten_instants(make_job: MakeJob, in_background: None) -> None:
    reasons = end_at(make_job, [0.0, *(0.08 * place for place in range(1, 9)), None])
    assert reasons == {"killed by signal 15 (SIGTERM)", "ended by SIGTERM"}, (
        "from before its handler is there, and after"
    )


@pytest.mark.slow
def test_sigterm_finds_a_reason_at_200_instants(make_job: MakeJob, in_background: None) -> None:
    dice = random.Random(os.getpid())
    end_at(make_job, [dice.choice([0.05, 0.5, 1.0]) * dice.random() for _ in range(200)])


def test_leaving_ends_all_cells_in_the_time_of_one(make_job: MakeJob, in_background: None) -> None:
    jobs = [make_job(f"cell{number}", sleep=60, linger=2) for number in range(4)]
    with LocalEngine(jobs=4, gpus=0) as engine:
        for job in jobs:
            engine.submit(job)
        wait_for(lambda: all((job.cell / "scratch" / "step").is_file() for job in jobs))
        start = time.monotonic()
    assert time.monotonic() - start < 6, "one after the other they would take 8 s"
    assert {CellRecord(job.cell).status["reason"].partition(";")[0] for job in jobs} == {"ended by SIGTERM"}


def test_a_cell_over_its_time_limit_does_not_hold_up_the_others(make_job: MakeJob) -> None:
    slow, other = make_job("slow", {"time_limit": 1.0}, sleep=60, linger=5), make_job("other", exit=3)
    with LocalEngine(jobs=2, gpus=0) as engine:
        engine.submit(slow)
        wait_for(lambda: engine.poll() or engine._running[0][0]._until)
        assert state(slow) == "running", "it has been asked, and lingers"
        engine.submit(other)
        start = time.monotonic()
        assert engine.poll() == []
        assert time.monotonic() - start < 2.5, "poll waits for nobody"
        found = drain(engine, 2)
    assert (found["slow"].state, found["other"].state) == ("timeout", "died")


def test_a_signal_is_noted_until_the_work_begins_and_raised_once() -> None:
    with noted():
        os.kill(os.getpid(), signal.SIGINT)
        assert is_pending()
        with pytest.raises(Terminated), Interruptible():
            raise AssertionError("the block has to end before it begins")
        os.kill(os.getpid(), signal.SIGTERM)  # the end is known: nothing is raised any more
    assert not is_pending()


def swallow_the_end() -> None:
    with contextlib.suppress(BaseException):
        os.kill(os.getpid(), signal.SIGTERM)
    with deferred():
        check()


def test_an_end_that_a_library_swallows_is_noticed_at_the_next_word() -> None:
    with noted(), pytest.raises(Terminated), Interruptible():
        swallow_the_end()


def hang_up_and_end() -> None:
    os.kill(os.getpid(), signal.SIGHUP)
    os.kill(os.getpid(), signal.SIGTERM)


def test_sigterm_is_ctrl_c_for_a_runner_but_sighup_only_where_it_counts(in_background: None) -> None:
    with pytest.raises(KeyboardInterrupt), as_ctrl_c():
        hang_up_and_end()
    with listening(signal.SIGINT) as asked:
        assert not asked()
        os.kill(os.getpid(), signal.SIGINT)
        assert asked()
    assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN
