"""What a grid costs here: hours, memory and disk, by what past cells and measured speeds say; what won't fit."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import psutil

from diadbench.benchmark.doctor.finding import Finding, State
from diadbench.benchmark.planning.speeds import Speed

#: What is told of a grid that takes longer than this.
_LONG = 14 * 24.0
_BYTES_OF = {"none": 0, "float16": 2, "float32": 4}
_SMALLER = {
    "diad": "smaller batches with as many more of them (batch_size: 4, accumulate: 12), checkpointing: true, "
    "frozen_precision: bfloat16, optimizer: adafactor",
    "draem": "batch_size: 4, accumulate: 2",
    "uniad": "batch_size: 4, accumulate: 2",
    "patchcore": "a smaller budget (budget: 10000)",
}


@dataclass(frozen=True)
class Share:
    """What one method of a grid asks for.

    Attributes:
        label: In the grid.
        name: Registered name.
        speed: As measured; ``None`` where it was not.
        images: Training and test images of each data set that it runs on; ``None``: unknown.
        repeats: Seeds times settings.
        remark: What has to be said of the figures.
        needs: Bytes of memory that it is known to need on this device at least; 0: nobody knows.
    """

    label: str
    name: str
    speed: Speed | None
    images: Mapping[str, tuple[int, int] | None]
    repeats: int
    remark: str = ""
    needs: float = 0.0


@dataclass(frozen=True)
class Machine:
    """What there is.

    Attributes:
        memory: Bytes.
        gpu_memory: Bytes of one GPU; 0: there is none.
        disk: Free bytes where runs are written.
    """

    memory: float
    gpu_memory: float
    disk: float

    @classmethod
    def here(cls, device: str) -> Machine:
        """Return what this machine has."""
        gpu = 0.0
        if device.startswith("cuda"):
            import torch

            gpu = float(torch.cuda.get_device_properties(torch.device(device)).total_memory)
        return cls(float(psutil.virtual_memory().total), gpu, float(shutil.disk_usage(Path.cwd()).free))


def bill(
    shares: list[Share], machine: Machine, *, jobs: int, pixels: int = 0, keep_maps: str = "none"
) -> list[Finding]:
    """Return what each method of a grid costs here, then the whole grid.

    Args:
        shares: The methods.
        machine: What there is.
        jobs: Cells at once.
        pixels: Of a map at the evaluation size.
        keep_maps: As in the grid.
    """
    found = [_method(share, machine, jobs) for share in shares]
    hours = [hours_of(share) for share in shares]
    known = sum(each for each in hours if each is not None)
    disk = sum(_models(share) for share in shares) + _maps(shares, pixels * _BYTES_OF[keep_maps])
    unknown = [share.label for share, each in zip(shares, hours) if each is None]
    text = f"{known:,.1f} hours of cells, {known / jobs:,.1f} with {jobs} at once, metrics not counted; "
    text += f"{disk / 1e9:,.1f} GB of disk, {machine.disk / 1e9:,.0f} are free"
    text += f"; not known: {', '.join(unknown)}" if unknown else ""
    advice = []
    if disk > machine.disk:
        advice.append(
            "keep_checkpoints: false and keep_maps: none save nearly all of the disk, --out names another one"
        )
    if known / jobs > _LONG:
        advice.append("paper-fast has shorter budgets, --only takes a part, --budget 24h what fits into a day")
    values = {"hours": known, "jobs": jobs, "disk_bytes": disk, "free_bytes": machine.disk, "unknown": unknown}
    state: State = "fail" if disk > machine.disk else "note" if advice or unknown else "ok"
    found.append(Finding("cost", "grid", state, text, "; ".join(advice), values))
    return found


def hours_of(share: Share) -> float | None:
    """Return the hours of a method's cells; ``None`` where a part of them isn't known."""
    if share.speed is None:
        return None
    seconds = [share.speed.seconds(*images) if images else None for images in share.images.values()]
    if not seconds or any(each is None for each in seconds):
        return None
    return share.repeats * sum(each for each in seconds if each is not None) / 3600


def _method(share: Share, machine: Machine, jobs: int) -> Finding:
    hours, cells = hours_of(share), share.repeats * len(share.images)
    text = f"{cells} cells, {'hours not known' if hours is None else f'{hours:,.1f} hours'}"
    text += f" ({share.remark})" if share.remark else ""
    values = {"hours": hours, "cells": cells, "disk_bytes": _models(share)}
    own, gpu = share.needs, 0.0
    if share.speed is not None:
        own, gpu = max(own, share.speed.cpu_bytes or 0.0), share.speed.gpu_bytes or 0.0
    values |= {"cpu_bytes": own, "gpu_bytes": gpu}
    if machine.gpu_memory and gpu > machine.gpu_memory:
        text += f"; won't fit: {gpu / 1e9:.1f} GB of {machine.gpu_memory / 1e9:.1f} GB of GPU memory"
        return Finding("cost", share.label, "fail", text, f"set {_SMALLER.get(share.name, 'smaller batches')}", values)
    if own * jobs > machine.memory:
        least = max(int(machine.memory // max(own, 1.0)), 0)
        text += f"; won't fit: {jobs} at once need {own * jobs / 1e9:.1f} GB of {machine.memory / 1e9:.1f} GB of memory"
        how = f"set jobs: {least}" if least else f"set {_SMALLER.get(share.name, 'smaller batches')}"
        return Finding("cost", share.label, "fail", text, how, values)
    if hours is None:
        return Finding("cost", share.label, "note", text, "diadbench doctor --full measures it", values)
    return Finding("cost", share.label, "ok", text, values=values)


def _models(share: Share) -> float:
    size = (share.speed.disk_bytes or 0.0) if share.speed else 0.0
    return size * share.repeats * len(share.images)


def _maps(shares: list[Share], size: float) -> float:
    """Return the bytes of all anomaly maps, of ``size`` bytes each."""
    tested = [images[1] * share.repeats for share in shares for images in share.images.values() if images]
    return size * sum(tested)


def jobs_here(jobs: int | None) -> int:
    """Return how many cells run at once: what the grid says, else one."""
    return min(jobs or 1, os.cpu_count() or 1)
