"""The Python interface: what the command line does, as functions."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from diadbench.benchmark.planning.grid import Grid, load_grid, parse_grid
from diadbench.benchmark.planning.plan import Overwrite
from diadbench.benchmark.records.store import load_results
from diadbench.benchmark.runs.runner import Run, make_engine, run_grid

__all__ = ["evaluate", "load_grid", "load_results", "report", "run"]


def run(
    grid: str | Path | Mapping[str, Any] | Grid,
    out: str | Path | None = None,
    *,
    overrides: Mapping[str, Any] | None = None,
    overwrite: Overwrite = "failed",
    quiet: bool = False,
) -> Run:
    """Run a grid and return it; what is finished already is not run again.

    Args:
        grid: A packaged name (``"demo"``), a YAML file, plain values, or a checked grid.
        out: The run directory; ``runs/<name>`` by default.
        overrides: Dotted keys and values: ``{"seeds": [0, 1, 2]}``.
        overwrite: ``never``, ``stale``, ``failed`` or ``always``.
        quiet: Print nothing.

    Raises:
        UserError: The input is wrong; no cell has run.
    """
    if isinstance(grid, (str, Path)):
        checked = load_grid(grid, overrides)
    elif isinstance(grid, Grid):
        checked = grid
    else:
        checked = parse_grid({"name": "run", **grid, **(overrides or {})})
    return run_grid(checked, out, overwrite=overwrite, engine=make_engine(checked), quiet=quiet)


def report(*runs: str | Path, out: str | Path | None = None, **show: Any) -> dict[str, Path]:
    """Build the report of one or several run directories; return what was written, by name.

    Args:
        runs: Run directories.
        out: Where to; ``report`` in the first run directory by default.
        **show: How to show: ``names={"RevDist": "Ours"}, drop=["toothbrush"], sort="mad"``, and all else that
            :class:`~diadbench.common.show.Show` has.

    Raises:
        UserError: Not a run directory, or a name that it doesn't have.
    """
    from diadbench import reports

    written: dict[str, Path] = reports.build(list(runs), out=out, show=show)
    return written


def evaluate(
    maps: Any, masks: Any, scores: Any = None, labels: Any = None, protocol: str = "exact"
) -> dict[str, float]:
    """Compute the metrics of arrays; see :func:`diadbench.benchmark.metrics.evaluate`."""
    from diadbench.benchmark import metrics

    found: dict[str, float] = metrics.evaluate(maps, masks, scores, labels, protocol=protocol)
    return found
