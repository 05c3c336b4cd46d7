"""Reports: results -> DataFrame -> Excel, LaTeX, plots, HTML. Runs no model.

::

    from diadbench.reports import load_results, prepare, cut, versus
    from diadbench.reports import build

    results = prepare(load_results("runs/demo"))      # the tidy DataFrame
    table = cut(results, rows=["method"], columns=["dataset"], metrics=["i_auroc"])
    versus(results, baseline="DiAD")                  # differences, intervals, tests
    build("runs/demo")                                # everything, below runs/demo/report

Names are imported on first use, so that a table doesn't need matplotlib.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from diadbench.benchmark.records.store import load_results
    from diadbench.reports.make_report import build
    from diadbench.reports.paper.latex import to_latex
    from diadbench.reports.published.figure_arithmetic import check
    from diadbench.reports.published.published_files import load_published
    from diadbench.reports.tables.cut import cut
    from diadbench.reports.tables.frame import prepare
    from diadbench.reports.tables.plain_text import to_csv, to_markdown, to_rich
    from diadbench.reports.tables.rows.aggregation import aggregate
    from diadbench.reports.tables.source import Source
    from diadbench.reports.tables.stats import holm, ranks, versus
    from diadbench.reports.tables.table_shape import Table

_PLACES = {
    "load_results": "diadbench.benchmark.records.store",
    "build": "diadbench.reports.make_report",
    "aggregate": "diadbench.reports.tables.rows.aggregation",
    "prepare": "diadbench.reports.tables.frame",
    "to_latex": "diadbench.reports.paper.latex",
    "check": "diadbench.reports.published.figure_arithmetic",
    "load_published": "diadbench.reports.published.published_files",
    "Source": "diadbench.reports.tables.source",
    "holm": "diadbench.reports.tables.stats",
    "ranks": "diadbench.reports.tables.stats",
    "versus": "diadbench.reports.tables.stats",
    "Table": "diadbench.reports.tables.table_shape",
    "cut": "diadbench.reports.tables.cut",
    "to_csv": "diadbench.reports.tables.plain_text",
    "to_markdown": "diadbench.reports.tables.plain_text",
    "to_rich": "diadbench.reports.tables.plain_text",
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
        globals()[name] = found  # cached after the first access
        return found
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
