"""The process of one cell: ``python -m diadbench.benchmark.cells.worker CELL_DIRECTORY``.

The process holds the cell's lock until it ends, so two runners on one run directory share the work. A process that
dies for any reason releases the cell.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import socket
import sys
import time
import traceback
from pathlib import Path
from typing import Any

from filelock import Timeout

from diadbench.benchmark.cells import OWNER
from diadbench.benchmark.records.identity import has_result_of
from diadbench.benchmark.records.store import CellRecord
from diadbench.common import plugins  # noqa: F401 - processes that train together import this, then the user's file
from diadbench.common.errors import Skip, UserError, missing_module, raised
from diadbench.common.files import write_text
from diadbench.common.processes.interrupt import (
    Interruptible,
    Terminated,
    check,
    die_with_parent,
    is_pending,
    note_for_good,
    noted,
    pending_name,
)
from diadbench.common.processes.out_of_memory import is_out_of_memory

#: Exit codes that a runner reads; it reads everything else from ``status.json``.
EXIT_ENDED, EXIT_BUSY = 0, 75


def main(argv: list[str] | None = None) -> int:
    """Run the cell whose directory is given. Returns an exit code.

    A signal that comes before the cell's work begins, or after its outcome is known, is recorded and doesn't interrupt
    anything. The outcome of the cell is always written to ``status.json``.
    """
    with noted():
        return _main(argv)


def _main(argv: list[str] | None) -> int:
    parser = argparse.ArgumentParser(prog="python -m diadbench.benchmark.cells.worker", description=__doc__)
    parser.add_argument("cell", type=Path, help="directory of the cell, with cell.yaml in it")
    parser.add_argument("--since", type=float, default=0.0, help="a result older than this (Unix time) is run again")
    parser.add_argument("--parent", type=int, default=0, help="end when this process ends")
    parser.add_argument("--threads", type=int, default=0, help="CPU threads; 0 leaves it to torch")
    args = parser.parse_args(argv)
    if args.parent:
        _die_with_parent(args.parent)
    record = CellRecord(args.cell)
    try:
        with record.hold():
            return _run(record, args.since, args.threads)
    except Timeout:
        return EXIT_BUSY


def _run(record: CellRecord, since: float, threads: int) -> int:
    cell = record.config
    if _is_done(record, since):
        return EXIT_ENDED
    if record.status["state"] == "done":
        (record.directory / OWNER).unlink(missing_ok=True)  # The cell is run again from scratch.
    record.clear()
    start = time.time()
    base = {
        "identity": cell["identity"],
        "configuration": cell.get("configuration", ""),
        "decides": cell.get("decides", {}),
        "method_info": cell["method_info"],
        "dataset_info": cell["dataset_info"],
        "protocol": cell["protocol"],
        "notes": [],
        "started": start,
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "attempt": cell.get("attempt", 1),
    }
    record.write_status(state="running", reason="", **base)
    from diadbench.benchmark.cells.meter import Meter  # psutil isn't needed to find out that a cell is done.

    with Meter() as meter:
        end = _outcome(record, threads)
    record.write_status(**{**base, **end, **meter.result(), "finished": time.time()})
    if end["state"] == "done" and (record.directory / OWNER).is_file():
        from diadbench.benchmark.cells.scratch import tidy

        tidy(record.directory, keep_checkpoints=cell["keep_checkpoints"])  # Written last: a kill before costs nothing.
    _say(f"diadbench: {end['state']} after {time.time() - start:.1f} s")
    (record.directory / "progress.json").unlink(missing_ok=True)
    return EXIT_ENDED


def _say(text: str) -> None:
    """Append a line to the log. A full disk must not turn a saved result into a failure at exit."""
    with contextlib.suppress(OSError):
        sys.stdout.flush()
        os.write(sys.stdout.fileno(), f"{text}\n".encode())


def _outcome(record: CellRecord, threads: int) -> dict[str, Any]:
    """Run the cell; turn whatever happens into a state, a reason and a traceback."""
    try:
        with Interruptible():
            return {"state": "done", "reason": "", **_run_cell(record, threads)}
    except Terminated:
        return _ended_by_signal()
    except Skip as error:
        return {"state": "skipped", "reason": str(error)}
    except UserError as error:
        return {"state": "error", "reason": str(error), "traceback": traceback.format_exc()}
    except BaseException as error:
        _print_traceback(error)
        if is_pending():  # The signal also reached the child processes, and their end caused this exception.
            return _ended_by_signal()
        if missing := missing_module(error):
            return {"state": "skipped", "reason": missing, "traceback": traceback.format_exc()}
        state = "oom" if is_out_of_memory(error) else "error"
        return {"state": state, "reason": _shortened(raised(error)), "traceback": traceback.format_exc()}


def _shortened(text: str) -> str:
    """Return a text of at most 500 characters, without its middle where it is longer: the place stands at its end."""
    return text if len(text) <= 500 else f"{text[:400]} ... {text[-95:]}"


def _print_traceback(error: BaseException) -> None:
    with contextlib.suppress(Exception):  # a closed stream
        traceback.print_exception(error)


def _run_cell(record: CellRecord, threads: int) -> dict[str, Any]:
    import torch

    if threads:
        torch.set_num_threads(threads)
    from diadbench.benchmark.cells.cell import run_cell

    return run_cell(record, Progress(record.directory))


def _ended_by_signal() -> dict[str, Any]:
    return {"state": "killed", "reason": f"ended by {pending_name()}; the same command goes on from here"}


class Progress:
    """Write the cell's progress for ``status``, at most twice a second."""

    def __init__(self, directory: Path) -> None:
        self._path = directory / "progress.json"
        self._last = 0.0
        self._what, self._since, self._first = "", 0.0, 0

    def __call__(self, done: int, total: int, what: str) -> None:
        """Record that ``done`` of ``total`` steps of ``what`` are over. Raises Terminated when the cell has to end."""
        check()
        now = time.time()
        if what != self._what:  # A resumed training doesn't start at 0.
            self._what, self._since, self._first = what, now, int(done)
        if now - self._last < 0.5 and done < total:
            return
        self._last = now
        found = {"done": int(done), "total": int(total), "what": what, "time": now}
        text = json.dumps({**found, "since": self._since, "first": self._first})
        try:
            write_text(self._path, text)
        except OSError:  # A full disk must not end a cell because its progress can't be written.
            return


def _is_done(record: CellRecord, since: float) -> bool:
    """Whether the cell has the result that cell.yaml asks for; its identity doesn't hold the protocol."""
    status, cell = record.status, record.config
    return (
        status["state"] == "done"
        and has_result_of(status, cell["identity"], cell["protocol"])
        and status.get("finished", 0.0) >= since
    )


def _die_with_parent(parent: int) -> None:
    """Ask Linux to send SIGTERM when the runner dies. On other systems the cell runs to its end."""
    die_with_parent(signal.SIGTERM)
    if os.getppid() != parent:
        sys.exit(EXIT_BUSY)


if __name__ == "__main__":
    note_for_good()  # also between the end of main and the end of the process
    sys.exit(main())
