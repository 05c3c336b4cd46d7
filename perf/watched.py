"""For the scripts here: run a command, measure the memory of all its processes together, and kill it on the way."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

import psutil


@dataclass(frozen=True)
class Measured:
    """What a command used.

    Attributes:
        code: Its exit status; -9: killed.
        wall: Seconds.
        cpu: CPU seconds of the command and of those children that it has waited for; 0 if it was killed.
        own: Peak of its pages and its children's that no file backs and no other process has, in MiB.
        resident: Peak of all that they have in memory, in MiB: also pages of mapped files, which the system may drop.
    """

    code: int
    wall: float
    cpu: float
    own: float
    resident: float

    def __str__(self) -> str:
        used = f"{self.wall:7.1f} s wall{self.cpu:7.1f} s CPU"
        return f"{used}{self.own:8.0f} MiB own at most{self.resident:8.0f} MiB resident"


def watched(words: list[str], kill_when: Callable[[], bool] | None = None, every: float = 0.25) -> Measured:
    """Run ``diadbench`` with words; kill it and its children by SIGKILL as soon as ``kill_when`` says so.

    Args:
        words: Arguments of the command.
        kill_when: Asked at each look.
        every: Seconds between two looks.
    """
    start = time.perf_counter()
    process = subprocess.Popen([sys.executable, "-m", "diadbench", *words], stdout=subprocess.DEVNULL)
    top = psutil.Process(process.pid)
    own = resident = cpu = 0.0
    while process.poll() is None:
        tree: list[psutil.Process] = []
        with contextlib.suppress(psutil.Error):
            times = top.cpu_times()
            cpu = times.user + times.system + times.children_user + times.children_system
            tree = [top, *top.children(recursive=True)]
        figures = [_memory(each) for each in tree]
        own, resident = (max(peak, sum(values)) for peak, values in zip((own, resident), zip(*figures), strict=False))
        if kill_when is not None and kill_when():
            for each in tree:
                with contextlib.suppress(psutil.Error):
                    each.kill()
        time.sleep(every)
    return Measured(process.wait(), time.perf_counter() - start, cpu, own / 2**20, resident / 2**20)


def _memory(process: psutil.Process) -> tuple[float, float]:
    """Return a process's private anonymous pages and its resident set, in bytes."""
    with contextlib.suppress(psutil.Error, OSError, ValueError):
        resident = float(process.memory_info().rss)
        with open(f"/proc/{process.pid}/smaps_rollup", encoding="ascii") as file:
            sizes = dict(line.split(":", 1) for line in file.read().splitlines()[1:])
        return 1024.0 * float(sizes["Anonymous"].split()[0]), resident
    return 0.0, 0.0
