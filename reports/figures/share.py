"""Draw the figures of a large report in several processes, while the first one writes the tables.

Processes of their own, started by command: a fork of a process with threads (torch, pyarrow) may hang, and a spawned
one runs the user's script again. Whoever is free claims the next figure by making a file, so nothing is drawn twice.
"""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

from diadbench.reports.figures.draw import Plan, draw_one, plan
from diadbench.reports.figures.style import style
from diadbench.reports.tables.source import Source

Written = dict[str, tuple[str, list[Path]]]
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
        self._desk = tempfile.TemporaryDirectory(prefix="diadbench-figures-")
        self._others: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Drawing:
        count = min(len(os.sched_getaffinity(0)), MOST) - 1 if hasattr(os, "sched_getaffinity") else 0
        if len(self._plan) >= MANY and count > 0:
            desk = Path(self._desk.name)
            (desk / "source.pickle").write_bytes(pickle.dumps((self._source, self._folder)))
            command = [sys.executable, "-P", "-m", "diadbench.reports.figures.share", str(desk)]
            self._others = [subprocess.Popen([*command, str(number)]) for number in range(count)]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for process in self._others:
            process.kill()
            process.wait()
        self._desk.cleanup()

    def finish(self) -> Written:
        """Draw what nobody has claimed, wait for the rest; return ``{name: (what it shows, written files)}``.

        A figure that another process claimed and didn't finish is drawn here.
        """
        desk = Path(self._desk.name)
        found = dict(_draw_free(self._plan, self._folder, desk))
        for number, process in enumerate(self._others):
            if process.wait() == 0:
                found.update(pickle.loads((desk / f"{number}.pickle").read_bytes()))
        with style():
            for entry in self._plan:
                if entry[0] not in found:
                    found[entry[0]] = draw_one(entry, self._folder)
        return {name: files for entry in self._plan for name, files in found[entry[0]].items()}


def _draw_free(entries: list[Plan], folder: Path, desk: Path) -> Iterator[tuple[str, Written]]:
    with style():
        for place, entry in enumerate(entries):
            try:
                os.close(os.open(desk / f"{place}.claimed", os.O_CREAT | os.O_EXCL))
            except FileExistsError:
                continue
            yield entry[0], draw_one(entry, folder)


def _main(desk: Path, number: str) -> None:
    source, folder = pickle.loads((desk / "source.pickle").read_bytes())
    found = dict(_draw_free(list(plan(source)), folder, desk))
    (desk / f"{number}.pickle").write_bytes(pickle.dumps(found))


if __name__ == "__main__":
    _main(Path(sys.argv[1]), sys.argv[2])
