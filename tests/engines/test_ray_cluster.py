"""The Ray engine on a cluster of two nodes, one of which is killed."""

from __future__ import annotations

import os
import re
import signal
import socket
import time
from collections.abc import Callable

import pytest
from engine_tools import state, trace, wait_for

from diadbench.benchmark.engines import make
from diadbench.benchmark.engines.base import Job
from diadbench.benchmark.records.store import CellRecord
from diadbench.common.errors import UserError

ray = pytest.importorskip("ray")
MakeJob = Callable[..., Job]


@pytest.mark.slow
def test_a_node_that_dies_costs_a_retry(make_job: MakeJob, cheap_cells: None) -> None:
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    node = cluster.add_node(num_cpus=1)
    job, other = make_job("here", sleep=8), make_job("there", sleep=8)
    try:
        with make("ray", jobs=2, address=cluster.address) as engine:
            assert engine.slots == 2
            engine.submit(job)
            engine.submit(other)
            wait_for(lambda: state(job) == state(other) == "running", 60)
            raylet = node.all_processes["raylet"][0].process.pid
            os.kill(raylet, signal.SIGKILL)
            found, until = {}, time.monotonic() + 120
            while len(found) < 2:
                assert time.monotonic() < until
                for outcome in engine.poll():
                    if outcome.state == "busy":
                        wait_for(lambda outcome=outcome: not CellRecord(outcome.job.cell).locked(), 60)
                        engine.submit(outcome.job)
                    else:
                        found[outcome.job.cell] = outcome.state
                time.sleep(0.05)
        assert set(found.values()) == {"ended"}
        assert {state(job), state(other)} == {"done"}
        assert trace(job).count("end") == trace(other).count("end") == 1
    finally:
        ray.shutdown()
        cluster.shutdown()


def test_no_cluster_at_an_address_is_a_users_mistake(cheap_cells: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    with pytest.raises(UserError, match="can't start or find Ray at auto"):
        make("ray", address="auto")


@pytest.mark.parametrize("address", ["127.0.0.1:{port}", "ray://127.0.0.1:{port}", "127.0.0.1:99999"])
def test_an_address_where_nobody_listens_is_told_at_once(cheap_cells: None, address: str) -> None:
    with socket.socket() as taken:  # bound, but not listening
        taken.bind(("127.0.0.1", 0))
        place = address.format(port=taken.getsockname()[1])
        with pytest.raises(UserError, match=re.escape(f"nothing answers at {place}")):
            make("ray", address=place)
