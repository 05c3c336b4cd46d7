"""Show how a run goes: live bars in a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

if TYPE_CHECKING:
    from pathlib import Path

    from diadbench.benchmark.records.store import CellRecord

#: So many running cells have a bar of their own; a screen has no room for more.
MOST = 16
MARKS = {"done": "[green]done[/]", "skipped": "[yellow]skipped[/]"}


class Watch:
    """Progress of planning, preparing and running. A context manager.

    Args:
        quiet: Show nothing.
    """

    def __init__(self, *, quiet: bool = False) -> None:
        self._console = Console(file=sys.stderr, quiet=quiet, soft_wrap=True)
        self._live = self._console.is_terminal and not quiet
        self._bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[what]}"),
            TimeElapsedColumn(),
            console=self._console,
            transient=True,
            disable=not self._live,
        )
        self._grid: TaskID | None = None
        self._step: TaskID | None = None
        self._cells: dict[str, TaskID] = {}
        self._total = self._ended = 0
        self._last_line = time.monotonic()

    def __enter__(self) -> Watch:
        self._bars.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._bars.stop()

    def step(self, done: int, total: int, what: str) -> None:
        """Show a step before the cells run: ``done`` of ``total`` of ``what``."""
        if self._step is None:
            self._step = self._bars.add_task("prepare", what=what, total=total)
        self._bars.update(self._step, completed=done, total=total, what=escape(what))
        if not self._live and (done >= total or time.monotonic() - self._last_line > 10):
            self._last_line = time.monotonic()
            self._console.print(f"prepare: {escape(what)} {done}/{total}", highlight=False)

    def start(self, to_run: int, kept: int, directory: Path) -> None:
        """Begin with the cells."""
        if self._step is not None:
            self._bars.remove_task(self._step)
            self._step = None
        self._total = to_run
        self._grid = self._bars.add_task("grid", total=self._total, what="cells")
        text = f"{self._total} cells to run, {kept} kept, in {directory}"
        self._console.print(escape(text), highlight=False)

    def look(self, submitted: list[CellRecord]) -> None:
        """Show the progress of the cells that run now, and how many others run or wait for their turn.

        Args:
            submitted: Cells that the engine has, running or not: a cluster takes thousands at once.
        """
        if not self._live:
            return
        begun = [record for record in submitted if (record.directory / "progress.json").exists()]
        running = (begun or submitted)[:MOST]
        others = [(len(begun) - len(running), "more run"), (len(submitted) - max(len(begun), len(running)), "wait")]
        said = ["cells", *(f"{count} {what}" for count, what in others if count > 0)]
        if self._grid is not None:
            self._bars.update(self._grid, what=", ".join(said))
        names = {str(record.directory): record for record in running}
        for name in [name for name in self._cells if name not in names]:
            self._bars.remove_task(self._cells.pop(name))
        for name, record in names.items():
            progress: dict[str, Any] = record.progress
            if name not in self._cells:
                self._cells[name] = self._bars.add_task(escape(f"  {label(record)}"), total=1, what="starts")
            self._bars.update(
                self._cells[name],
                completed=progress.get("done", 0),
                total=progress.get("total", 1),
                what=escape(str(progress.get("what", "starts"))),
            )

    def ended(self, record: CellRecord) -> None:
        """Tell that a cell is over."""
        self._ended += 1
        if self._grid is not None:
            self._bars.update(self._grid, completed=self._ended)
        status = record.status
        seconds = float(status.get("finished", 0.0)) - float(status.get("started", status.get("finished", 0.0)))
        mark = MARKS.get(record.state, f"[red]{record.state}[/]")
        reason = f": {escape(str(status.get('reason', '')))}" if status.get("reason") else ""
        line = f"[{self._ended}/{self._total}] {escape(label(record))} {mark} in {seconds:.0f} s{reason}"
        self._console.print(line, highlight=False)


def label(record: CellRecord) -> str:
    """Name a cell for people."""
    setting = "" if record.setting == "multi-class" else f" / {record.setting}"
    return f"{record.dataset} / {record.method}{setting} / seed {record.seed}"
