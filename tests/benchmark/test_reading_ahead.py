"""Batches that are read ahead: the same, in order, with their errors, and an end when nobody asks for more."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from diadbench.benchmark.cells import predicting
from diadbench.benchmark.cells.scoring.reading_ahead import WAITING, Beside, read_ahead
from tests.helpers.real_run import make_run


def test_order_and_end() -> None:
    assert list(read_ahead(iter(range(20)))) == list(range(20))


def test_an_error_comes_out_where_the_batch_would() -> None:
    def broken() -> Iterator[int]:
        yield 1
        raise OSError("disk is gone")

    batches = read_ahead(broken())
    assert next(batches) == 1
    with pytest.raises(OSError, match="disk is gone"):
        next(batches)


def test_the_thread_ends_when_nobody_asks_for_more() -> None:
    batches = read_ahead(iter(range(1000)))
    assert next(batches) == 0
    batches.close()  # type: ignore[attr-defined]
    assert not [thread for thread in threading.enumerate() if thread.name == "read ahead"]


@pytest.mark.parametrize("in_thread", [False, True])
def test_work_beside_is_done_in_order_and_not_far_behind(in_thread: bool) -> None:
    done: list[int] = []

    def work(number: int) -> None:
        time.sleep(0.01)
        done.append(number)

    with Beside(in_thread=in_thread) as beside:
        for number in range(3 * WAITING):
            beside.do(partial(work, number))
            assert len(done) >= number - WAITING
        beside.wait()
        assert done == list(range(3 * WAITING))
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("evaluate")]


@pytest.mark.parametrize("in_thread", [False, True])
def test_an_error_of_the_work_is_raised_at_the_latest_in_the_end(in_thread: bool) -> None:
    def fail() -> None:
        raise OSError("disk is gone")

    with pytest.raises(OSError, match="disk is gone"), Beside(in_thread=in_thread) as beside:
        beside.do(fail)


def test_metrics_are_those_without_a_thread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = []
    for in_thread in (False, True):
        monkeypatch.setattr(predicting, "Beside", lambda *, in_thread, use=in_thread: Beside(in_thread=use))
        run = make_run(tmp_path / f"run{in_thread}", methods=("one",), datasets={"d": ("a", "b")}, seeds=(0,))
        found.append(next(iter(run.cells())).metrics())
    assert found[0]
    assert found[0] == found[1]
