"""A Ray cluster of two nodes on this machine, and storms over it."""

from __future__ import annotations

import contextlib
import os
import random
import time
from typing import Any

import psutil
import pytest
from weather import Weather


class RayNodes:
    """A head without cells' cores, and two nodes that run them; nodes that were killed are replaced.

    Args:
        environment: What the nodes, and so the cells, get.
    """

    def __init__(self, environment: dict[str, str]) -> None:
        self._environment = environment
        self._patch = pytest.MonkeyPatch()
        self._nodes: list[Any] = []
        self.killed = 0

    def __enter__(self) -> RayNodes:
        from ray.cluster_utils import Cluster

        for name, value in self._environment.items():
            self._patch.setenv(name, value)
        self._cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
        self._nodes = [self._new_node() for _ in range(2)]
        return self

    def _new_node(self, tries: int = 3) -> Any:
        """Start a node; Ray gives up after 30 seconds, which a busy machine may need."""
        while True:
            tries -= 1
            try:
                return self._cluster.add_node(num_cpus=1)
            except Exception:
                if not tries:
                    raise

    def __exit__(self, *error: object) -> None:
        self._cluster.shutdown()
        self._patch.undo()

    @property
    def address(self) -> str:
        return str(self._cluster.address)

    def kill_one(self, dice: random.Random) -> None:
        """End a node without a word, and add another some time later."""
        node = self._nodes.pop(dice.randrange(len(self._nodes)))
        raylet = node.all_processes["raylet"][0].process.pid
        os.kill(raylet, 9)
        self.killed += 1
        time.sleep(dice.uniform(0.2, 2))
        with contextlib.suppress(Exception):  # it is dead already; only what is left of it is cleaned away
            self._cluster.remove_node(node, allow_graceful=False)
        self._nodes.append(self._new_node())


def kill_node(weather: Weather, dice: random.Random) -> None:
    """End a raylet: what runs on its node is lost."""
    assert weather.ray is not None
    weather.ray.kill_one(dice)


def kill_ray_worker(weather: Weather, dice: random.Random) -> None:
    """End the Ray worker processes that watch cells; a cell's own process is their child."""
    found = []
    for process in weather.processes("diadbench.benchmark.cells.worker"):
        with contextlib.suppress(psutil.Error):
            parent = process.parent()
            if parent is not None and any(word.startswith("ray::") for word in parent.cmdline()):
                found.append(parent)
    for worker in dice.sample(found, min(len(found), 1)):
        with contextlib.suppress(psutil.Error):
            worker.kill()
