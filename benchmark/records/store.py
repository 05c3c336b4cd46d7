"""The run directory: the files of a grid on disk, and the interface through which reports read them.

::

    RUN/grid.yaml  plan.json  environment.json  results.csv
    RUN/results/         the cells' results in columns, see ledger.py
    RUN/cells/<dataset>/<method>/<setting>/seed<k>/
        cell.yaml        the resolved cell
        status.json      state, reason, times, memory, load of the machine, notes, provenance: written last, so ``done``
                         means complete
        metrics.csv      class, scope, metric, value, reason, n_normal, n_anomalous, n_defined, n_classes
        scores.parquet   index, image, class, defect, label, score, sample_id
        decisions.csv    what thresholds do, for each class and one for all: DECISION_COLUMNS
        pooled.csv       metrics of all classes as one set, beside the mean over classes: POOLED_COLUMNS
        normal.npz       scores of the normal images that thresholds were set on
        curves.npz       thinned curves of each class, by the kinds of CURVES
        history.csv      training curves: step, name, value (when the method trains)
        gallery/         a fixed choice of test images with maps, for pictures
        maps/            all anomaly maps of each class (on demand); N.limits.npy: see common/half.py
        checkpoint/      the trained model
        log.txt          what the cell's process printed

``plan.json`` holds what the grid asks of each cell (identity, configuration, what they are made of) and what was
decided once for the directory. By it a result of another configuration is known as ``stale``: it has no figures in the
results. Cells on disk that are not in the grid are no part of the results. Paths inside the run directory are written
relative to it, all others are absolute; the directory can be moved.

``results.csv`` and ``results/`` are derived from the cells and can be rebuilt at any time. This module imports neither
torch nor pandas at the top, so that ``status`` answers at once.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from diadbench.benchmark.metrics.names import CURVES, METRICS, CurveInfo, is_metric, metric_info
from diadbench.benchmark.records.cell_labels import shots_of
from diadbench.benchmark.records.cell_record import ENDED, FAILED, CellRecord, cell_path, lasted
from diadbench.benchmark.records.columns import CSV_COLUMNS, METRIC_COLUMNS, RESULT_COLUMNS
from diadbench.benchmark.records.experiment import CODE_OF, EARLIER, run_names
from diadbench.benchmark.records.own_files import own_file, read_scores
from diadbench.benchmark.records.run_directory import RunDirectory

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "CODE_OF",
    "CSV_COLUMNS",
    "CURVES",
    "EARLIER",
    "ENDED",
    "FAILED",
    "METRICS",
    "METRIC_COLUMNS",
    "RESULT_COLUMNS",
    "CellRecord",
    "CurveInfo",
    "RunDirectory",
    "cell_path",
    "is_metric",
    "lasted",
    "load_results",
    "metric_info",
    "open_runs",
    "own_file",
    "read_scores",
    "results_of",
    "shots_of",
]


def load_results(paths: Iterable[Path | str] | Path | str) -> pd.DataFrame:
    """Return the results of one or several run directories in long form, one row a (cell, class, metric).

    ``value`` is float64, NaN where undefined (``reason`` says why). ``configuration`` is the same for the seeds of one
    experiment and for nothing else. ``path`` is the resolved path of the run; ``run`` is its shortest end that no other
    run has. A run that is given twice counts once. Raises UserError if a path is no run directory.
    """
    return results_of(open_runs(paths))


def results_of(
    runs: Iterable[tuple[str, RunDirectory]], *, means_alone: bool = False, lean: bool = False
) -> pd.DataFrame:
    """Return the results of runs under the given names, in long form.

    Args:
        runs: Names and run directories.
        means_alone: Leave out the rows of classes if the means contain all information; not for several runs.
        lean: Store texts as ``object`` instead of ``str``: a third of the memory.
    """
    import pandas as pd

    several = list(runs)
    tables = [run.found.frame(name, means_alone=means_alone and len(several) == 1, lean=lean) for name, run in several]
    return tables[0] if len(tables) == 1 else pd.concat(tables, ignore_index=True)


def open_runs(paths: Iterable[Path | str] | Path | str) -> list[tuple[str, RunDirectory]]:
    """Return one or several run directories with their names; one that is given twice, or by a link, counts once."""
    several = [paths] if isinstance(paths, (str, os.PathLike)) else list(paths)
    runs: dict[Path, RunDirectory] = {}
    for run in map(RunDirectory, several):
        runs.setdefault(run.path.resolve(), run)
    names = run_names(list(runs))
    return [(names[path], run) for path, run in runs.items()]
