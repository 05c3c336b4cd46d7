"""The number of CPU threads of a cell, decided once for a run directory and independent of the number of jobs.

On a CPU the last digits of results depend on it, so it is part of a cell's identity there, but not on a GPU.
"""

from __future__ import annotations

import os
from collections import Counter
from typing import TYPE_CHECKING, Any

from diadbench.benchmark.engines.gpus import Gpus, count_gpus, named_gpu, visible_gpus
from diadbench.common.errors import UserError

if TYPE_CHECKING:
    from diadbench.benchmark.planning.grid import Grid
    from diadbench.benchmark.records.store import RunDirectory


def settled(grid: Grid, directory: RunDirectory) -> dict[str, Any]:
    """Return ``device`` (as the grid states it), ``gpu`` and ``threads``, as the run directory keeps them.

    What the directory has kept for the same ``device`` stays. Else ``auto`` is a GPU where this machine has one (an
    engine that asks a cluster for nodes, as Ray with an address and SLURM do, asks for GPUs), and ``threads`` is
    ``OMP_NUM_THREADS``, else 1. In a directory
    of an earlier version it is what most of its finished cells had. On a GPU ``threads`` is ``None``: the cores are
    shared out among the jobs. ``threads`` of the grid always wins.

    Raises:
        UserError: ``OMP_NUM_THREADS`` is no number.
    """
    kept = directory.kept.get("compute") or {}
    if kept.get("device") != grid.device:
        gpu = _on_gpu(grid)
        kept = {"device": grid.device, "gpu": gpu, "threads": None if gpu else _default(directory)}
    return kept if grid.threads is None else {**kept, "threads": grid.threads}


def _on_gpu(grid: Grid) -> bool:
    if grid.device != "auto":
        return grid.device != "cpu"
    return _is_elsewhere(grid) or count_gpus() > 0


def _is_elsewhere(grid: Grid) -> bool:
    """Return whether cells run on other machines: a SLURM cluster, or a Ray cluster with an address."""
    if grid.engine == "ray":
        return grid.engine_options.get("address") is not None
    return grid.engine != "local" and grid.engine_options.get("cluster") != "local"


def gpus_of_a_cell(grid: Grid, compute: dict[str, Any]) -> int:
    """Return how many GPUs an engine assigns to each cell; 0 on a CPU, and on ``mps``, which is not assigned."""
    return grid.devices if compute["gpu"] and grid.device != "mps" else 0


def cells_at_once(grid: Grid, compute: dict[str, Any]) -> int | None:
    """Return how many cells will run at once, as far as it is known before the engine exists."""
    if grid.jobs is not None:
        return grid.jobs
    if _is_elsewhere(grid):
        return None
    return 1 if named_gpu(grid.device) is not None else Gpus(visible_gpus()).slots(gpus_of_a_cell(grid, compute))


def _default(directory: RunDirectory) -> int:
    # A directory of an earlier version has no plan, but its cells state their threads.
    had = _threads_of_cells(directory) if not directory.kept else Counter()
    if had:
        return min(had, key=lambda threads: (-had[threads], threads))
    text = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0].strip()
    if not text:
        return 1
    if not text.isdecimal() or int(text) < 1:
        raise UserError(f"OMP_NUM_THREADS: expected a positive whole number, found {text!r}; set it, or `threads`")
    return int(text)


def _threads_of_cells(directory: RunDirectory) -> Counter[int]:
    found = (cell.status.get("environment") or {} for cell in directory.on_disk() if cell.state == "done")
    return Counter(int(said["threads"]) for said in found if said.get("threads") and said.get("device") == "cpu")
