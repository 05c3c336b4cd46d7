"""Reports: results -> DataFrame -> Excel, LaTeX, plots, HTML. Runs no model.

::

    from diadbench.reports import build, load_results, prepare, cut, versus

    results = prepare(load_results("runs/demo"))      # the tidy DataFrame
    table = cut(results, rows=["method"], columns=["dataset"], metrics=["i_auroc"])
    versus(results, baseline="DiAD")                  # differences, intervals, tests
    build("runs/demo")                                # everything, below runs/demo/report

Names are imported when they are asked for, so that a table needs no matplotlib.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from diadbench.benchmark.store import load_results
    from diadbench.reports.frame import aggregate, prepare
    from diadbench.reports.latex import to_latex
    from diadbench.reports.published import check, load_published
    from diadbench.reports.report import build
    from diadbench.reports.source import Source
    from diadbench.reports.stats import holm, ranks, versus
    from diadbench.reports.table import Table, cut
    from diadbench.reports.text import to_csv, to_markdown, to_rich

_PLACES = {
    "load_results": "diadbench.benchmark.store",
    "build": "diadbench.reports.report",
    "aggregate": "diadbench.reports.frame",
    "prepare": "diadbench.reports.frame",
    "to_latex": "diadbench.reports.latex",
    "check": "diadbench.reports.published",
    "load_published": "diadbench.reports.published",
    "Source": "diadbench.reports.source",
    "holm": "diadbench.reports.stats",
    "ranks": "diadbench.reports.stats",
    "versus": "diadbench.reports.stats",
    "Table": "diadbench.reports.table",
    "cut": "diadbench.reports.table",
    "to_csv": "diadbench.reports.text",
    "to_markdown": "diadbench.reports.text",
    "to_rich": "diadbench.reports.text",
}
__all__ = [
    "Source",
    "Table",
    "aggregate",
    "build",
    "check",
    "cut",
    "holm",
    "load_published",
    "load_results",
    "prepare",
    "ranks",
    "to_csv",
    "to_latex",
    "to_markdown",
    "to_rich",
    "versus",
]


def __getattr__(name: str) -> Any:
    if name in _PLACES:
        found = getattr(importlib.import_module(_PLACES[name]), name)
        globals()[name] = found  # found once
        return found
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
