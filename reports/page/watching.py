"""The process beside a runner that has the page of its run written again: ``python -m ... RUN``, told by a pipe.

It imports little and stays small. Each build is a process of its own, so that the memory of a large table is given
back. Both have the lowest priority and one thread: cells come first. The next build waits several times as long as the
last one took of the processor, so that a grid of thousands of cells, whose page takes a minute, isn't built all the
time.
"""

from __future__ import annotations

import argparse
import html
import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import FrameType

from diadbench.common.files import write_text
from diadbench.reports.page.growing import page_of

#: Seconds between the first change and the first build: a run that is over by then gets its whole report at once.
FIRST = 3.0
_BARE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark"><meta http-equiv="refresh" content="3"><title>{name} – diadbench</title>
</head><body><h1>{name}</h1><p role="status">The run has begun; images are being prepared. The first cells come here
as they end; this page reloads itself.</p></body></html>
"""


def main(words: list[str] | None = None) -> int:
    """Keep the page of a run up to date until the pipe at the standard input ends."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("--every", type=float, required=True)
    parser.add_argument("--share", type=float, required=True)
    given = parser.parse_args(words)
    signal.signal(signal.SIGTERM, _end)
    os.nice(19)
    if not page_of(given.run).exists():
        write_text(page_of(given.run), _BARE.format(name=html.escape(given.run.name)))
    watch(given.run, given.every, given.share)
    return 0


def watch(run: Path, every: float, share: float) -> None:
    """Build the page at each change that the pipe tells of, not too often; at its end build it a last time."""
    wait = every
    due = 0.0
    told = False
    while True:
        news = _news(max(due - time.monotonic(), 0.0) if told else None)
        if news == b"":
            build(run, 0.0)
            return
        if news and not told:
            told, due = True, max(due, time.monotonic() + FIRST)
        if told and time.monotonic() >= due:
            before = _spent()
            build(run, wait)
            wait = max(every, share * (_spent() - before))
            told, due = False, time.monotonic() + wait


def _spent() -> float:
    """Return the seconds of a processor that the builds until now have taken."""
    used = os.times()
    return used.children_user + used.children_system


def _news(timeout: float | None) -> bytes | None:
    """Wait for the pipe; return what it holds, ``b""`` at its end, ``None`` when the time is over."""
    ready, _, _ = select.select([sys.stdin.fileno()], [], [], timeout)
    return os.read(sys.stdin.fileno(), 65536) if ready else None


def build(run: Path, reload: float) -> None:
    """Build the page in a process of its own.

    Args:
        run: The run directory.
        reload: Seconds after which a browser looks again; 0: the run is over.
    """
    command = [sys.executable, "-P", "-m", "diadbench.reports.page.unfinished", str(run), "--reload", str(reload)]
    one = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, env={**os.environ, **one})
    try:
        process.wait()
    finally:
        process.terminate()
        process.wait()


def _end(number: int, frame: FrameType | None) -> None:
    raise SystemExit(0)


if __name__ == "__main__":
    sys.exit(main())
