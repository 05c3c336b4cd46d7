"""Draw the figures of a large report in several processes, while the main one writes the tables.

loky's processes are used because a fork of a process with threads (torch, pyarrow) may hang, and a process spawned by
the standard library runs the user's script again.
"""

from __future__ import annotations

import copy
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
#: for fewer figures than this a second process costs more time than it saves
MANY = 24
#: further processes would mostly wait for the tables of the first
MOST = 4


class Drawing:
    """All figures of a report. Other processes start with them at once; :meth:`finish` draws the rest.

    Args:
        source: The results.
        folder: Directory of the figures.
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

            self._pool = ProcessPoolExecutor(count, initializer=_begin, initargs=(_packed(self._source), self._folder))
            self._asked = [self._pool.submit(_draw, place) for place in range(len(self._plan))]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._pool is not None:
            self._pool.shutdown(wait=True, kill_workers=True)

    def finish(self) -> Written:
        """Draw the figures that no process has started, from the end; wait for the others. Return all by name.

        Figures of a process that has died are drawn here.
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
        except (BrokenProcessPool, CancelledError):  # The process was killed, perhaps for its memory.
            return draw_one(self._plan[place], self._folder)


_work: tuple[list[Plan], Path] | None = None


def _begin(source: Source, folder: Path) -> None:
    """Initialise a process. Ctrl-C reaches all processes of the terminal: the main one handles it and ends the rest."""
    global _work
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _work = list(plan(_unpacked(source))), folder


def _packed(source: Source) -> Source:
    """Return the results for another process: texts as categories, which are sent in a tenth of the memory.

    ``raw`` is empty, because no figure is drawn from it.
    """
    results = source.results
    texts = [name for name in results if results[name].dtype == object]
    packed = results.astype(dict.fromkeys(texts, "category"))
    packed.attrs = {"texts": texts}
    sent = copy.copy(source)  # with what is computed already: means, facts
    sent.results, sent.raw = packed, results.iloc[:0]
    return sent


def _unpacked(source: Source) -> Source:
    results = source.results
    source.results = results.astype(dict.fromkeys(results.attrs.pop("texts"), object))
    return source


def _draw(place: int) -> Written:
    assert _work is not None
    entries, folder = _work
    with style():
        return draw_one(entries[place], folder)
