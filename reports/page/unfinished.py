"""Build the lean page of a run that isn't over: tables, costs and provenance; no figures, images or comparisons."""

from __future__ import annotations

import argparse
import signal
import sys
import time
from pathlib import Path

import pandas as pd

from diadbench.benchmark.records.store import ENDED
from diadbench.common.errors import UserError
from diadbench.common.files import write_text
from diadbench.reports.page.growing import page_of
from diadbench.reports.page.html import page_context, write_page
from diadbench.reports.tables.escape import escaped
from diadbench.reports.tables.source import Source

_NOTHING = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>{name} – diadbench</title></head><body><h1>{name}</h1>
<p role="status">The run ended before a cell had begun. {hint}</p></body></html>
"""


def write_unfinished(run: Path, reload: float) -> Path | None:
    """Write the page of a run that isn't over.

    Args:
        run: The run directory.
        reload: Seconds after which a browser looks at the page again; 0: nobody runs it any more.

    Returns:
        The page's path; ``None`` where no cell has begun and the run goes on, so that the page stays as it is.
    """
    try:
        source = Source.load(run)
    except UserError:  # no cell yet
        if reload:
            return None
        write_text(page_of(run), _NOTHING.format(name=escaped(run.name), hint=escaped(_hint(run))))
        return page_of(run)
    context = page_context(source, pd.DataFrame(), pd.DataFrame(), lean=True)
    total = sum(1 for _ in source.runs[0].planned())
    ended = int(source.facts["state"].isin(ENDED).sum())
    failed = [row for row in context["failures"] if row["state"] not in ("running", "waiting")]
    running = [f"{row['dataset']} / {row['method']}" for row in context["failures"] if row["state"] == "running"]
    growing = {
        "reload": max(round(reload), 1) if reload else 0,
        "ended": ended,
        "total": total,
        "running": running,
        "time": time.strftime("%H:%M:%S"),
        "hint": _hint(run),
    }
    context |= {"growing": growing, "failures": failed, "cells_all": total}
    return write_page(source, page_of(run), context, {})


def _hint(run: Path) -> str:
    return f"`diadbench run {run}` goes on; `diadbench report {run}` builds the whole report of what is there."


def main(words: list[str] | None = None) -> int:
    """Build the page once."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("--reload", type=float, required=True)
    given = parser.parse_args(words)
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(0))
    write_unfinished(given.run, given.reload)
    return 0


if __name__ == "__main__":
    sys.exit(main())
