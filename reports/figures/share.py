"""Draw the figures of a large report in several processes, while the first one writes the tables.

loky's processes: a fork of a process with threads (torch, pyarrow) may hang, and a process that the standard library
spawns runs the user's script again.
"""

from __future__ import annotations

import os
import signal
from concurrent.futures import CancelledError, Future
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from diadbench.reports.figures.draw import Drawn, Plan, draw_one, plan
from diadbench.reports.figures.style import style
from diadbench.reports.tables.source import Source

if TYPE_CHECKING:
    from loky import ProcessPoolExecutor

Written = dict[str, Drawn]
#: with fewer figures than this a second process costs more than it saves
MANY = 24
#: more processes would mostly wait for the first one's tables
MOST = 4


class Drawing:
    """All figures of a report. Other processes begin with them at once; :meth:`finish` draws what is left.

    Args:
        source: The results.
        folder: Where the figures go.
    """

    def __init__(self, source: Source, folder: Path) -> None:
        self._source, self._folder = source, folder
        self._plan = list(plan(source))
        self._pool: ProcessPoolExecutor | None = None
        self._asked: list[Future[Written]] = []

    def __enter__(self) -> Drawing:
        count = min(len(os.sched_getaffinity(0)), MOST) - 1 if hasattr(os, "sched_getaffinity") else 0
        if len(self._plan) >= MANY and count > 0:
            from loky import ProcessPoolExecutor

            self._pool = ProcessPoolExecutor(count, initializer=_begin, initargs=(self._source, self._folder))
            self._asked = [self._pool.submit(_draw, place) for place in range(len(self._plan))]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._pool is not None:
            self._pool.shutdown(wait=True, kill_workers=True)

    def finish(self) -> Written:
        """Draw what no process has begun, from the end; wait for the rest. Return what was written, by name.

        What a process that has ended can't deliver any more is drawn here.
        """
        found: dict[int, Written] = {}
        with style():
            for place in reversed(range(len(self._plan))):
                if not self._asked or self._asked[place].cancel():
                    found[place] = draw_one(self._plan[place], self._folder)
            for place, asked in enumerate(self._asked):
                if place not in found:
                    found[place] = self._delivered(place, asked)
        return {name: files for place in range(len(self._plan)) for name, files in found[place].items()}

    def _delivered(self, place: int, asked: Future[Written]) -> Written:
        try:
            return asked.result()
        except (BrokenProcessPool, CancelledError):  # the process was killed, say for its memory
            return draw_one(self._plan[place], self._folder)


_work: tuple[list[Plan], Path] | None = None


def _begin(source: Source, folder: Path) -> None:
    """Begin a process. Ctrl-C goes to all processes of the terminal: the first one answers it, and ends the others."""
    global _work
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _work = list(plan(source)), folder


def _draw(place: int) -> Written:
    assert _work is not None
    entries, folder = _work
    with style():
        return draw_one(entries[place], folder)
