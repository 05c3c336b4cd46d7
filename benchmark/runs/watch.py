"""Show the progress of a run: live bars in a terminal, one changing line in a notebook, plain lines elsewhere."""

from __future__ import annotations

import builtins
import sys
import time
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from diadbench.benchmark.records.store import lasted

if TYPE_CHECKING:
    from pathlib import Path

    from diadbench.benchmark.records.store import CellRecord

#: Maximum number of running cells with a bar of their own; a screen has no room for more.
MOST = 16
MARKS = {"done": "[green]done[/]", "skipped": "[yellow]skipped[/]"}


#: maximum number of letters of the changing line in a notebook
WIDTH = 120


class Line:
    """One line of output that is overwritten with carriage returns, which notebooks understand without widgets."""

    def __init__(self) -> None:
        self._last = ""

    def show(self, text: str) -> None:
        """Overwrite the line."""
        text = text if len(text) <= WIDTH else f"{text[: WIDTH - 1]}…"
        if text != self._last:
            print(f"\r{text.ljust(len(self._last))}", end="", flush=True)
            self._last = text

    def leave(self, text: str) -> None:
        """Overwrite the line, and begin another below it."""
        self.show(text)
        print(flush=True)
        self._last = ""


def in_notebook() -> bool:
    """Return whether the output goes to a notebook cell."""
    shell = getattr(builtins, "get_ipython", None)  # IPython defines it.
    return shell is not None and type(shell()).__name__ == "ZMQInteractiveShell"


class Watch:
    """Show the progress of planning, preparing and running. Use it as a context manager.

    Args:
        quiet: Show nothing.
    """

    def __init__(self, *, quiet: bool = False) -> None:
        self._line = Line() if in_notebook() and not quiet else None
        self._console = Console(file=sys.stderr, quiet=quiet or self._line is not None, soft_wrap=True)
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
        if self._line is not None and self._total:
            self._line.leave(f"{self._ended} of {self._total} cells have ended")

    def step(self, done: int, total: int, what: str) -> None:
        """Show a step before the cells run: ``done`` of ``total`` of ``what``."""
        if self._line is not None:
            self._line.show(f"prepare: {what} {done}/{total}")
        if self._step is None:
            self._step = self._bars.add_task("prepare", what=what, total=total)
        self._bars.update(self._step, completed=done, total=total, what=escape(what))
        if not self._live and (done >= total or time.monotonic() - self._last_line > 10):
            self._last_line = time.monotonic()
            self._console.print(f"prepare: {escape(what)} {done}/{total}", highlight=False)

    def start(self, to_run: int, summary: str, directory: Path) -> None:
        """Start to show cells.

        Args:
            to_run: Number of cells that run now.
            summary: How many run, are kept and wait.
            directory: The run directory.
        """
        if self._step is not None:
            self._bars.remove_task(self._step)
            self._step = None
        self._total = to_run
        self._grid = self._bars.add_task("grid", total=self._total, what="cells")
        text = f"{summary}, in {directory}"
        self._console.print(escape(text), highlight=False)
        if self._line is not None:
            self._line.leave(text)

    def say(self, line: str) -> None:
        """Say something in a line of its own; nothing where there is nothing to say."""
        if line:
            self._console.print(escape(line), highlight=False)
        if line and self._line is not None:
            self._line.leave(line)

    def look(self, submitted: list[CellRecord]) -> None:
        """Show the progress of running cells, and how many others run or wait.

        Args:
            submitted: Cells that the engine has, running or not: a cluster takes thousands at once.
        """
        if not self._live and self._line is None:
            return
        begun = [record for record in submitted if (record.directory / "progress.json").exists()]
        running = (begun or submitted)[:MOST]
        others = [(len(begun) - len(running), "more run"), (len(submitted) - max(len(begun), len(running)), "wait")]
        said = ["cells", *(f"{count} {what}" for count, what in others if count > 0)]
        if self._grid is not None:
            self._bars.update(self._grid, what=", ".join(said))
        if self._line is not None:
            steps = "; ".join(f"{label(record)}: {_step(record)}" for record in running)
            self._line.show(f"{self._ended}/{self._total} cells; {steps}")
        if not self._live:
            return
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
        """Record that a cell has ended."""
        self._ended += 1
        if self._grid is not None:
            self._bars.update(self._grid, completed=self._ended)
        status = record.status
        # A process that died without a word left no end.
        seconds = lasted(status.get("started"), status.get("finished"))
        took = "" if seconds is None else f" in {seconds:.0f} s"
        mark = MARKS.get(record.state, f"[red]{record.state}[/]")
        reason = f": {escape(str(status.get('reason', '')))}" if status.get("reason") else ""
        line = f"[{self._ended}/{self._total}] {escape(label(record))} {mark}{took}{reason}"
        self._console.print(line, highlight=False)
        if self._line is not None and record.state != "done":
            self._line.leave(f"{label(record)}: {record.state}: {status.get('reason', '')}")


def _step(record: CellRecord) -> str:
    """Describe what a running cell does: ``train 40/200``."""
    progress: dict[str, Any] = record.progress
    what = str(progress.get("what", "starts"))
    return f"{what} {progress['done']}/{progress['total']}" if progress.get("total") else what


def label(record: CellRecord) -> str:
    """Return a cell's name for people."""
    setting = "" if record.setting == "multi-class" else f" / {record.setting}"
    return f"{record.dataset} / {record.method}{setting} / seed {record.seed}"
