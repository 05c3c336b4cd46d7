"""A Ray cluster: reaching it, its nodes, and what they have."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Mapping
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from diadbench.common.errors import UserError

#: Seconds within which a cluster's address has to answer.
CONNECT_LIMIT = 10.0


def connect(address: str | None, init: dict[str, Any]) -> None:
    """Start Ray here, or connect to a cluster. Raises UserError if there is none at the address."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # Send no usage statistics.
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    settings: dict[str, Any] = {"log_to_driver": False, "logging_level": "warning"}
    if address is None:
        settings |= {"include_dashboard": False}
    else:
        _check_address(address)
    try:
        ray.init(**{"address": address or "local", **settings, **init})
    except (ConnectionError, ValueError, TypeError) as error:
        raise UserError(f"engine 'ray': can't start or find Ray at {address or 'this machine'}: {error}") from error


def _check_address(address: str) -> None:
    """Raise UserError if nothing listens at the address; Ray itself would try for minutes. Other forms pass."""
    place = re.fullmatch(r"(?:ray://)?(\[[^\]]+\]|[^:/\[\]]+):(\d{1,5})", address)
    if place is None:
        return
    try:
        socket.create_connection((place[1].strip("[]"), int(place[2])), timeout=CONNECT_LIMIT).close()
    except (OSError, OverflowError) as error:
        message = f"nothing answers at {address} ({error}); is Ray running there?"
        raise UserError(f"engine 'ray': engine_options.address: {message}") from error


def live_nodes() -> list[dict[str, Any]]:
    """Return what Ray tells of the nodes that are alive."""
    nodes: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
    return [node for node in nodes if node["Alive"]]


def total_of(resource: str) -> float:
    """Return how much of a resource all nodes have together."""
    return sum(float(node["Resources"].get(resource, 0)) for node in live_nodes())


def slots_for(gpus: int) -> int:
    """Return how many cells with this number of GPUs the nodes run at once; one per node without GPUs."""
    fitting = sum(int(node["Resources"].get("GPU", 0)) // gpus for node in live_nodes()) if gpus else 0
    return fitting or max(len(live_nodes()), 1)


def on_node(node_id: str) -> NodeAffinitySchedulingStrategy:
    """Return the strategy that runs a task on this node and no other."""
    return NodeAffinitySchedulingStrategy(node_id, soft=False)


def described(wanted: Mapping[str, float]) -> str:
    """Return resources as text: ``4 CPU, 1 GPU, 16 GB memory``; those of amount 0 are left out."""
    return ", ".join(
        f"{value / 1e9:.3g} GB memory" if key == "memory" else f"{value:g} {key}"
        for key, value in wanted.items()
        if value
    )


def largest_node() -> str:
    """Return a sentence on the most that any node has of each resource."""
    best = {
        key: max((node["Resources"].get(key, 0) for node in live_nodes()), default=0)
        for key in ("CPU", "GPU", "memory")
    }
    return f"the most that nodes have is {described(best)}; lower memory_limit, threads or devices of the grid"
