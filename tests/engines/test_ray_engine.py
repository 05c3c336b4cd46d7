"""The Ray engine on Rays that the tests start: one here, one with a second node that is killed."""

from __future__ import annotations

import os
import signal
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from engine_tools import FAKE, drain, ignoring, is_over, state, trace, wait_for

from diadbench.benchmark.engines import make
from diadbench.benchmark.engines.base import Engine, Job
from diadbench.benchmark.records.store import CellRecord
from diadbench.common.errors import UserError

ray = pytest.importorskip("ray")
MakeJob = Callable[..., Job]


@pytest.fixture(scope="module")
def ray_here() -> Iterator[None]:
    """A Ray that is started in the background: its workers ignore SIGINT unless somebody tells them otherwise."""
    with pytest.MonkeyPatch.context() as patch, ignoring(signal.SIGINT, signal.SIGHUP):
        patch.setenv("PYTHONPATH", os.pathsep.join(filter(None, [str(FAKE), os.environ.get("PYTHONPATH")])))
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        ray.init(address="local", num_cpus=4, include_dashboard=False, log_to_driver=False)
        yield
        ray.shutdown()


@pytest.fixture
def ray_engine(ray_here: None, cheap_cells: None) -> Callable[..., Engine]:
    return lambda **options: make("ray", **options)


def own_worker(job: Job) -> psutil.Process:
    """The Ray worker that watches this job."""
    wait_for(lambda: state(job) == "running", 60)
    parent = psutil.Process(CellRecord(job.cell).status["pid"]).parent()
    assert parent is not None
    return parent


def test_cells_run_and_a_killed_ray_worker_costs_a_retry(make_job: MakeJob, ray_engine: Callable[..., Engine]) -> None:
    jobs = [make_job("a"), make_job("b", exit=3), make_job("c", {"time_limit": 1.0}, sleep=60), make_job("d", sleep=3)]
    with ray_engine(jobs=4) as engine:
        for job in jobs[:3]:
            engine.submit(job)
        found = drain(engine, 3)
        assert [found[name].state for name in "abc"] == ["ended", "died", "timeout"]
        assert CellRecord(jobs[0].cell).status["threads"] == "1"
        engine.submit(jobs[3])
        worker = own_worker(jobs[3])
        assert "ray::" in " ".join(worker.cmdline())
        worker.send_signal(signal.SIGKILL)
        again = drain(engine, 1)["d"]
        if again.state == "busy":  # the killed worker's cell still held its lock; the runner would submit it again
            wait_for(lambda: not CellRecord(jobs[3].cell).locked())
            engine.submit(jobs[3])
            again = drain(engine, 1)["d"]
        assert again.state == "ended"
    assert state(jobs[3]) == "done"
    assert trace(jobs[3]).count("end") == 1
    assert not list(jobs[0].cell.parents[4].glob(".seen-*"))


def test_leaving_cancels_politely(make_job: MakeJob, ray_engine: Callable[..., Engine]) -> None:
    job = make_job("long", sleep=60)
    with ray_engine(jobs=1) as engine:
        engine.submit(job)
        wait_for(lambda: state(job) == "running", 60)
        pid = CellRecord(job.cell).status["pid"]
    wait_for(lambda: is_over(pid), 60)
    assert CellRecord(job.cell).status["reason"].startswith("ended by SIGTERM")


def test_cells_travel_where_nodes_do_not_see_the_run_directory(
    make_job: MakeJob, ray_engine: Callable[..., Engine], monkeypatch: pytest.MonkeyPatch
) -> None:
    from diadbench.benchmark.engines import ray as module

    job = make_job("away", rows="bottle,class,mAD,0.5\n", weigh=20e6, sleep=0.1)
    (job.cell / "scratch").mkdir()
    (job.cell / "scratch" / "step").write_text("3", encoding="utf-8")
    (job.cell / "scratch" / "moments").write_bytes(b"m" * 20_000_000)
    homes = set(Path(tempfile.gettempdir()).glob("diadbench-cell-*"))
    failing, held = make_job("bad", exit=3), make_job("held")
    with ray_engine(jobs=1) as engine:
        monkeypatch.setattr(module, "sees", lambda token: False)
        real = module.run_as_task

        def elsewhere(job: Job, token: Path, *rest: object) -> object:
            return real(job, Path("/nowhere"), *rest)

        monkeypatch.setattr(module, "run_as_task", elsewhere)
        with CellRecord(held.cell).lock():
            for each in (job, failing, held):
                engine.submit(each)
            assert CellRecord(job.cell).locked(), "a second runner must see that the cell is taken"
            found = drain(engine, 3)
    assert [found[name].state for name in ("away", "bad", "held")] == ["ended", "died", "busy"]
    record = CellRecord(job.cell)
    assert record.state == "done"
    assert record.metrics()[0]["value"] == "0.5"
    assert not record.locked()
    assert trace(job) == ["start", "resumed 3", "end"], "what it goes on from has travelled too"
    assert (job.cell / "checkpoint" / "weights").read_bytes() == b"weights" * (20_000_000 // 7)
    assert (job.cell / "scratch" / "moments").stat().st_size == 20_000_000
    wait_for(lambda: set(Path(tempfile.gettempdir()).glob("diadbench-cell-*")) <= homes, 60)
    assert "exit code 3" in found["bad"].reason


def test_a_need_that_no_node_meets_is_said_at_once(make_job: MakeJob, ray_engine: Callable[..., Engine]) -> None:
    with ray_engine(jobs=1) as engine, pytest.raises(UserError, match="no node has 1 CPU, 4 GPU"):
        engine.submit(make_job("huge", {"gpus": 4}))
