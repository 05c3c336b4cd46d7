"""What a child process does on its GPU: synchronisations, copies, launches, CPU work, each by the line that asked."""

from __future__ import annotations

import collections
import contextlib
import ctypes
import os
import re
import time
import traceback
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

REPO = str(Path(__file__).resolve().parents[2])
#: Operations that make no new values.
VIEWS = (
    "view",
    "detach",
    "alias",
    "select",
    "slice",
    "unsqueeze",
    "expand",
    "t.",
    "permute",
    "empty",
    "unbind",
    "split",
)


#: The null GPU's counters, in their order in ``special.c``.
NAMES = (
    *("launches", "syncs", "h2d", "h2d_bytes", "d2h", "d2h_bytes", "d2d", "d2d_bytes", "mallocs", "frees", "memsets"),
    *("gemms", "convs", "allreduces", "h2d_pinned", "in_use", "peak", "event_syncs", "stream_queries"),
    *("graphs", "graph_launches"),
)


class Counters(ctypes.Structure):
    """The null GPU's counters (``special.c``)."""

    _fields_ = [(name, ctypes.c_long) for name in NAMES]


def counters() -> dict[str, float]:
    """Return the counters so far, and the times; on a real GPU only times."""
    now: dict[str, float] = {"cpu": time.process_time(), "wall": time.perf_counter()}
    place = os.environ.get("NULLGPU_DIR")
    if place:
        library = ctypes.CDLL(f"{place}/libnullgpu.so")
        library.nullgpu_counters.restype = ctypes.POINTER(Counters)
        found = library.nullgpu_counters().contents
        now |= {name: getattr(found, name) for name in NAMES}
    return now


def where() -> str:
    """Return the innermost line of the checkout on the stack, else of a library that isn't torch."""
    library = ""
    for frame in reversed(traceback.extract_stack()):
        if frame.filename.startswith(REPO) and "/nullgpu/" not in frame.filename and "/.venv/" not in frame.filename:
            short = frame.filename[len(REPO) + 1 :]
            return f"{short}:{frame.lineno} ({frame.name})" + (f" < {library}" if library else "")
        if not library and "site-packages" in frame.filename and "/torch/" not in frame.filename:
            library = f"{frame.filename.split('site-packages/')[1]}:{frame.lineno}"
    return library or "(no Python line)"


class Phase:
    """What happened in one phase, over all its times."""

    def __init__(self) -> None:
        self.marks: list[dict[str, float]] = []
        self.syncs: collections.Counter[str] = collections.Counter()
        self.alerts: collections.Counter[str] = collections.Counter()
        self.mixed: collections.Counter[str] = collections.Counter()
        self.cpu_work: dict[str, int] = {}
        self.copies: dict[str, int] = {}

    def report(self) -> dict[str, Any]:
        """Return means over the times but the first, which warms up, and the last of several, and the lines."""
        used = (self.marks[1:-1] if len(self.marks) > 3 else self.marks[1:]) or self.marks
        mean = {key: sum(mark[key] for mark in used) / len(used) for key in used[0]} if used else {}
        lines = {"syncs": self.syncs, "alerts": self.alerts, "mixed": self.mixed}
        return {
            "times": len(self.marks),
            "mean": mean,
            **{f"{name}_lines": dict(found.most_common(40)) for name, found in lines.items()},
            "cpu_lines": dict(sorted(self.cpu_work.items(), key=lambda item: -item[1])[:40]),
            "copy_lines": dict(sorted(self.copies.items(), key=lambda item: -item[1])[:40]),
        }


class _Mode(TorchDispatchMode):
    def __init__(self, recorder: Recorder) -> None:
        super().__init__()
        self._recorder = recorder

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if not self._recorder.is_warm:
            return result
        given = [value for value in tree_leaves((args, kwargs)) if isinstance(value, torch.Tensor)]
        made = [value for value in tree_leaves(result) if isinstance(value, torch.Tensor)]
        self._recorder.look(str(func).removeprefix("aten."), given, made)
        return result


class Recorder:
    """Records by phase; :meth:`step` starts the next time of a phase."""

    def __init__(self) -> None:
        self.phases: dict[str, Phase] = collections.defaultdict(Phase)
        self.phase = "start"
        self.facts: dict[str, Any] = {}
        self._waits = 0
        self._last: dict[str, float] | None = None

    def step(self, phase: str) -> None:
        """End the current phase's time and begin one of ``phase``. A phase's first time may warm up caches."""
        now = {**counters(), "waits": float(self._waits)}
        if self._last is not None:
            last = self._last
            self.phases[self.phase].marks.append({key: now[key] - last[key] for key in now})
        self.phase, self._last = phase, now

    @property
    def is_warm(self) -> bool:
        """Whether the phase has been run before: its first time may build what is kept."""
        return bool(self.phases[self.phase].marks)

    def look(self, name: str, given: list[torch.Tensor], made: list[torch.Tensor]) -> None:
        """Note an operation on the CPU, a copy between the two, or one that mixes them."""
        phase = self.phases[self.phase]
        if name.startswith(("_to_copy", "copy_")):
            target, source = (made or given)[0], given[-1] if name.startswith("copy_") else given[0]
            if source.device.type != target.device.type:
                way = "to the GPU" if target.device.type == "cuda" else "to the CPU"
                pinned = " pinned" if source.device.type == "cpu" and source.is_pinned() else ""
                line = f"{way}{pinned} {where()}"
                phase.copies[line] = phase.copies.get(line, 0) + source.numel() * source.element_size()
                return
        if {value.device.type for value in given if value.dim()} == {"cpu", "cuda"}:
            phase.mixed[f"{name} {where()}"] += 1
        if made and all(value.device.type == "cpu" for value in made) and not name.startswith(VIEWS):
            line = where()
            phase.cpu_work[line] = max(phase.cpu_work.get(line, 0), max(value.numel() for value in made))

    def _hook(self, message: Any, *_: Any, **__: Any) -> None:
        text = str(message)
        self._waits += "synchronizing CUDA operation" in text
        if not self.is_warm:
            return
        if "synchronizing CUDA operation" in text:
            self.phases[self.phase].syncs[where()] += 1
        elif "deterministic" in text:
            name = re.split(r" does not| defaults to", text)[0][:90]
            self.phases[self.phase].alerts[f"{name} @ {where()}"] += 1

    @contextlib.contextmanager
    def on(self, *, operations: bool = True) -> Iterator[None]:
        """Record inside the block; without ``operations`` the mode that sees each of them is left out (launches)."""
        warnings.simplefilter("always")
        warnings.showwarning = self._hook
        torch.zeros(1, device="cuda")
        torch.cuda.set_sync_debug_mode("warn")
        with _Mode(self) if operations else contextlib.nullcontext():
            yield
        torch.cuda.set_sync_debug_mode("default")

    def report(self) -> dict[str, Any]:
        """Return everything, as JSON values."""
        return {
            "phases": {name: phase.report() for name, phase in self.phases.items()},
            "peak": torch.cuda.max_memory_allocated(),
            **self.facts,
        }
