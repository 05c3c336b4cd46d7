"""What all tests share: no waiting for disks, and cells that need no process of their own."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

# Before torch is imported, here and in the processes that tests start. Threads that wait for the next small operation
# by turning in circles took two thirds of the processor's time where workers and their processes share it.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "passive")


@pytest.fixture(scope="session", autouse=True)
def _no_plug_is_pulled() -> Iterator[None]:
    """Don't wait until files lie on the disk: no test cuts the power, and each wait takes some 2 ms."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda descriptor: None)
        yield


@pytest.fixture
def one_core(monkeypatch: pytest.MonkeyPatch) -> None:
    """Say that there is one core: evaluations and figures start no processes, which import all anew."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0}, raising=False)


@pytest.fixture(scope="module")
def cells_in_this_process() -> Iterator[None]:
    """Run the cells of the engine ``local`` one by one in this process: each saves the start of Python and torch.

    For tests of what cells leave behind. Time limits and limits of memory need a process: such a cell is refused.
    """
    from tests.helpers.real_run import local_engine_in_process

    with local_engine_in_process():
        yield
