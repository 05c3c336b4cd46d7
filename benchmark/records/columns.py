"""Names of the columns that results have, in a cell's file, in a run's and in a table of several runs."""

from __future__ import annotations

METRIC_COLUMNS = (
    "class",
    "scope",
    "metric",
    "value",
    "reason",
    "n_normal",
    "n_anomalous",
    "n_defined",
    "n_classes",
)
RESULT_COLUMNS = (
    "run",
    "dataset",
    "method",
    "setting",
    "seed",
    "protocol",
    *METRIC_COLUMNS,
    "state",
    "flags",
    "identity",
    "configuration",
    "path",
)
#: Columns of ``results.csv``: all but the path of the run directory, which may be moved
CSV_COLUMNS = RESULT_COLUMNS[:-1]
