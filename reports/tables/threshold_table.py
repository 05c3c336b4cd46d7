"""Results of thresholds, and of all classes as one set, as two plain tables for all formats."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from diadbench.benchmark.records.store import CellRecord
from diadbench.common.wording import counted
from diadbench.reports.tables.escape import clean
from diadbench.reports.tables.labels import Metric
from diadbench.reports.tables.source import Source

#: Rule of a threshold -> its description; a test compares it with the rules that cells use.
RULE_WORDS = {
    "q0.95": "5 % of normal above",
    "q0.99": "1 % of normal above",
    "3sigma": "mean + 3 std of normal",
    "f1max": "best F1 on test labels (oracle)",
}
_LEVELS = {"image": "Images", "pixel": "Pixels"}


@dataclass(frozen=True)
class Figure:
    """A column of figures, for all formats.

    Attributes:
        key: Column of the table.
        head: Its head; all figures are in percent.
    """

    key: str
    head: str


#: Columns of :func:`threshold_rows`.
THRESHOLDS = (
    Figure("own", "F1, own thresholds"),
    Figure("one", "F1, one threshold"),
    Figure("f1", "F1, all together"),
    Figure("precision", "Precision"),
    Figure("recall", "Recall"),
    Figure("fpr", "False alarms"),
    Figure("iou", "IoU"),
)
#: Columns of :func:`pooled_rows`.
POOLED = (
    Figure("mean", "Mean over classes"),
    Figure("pooled", "All classes as one set"),
    Figure("difference", "Difference"),
)
#: Text before both tables.
EXPLANATION = (
    "A threshold turns scores into decisions. Own: each class has its own, mean over classes. One: the same for all "
    "classes, as where nobody says which class an image shows; mean over classes, then all items together. "
    "False alarms: share of normal items above the threshold. Thresholds are set on normal training or validation "
    "images and see no test label, but for the oracle, which nobody has in use."
)
POOLED_EXPLANATION = (
    "The mean over classes ranks each class on its own. As one set, scores of different classes must agree: what is "
    "lost is the shift of scores between classes."
)


def threshold_rows(source: Source) -> pd.DataFrame:
    """Return ``dataset, method, level, rule, seeds`` and the columns of :data:`THRESHOLDS`: means over seeds in [0,1].

    Rows are in the order of tables; empty if no cell has thresholds, as for cells of earlier versions.
    """
    found = _read(source, "decisions.csv")
    if found.empty:
        return pd.DataFrame(columns=["dataset", "method", "level", "rule", "seeds", *(one.key for one in THRESHOLDS)])
    keys = ["dataset", "method", "level", "rule"]
    found = found.assign(rule=[RULE_WORDS.get(rule, rule) for rule in found["rule"]])
    found["level"] = found["level"].map(_LEVELS)
    means = found[found["kind"] == "mean"]
    own, one = (_mean(means[means["scope"] == scope], keys, ["f1"]) for scope in ("own", "one"))
    pooled = _mean(found[found["kind"] == "pooled"], keys, ["f1", "precision", "recall", "fpr", "iou"])
    table = own.rename(columns={"f1": "own"}).merge(one.rename(columns={"f1": "one"}).drop(columns="seeds"), on=keys)
    table = table.merge(pooled.drop(columns="seeds"), on=keys, how="left")
    table.loc[table["level"] == "Images", "iou"] = float("nan")  # Images have no area.
    return table


def pooled_rows(source: Source) -> pd.DataFrame:
    """Return ``dataset, method, metric, seeds, error`` and the columns of :data:`POOLED`: means over seeds."""
    found = _read(source, "pooled.csv")
    if found.empty:
        return pd.DataFrame(columns=["dataset", "method", "metric", "seeds", "error", *(one.key for one in POOLED)])
    found["metric"] = [Metric(key, mean=False).text for key in found["metric"]]
    return _mean(found, ["dataset", "method", "metric"], ["mean", "pooled", "difference", "error"])


def threshold_notes(source: Source) -> list[str]:
    """Return notes on the normal images for thresholds, and on the exactness of the pooled figures of pixels."""
    cells: list[CellRecord] = [*_cells(source)["cell"]]
    said = dict.fromkeys(str(cell.status.get("thresholds_from") or "") for cell in cells)
    notes = [f"Thresholds are set on {clean(text)}{_cost(cells)}." for text in said if text]
    pooled = pooled_rows(source)
    if len(pooled) and pooled["error"].max() > 0:
        notes.append(f"Pixels of all classes as one set: exact to {100 * pooled['error'].max():.1g} points.")
    off = sum(not cell.config.get("thresholds", True) for cell in cells)
    if off and off < len(cells):
        notes.append(f"Not in this table, by thresholds: false of the grid: {counted(off, 'cell')}.")
    missing = sum(not (cell.directory / "decisions.csv").is_file() for cell in cells)
    if missing:
        earlier = counted(missing, "cell of an earlier version has", "cells of an earlier version have")
        notes.append(f"{earlier} tried no thresholds; run again for these.")
    return notes


def _cost(cells: list[CellRecord]) -> str:
    """Return what scoring the normal images took of the time of all cells that scored some."""
    phases = [cell.status.get("phases") or {} for cell in cells if cell.status.get("thresholds_from")]
    took = sum(one.get("calibrate", 0.0) for one in phases)
    whole = sum(sum(one.values()) - one.get("model", 0.0) for one in phases)  # "predict" holds "model"
    return f"; scoring them took {took:.3g} s of the {whole:.3g} s of the cells" if took and whole else ""


def _cells(source: Source) -> pd.DataFrame:
    facts = source.facts
    if facts.empty:
        return pd.DataFrame({"cell": []})
    shown = facts["protocol"].isin(source.results["protocol"].unique())
    return facts[(facts["state"] == "done") & shown]


def _read(source: Source, name: str) -> pd.DataFrame:
    tables = [pd.DataFrame()]
    for dataset, method, cell in zip(*(_cells(source).get(key, []) for key in ("dataset", "method", "cell"))):
        assert isinstance(cell, CellRecord)
        path = cell.directory / name
        if path.is_file():
            table = pd.read_csv(path, dtype={"class": str, "reason": str})
            tables.append(table.assign(dataset=dataset, method=method, seed=cell.seed))
    return pd.concat([table for table in tables if len(table)] or tables, ignore_index=True)


def _mean(table: pd.DataFrame, keys: list[str], figures: list[str]) -> pd.DataFrame:
    """Return the mean over seeds; undefined if a seed has no value."""
    grouped = table.groupby(keys, sort=False)
    found = grouped[figures].mean()
    whole = grouped[figures].count().eq(grouped.size(), axis=0)
    return found.where(whole).assign(seeds=grouped.size()).reset_index()
