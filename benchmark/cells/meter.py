"""Measure how much memory a cell uses, and how busy the machine is, while the cell runs."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
from collections.abc import Iterator
from types import TracebackType
from typing import Any

import psutil

#: Seconds between two measurements of memory, and between two of the machine's load.
INTERVAL, SELDOM = 0.1, 10.0


def own_bytes(pid: int) -> int:
    """Return the resident memory of a process and all its children, in bytes, without what they share with others.

    On Linux, file-backed and shared pages are left out: memory-mapped caches and libraries, which the kernel can
    reclaim or which other processes use too. On other systems all resident pages count. 0 when the process has ended.
    """
    total = 0
    with contextlib.suppress(psutil.Error):
        process = psutil.Process(pid)
        for each in [process, *process.children(recursive=True)]:
            with contextlib.suppress(psutil.Error):
                memory = each.memory_info()
                total += int(memory.rss) - int(getattr(memory, "shared", 0))
    return total


def cells_here() -> int:
    """Return the number of cells that run on this machine, from any run directory; at least 1, the caller's cell."""
    found = sum("diadbench.benchmark.cells.worker" in " ".join(words) for words in _command_lines())
    return max(found, 1)


def _command_lines() -> Iterator[list[str]]:
    for process in psutil.process_iter(["cmdline"]):
        yield process.info["cmdline"] or []


class Meter:
    """Measure memory and the machine's load from a separate thread while the block runs.

    A peak that is shorter than :data:`INTERVAL` can be missed.
    """

    def __init__(self) -> None:
        self._peak = 0
        self._cells: list[int] = []
        self._load: list[float] = []
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="meter", daemon=True)

    def __enter__(self) -> Meter:
        self._look_around()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end.set()
        self._thread.join()
        self._look_around()

    def _watch(self) -> None:
        last = time.monotonic()
        while not self._end.wait(INTERVAL):
            self._peak = max(self._peak, own_bytes(os.getpid()))
            if time.monotonic() - last >= SELDOM:
                self._look_around()
                last = time.monotonic()

    def _look_around(self) -> None:
        self._peak = max(self._peak, own_bytes(os.getpid()))
        self._cells.append(cells_here())
        with contextlib.suppress(OSError, AttributeError):  # This system doesn't provide the value.
            self._load.append(os.getloadavg()[0])

    def result(self) -> dict[str, Any]:
        """Return ``peak_memory`` and ``machine`` for ``status.json``.

        ``peak_memory``: ``cpu_bytes`` of :func:`own_bytes`; ``gpu_bytes`` that torch had allocated on the card with the
        most, in this process or one that trained for it, and ``gpu_bytes_by_card``; ``counts``: ``own pages`` or, off
        Linux, ``resident pages``. ``machine``: means over the cell's life of ``load`` (the system's load average over
        a minute, ``None`` where it has none) and of ``cells`` that ran at once; ``cores``.
        """
        load = sum(self._load) / len(self._load) if self._load else None
        own = hasattr(psutil.Process().memory_info(), "shared")
        return {
            "peak_memory": {
                "cpu_bytes": self._peak,
                **_gpu_facts(),
                "counts": "own pages" if own else "resident pages",
            },
            "machine": {"load": load, "cells": sum(self._cells) / len(self._cells), "cores": os.cpu_count()},
        }


def _gpu_facts() -> dict[str, Any]:
    module = sys.modules.get("diadbench.methods.training.gpu_memory")
    if module is not None:
        return dict(module.as_facts())
    torch = sys.modules.get("torch")  # A cell that failed before torch was imported has used no GPU.
    if torch is None or not torch.cuda.is_available():
        return {"gpu_bytes": 0}
    from diadbench.methods.training import gpu_memory

    return gpu_memory.as_facts()
