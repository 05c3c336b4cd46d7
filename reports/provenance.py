"""What runs cost, what failed, and where the figures come from: plain tables made of the cells' status files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd

from diadbench.benchmark.store import CellRecord
from diadbench.reports.escape import clean

GIB = 2**30


def cost(facts: pd.DataFrame) -> pd.DataFrame:
    """Return one row a (dataset, method): means over the seeds of done cells.

    Columns ``dataset method seeds fit predict`` (seconds) ``images_per_second parameters`` (millions) ``cpu_gb gpu_gb``
    (GiB) ``n_train n_test``; NaN where a cell did not say.
    """
    done = facts[facts["state"] == "done"] if len(facts) else facts
    names = ["fit", "predict", "images_per_second", "parameters", "cpu_bytes", "gpu_bytes", "n_train", "n_test"]
    if not len(done):
        return pd.DataFrame(columns=["dataset", "method", "seeds", *names, "cpu_gb", "gpu_gb"])
    grouped = done.groupby(["dataset", "method"], sort=False)
    table = grouped[names].mean().reset_index()
    table.insert(2, "seeds", grouped.size().to_numpy())
    table["parameters"] /= 1e6
    table["cpu_gb"] = table["cpu_bytes"] / GIB
    table["gpu_gb"] = table["gpu_bytes"] / GIB
    return table


def evaluation(cell: CellRecord) -> str:
    """Return the protocol and the size that a cell was evaluated at: ``exact at 128x128``.

    Cells of earlier versions don't state the size; then the protocol stands alone.
    """
    size = cell.status.get("evaluation_size") or ()
    return clean(" at ".join(filter(None, [str(cell.status.get("protocol") or ""), "x".join(map(str, size))])))


def failures(facts: pd.DataFrame) -> pd.DataFrame:
    """Return the cells without a result, in the order of the grid."""
    return facts[facts["state"] != "done"] if len(facts) else facts


def provenance(environment: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return an environment as flat pairs of key and text: ``packages torch`` -> ``2.14.0``."""
    return list(_flat(environment, ""))


def _flat(value: Any, key: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping):
        for name, part in value.items():
            yield from _flat(part, f"{key} {name}".strip())
    elif isinstance(value, (list, tuple)):
        yield key, clean(", ".join(str(part) for part in value))
    elif value is not None:
        yield key, clean(value)
