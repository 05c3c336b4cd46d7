"""Costs, failures and origin of runs, as plain tables made from the cells' status files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from diadbench.benchmark.records.store import CellRecord
from diadbench.reports.tables.escape import clean

GIB = 2**30


@dataclass(frozen=True)
class Cost:
    """A column of the table of costs, for all formats.

    Attributes:
        key: Column of :func:`cost`.
        head: Its head, with the unit.
        digits: Number of decimals; ``None``: a whole number.
    """

    key: str
    head: str
    digits: int | None = None


COSTS = (
    Cost("seeds", "Seeds"),
    Cost("fit", "Training, s", 1),
    Cost("model", "Inference, s", 1),
    Cost("testing", "Test with loading and metrics, s", 1),
    Cost("images_per_second", "Images a second", 1),
    Cost("parameters", "Parameters, M", 2),
    Cost("cpu_gib", "Peak memory, GiB", 2),
    Cost("gpu_gib", "Peak GPU memory, GiB", 2),
    Cost("load", "Load of the machine", 1),
    Cost("cells", "Cells at once", 1),
    Cost("n_train", "Training images"),
    Cost("n_test", "Test images"),
)
HEADS = {column.key: column.head for column in COSTS}
_MEANS = ("fit", "model", "testing", "images_per_second", "parameters", "load", "cells", "n_train", "n_test")


def spent(status: Mapping[str, Any]) -> dict[str, Any]:
    """Return the costs in a cell's ``status.json``; NaN for missing values.

    ``fit``: seconds of training, including loading. ``model``: seconds in which the model predicted, from images in
    memory to results in memory. ``testing``: seconds from the first test image to the metrics, including ``model``.
    ``images_per_second``: test images per second of ``model``. ``cpu_bytes``, ``gpu_bytes``: peaks. ``load``,
    ``cells``, ``cores``: the machine while the cell ran. ``shared``: whether the peak includes shared pages.
    ``resumed``: whether an earlier process had started, whose time is not included.
    """
    phases, memory, machine = (status.get(key) or {} for key in ("phases", "peak_memory", "machine"))
    return {
        **{key: number(phases.get(key)) for key in ("fit", "model")},
        "testing": number(phases.get("predict")) + number(phases.get("evaluate")),
        **{key: number(status.get(key)) for key in ("images_per_second", "parameters", "n_train", "n_test")},
        **{key: number(memory.get(key)) for key in ("cpu_bytes", "gpu_bytes")},
        **{key: number(machine.get(key)) for key in ("load", "cells", "cores")},
        "shared": memory.get("counts") != "own pages",
        "resumed": bool(status.get("resumed")),
    }


def number(value: object) -> float:
    """Return a number as float; NaN for anything else."""
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else float("nan")


def cost(facts: pd.DataFrame) -> pd.DataFrame:
    """Return one row per (dataset, method): ``dataset``, ``method`` and the columns of :data:`COSTS`.

    Means over the seeds of finished cells; NaN if a cell lacks the value. Parameters are in millions, memory in GiB.
    """
    done = facts[facts["state"] == "done"] if len(facts) else facts
    if not len(done):
        return pd.DataFrame(columns=["dataset", "method", *HEADS])
    grouped = done.groupby(["dataset", "method"], sort=False)
    figures = grouped[[*_MEANS, "cpu_bytes", "gpu_bytes"]]
    table = figures.mean().where(figures.count().eq(grouped.size(), axis=0)).reset_index()
    table["seeds"] = grouped.size().to_numpy()
    table["parameters"] /= 1e6
    table["cpu_gib"] = table["cpu_bytes"] / GIB
    table["gpu_gib"] = table["gpu_bytes"] / GIB
    return table[["dataset", "method", *HEADS]]


def cost_notes(facts: pd.DataFrame) -> list[str]:
    """Return notes on the load during measurements and the meaning of the figures."""
    done = facts[facts["state"] == "done"] if len(facts) else facts
    if not len(done):
        return []
    notes = [measured_at(facts)]
    notes += [f"{method} on {dataset}: measured {why}." for (dataset, method), why in unlike(facts).items()]
    notes.append(
        f"{HEADS['model']}: the model alone. {HEADS['cpu_gib']}: pages of the cell's processes that no other shares, "
        "looked at ten times a second."
    )
    if cost(facts).isna().any(axis=None):
        notes.append("–: not recorded in every cell, or the method has none.")
    for flag, text in (
        ("shared", "of {} of {} cells count all resident pages, also those shared with other processes"),
        ("resumed", "of {} of {} cells are those of their last process alone, as an earlier one had begun"),
    ):
        if done[flag].any():
            what = "Peaks of memory" if flag == "shared" else "Times"
            notes.append(f"{what} {text.format(int(done[flag].sum()), len(done))}.")
    return notes


def measured_at(facts: pd.DataFrame) -> str:
    """Return a sentence on the load of the machine while the cells ran."""
    done = facts[(facts["state"] == "done")]
    known = done.dropna(subset=["cells"])
    if not len(known):
        return "How busy the machine was while the cells ran was not recorded."
    cells = _range(known["cells"])
    what = "1 cell ran" if cells == "1" else f"{cells} cells ran at once"
    words = f"Measured while {what} on a machine of {_range(known['cores'])} cores"
    if known["load"].notna().any():
        words += f", at a load average of {_range(known['load'])}"
    unknown = len(done) - len(known)
    return words + (f"; not recorded for {unknown} of {len(done)} cells." if unknown else ".")


def unlike(facts: pd.DataFrame) -> dict[tuple[str, str], str]:
    """Return the (dataset, method) with costs under another load than most of the dataset's, and the load.

    Loads are similar if the numbers of cells that ran at once differ by less than a half, and so do the load averages,
    as shares of the machine's cores, from the dataset's median.
    """
    done = facts[facts["state"] == "done"] if len(facts) else facts
    found: dict[tuple[str, str], str] = {}
    if not len(done):
        return found
    for dataset, rows in done.groupby("dataset", sort=False):
        busy = (
            rows.assign(share=rows["load"] / rows["cores"])
            .groupby("method", sort=False)[["cells", "load", "share"]]
            .mean()
        )
        usual = busy.median()
        for method, cells, load, share in busy.itertuples():
            if pd.isna(cells):
                if busy["cells"].notna().any():
                    found[str(dataset), str(method)] = "under a load that was not recorded"
            elif abs(cells - usual["cells"]) > 0.5 or abs(share - usual["share"]) > 0.5:
                found[str(dataset), str(method)] = _busy(cells, load, usual)
    return found


def _busy(cells: float, load: float, usual: pd.Series[float]) -> str:
    if abs(cells - usual["cells"]) > 0.5:
        return f"with {cells:.1f} cells at once, the others with {usual['cells']:.1f}"
    return f"at a load average of {load:.1f}, the others at {usual['load']:.1f}"


def _range(values: pd.Series[float]) -> str:
    low, high = (f"{value:.1f}".removesuffix(".0") for value in (values.min(), values.max()))
    return low if low == high else f"{low} to {high}"


def evaluation(cell: CellRecord) -> str:
    """Return the protocol and the evaluation size of a cell: ``exact at 128x128``.

    For cells of earlier versions, which don't state the size, only the protocol.
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
