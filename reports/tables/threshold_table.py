"""Results of thresholds, and of all classes as one set, as two plain tables for all formats."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from diadbench.common.wording import counted
from diadbench.reports.tables.labels import Metric
from diadbench.reports.tables.source import Source

#: Rule of a threshold -> its description; a test compares it with the rules that cells use.
RULE_WORDS = {
    "q0.95": "5 % of normal above",
    "q0.99": "1 % of normal above",
    "3sigma": "mean + 3 std of normal",
    "f1max": "best F1 on test labels (oracle)",
}
_TOGETHER = ["f1", "precision", "recall", "fpr", "iou"]
_LEVELS = {"image": "Images", "pixel": "Pixels"}


@dataclass(frozen=True)
class Figure:
    """A column of figures, for all formats.

    Attributes:
        key: Column of the table.
        head: Its head; all figures are in percent.
        short: Its head in a terminal of 80 columns.
    """

    key: str
    head: str
    short: str


#: Columns of :func:`threshold_rows`.
THRESHOLDS = (
    Figure("own", "F1, own thresholds", "F1\nown"),
    Figure("one", "F1, one threshold", "F1\none"),
    Figure("f1", "F1, all together", "F1\nall"),
    Figure("precision", "Precision", "preci-\nsion"),
    Figure("recall", "Recall", "recall"),
    Figure("fpr", "False alarms", "false\nalarms"),
    Figure("iou", "IoU", "IoU"),
)
#: Columns of :func:`pooled_rows`.
POOLED = (
    Figure("mean", "Mean over classes", "mean over\nclasses"),
    Figure("pooled", "All classes as one set", "all classes\nas one set"),
    Figure("difference", "Difference", "difference"),
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
    found = source.kept("decisions.csv", ("mean", "pooled"))
    if found.empty:
        return pd.DataFrame(columns=["dataset", "method", "level", "rule", "seeds", *(one.key for one in THRESHOLDS)])
    keys = ["dataset", "method", "level", "rule"]
    found = found.assign(rule=found["rule"].map({rule: RULE_WORDS.get(rule, rule) for rule in found["rule"].unique()}))
    found["level"] = found["level"].map(_LEVELS)
    means = found[found["kind"] == "mean"]
    own, one = (_mean(means[means["scope"] == scope], keys, ["f1"]) for scope in ("own", "one"))
    pooled = _mean(found[found["kind"] == "pooled"], keys, _TOGETHER)
    table = own.rename(columns={"f1": "own"}).merge(one.rename(columns={"f1": "one"}).drop(columns="seeds"), on=keys)
    table = table.merge(pooled.rename(columns={"seeds": "together"}), on=keys, how="left")
    # a cell without a threshold for all has no row of its own here, and its seed is missing in the mean
    table.loc[table.pop("together") != table["seeds"], _TOGETHER] = float("nan")
    table.loc[table["level"] == "Images", "iou"] = float("nan")  # Images have no area.
    return table


def pooled_rows(source: Source) -> pd.DataFrame:
    """Return ``dataset, method, metric, seeds, error`` and the columns of :data:`POOLED`: means over seeds."""
    found = source.kept("pooled.csv")
    if found.empty:
        return pd.DataFrame(columns=["dataset", "method", "metric", "seeds", "error", *(one.key for one in POOLED)])
    texts = {key: Metric(key, mean=False).text for key in found["metric"].unique()}
    found = found.assign(metric=found["metric"].map(texts))
    return _mean(found, ["dataset", "method", "metric"], ["mean", "pooled", "difference", "error"])


def threshold_notes(source: Source) -> list[str]:
    """Return notes on the normal images for thresholds, and on the exactness of the pooled figures of pixels."""
    cells = source.done
    said = dict.fromkeys(cells["thresholds_from"]) if len(cells) else {}
    notes = [f"Thresholds are set on {text}{_cost(cells)}." for text in said if text]
    notes += _dashes(threshold_rows(source))
    pooled = pooled_rows(source)
    if pooled[["mean", "pooled"]].isna().any(axis=None):
        notes.append("All classes as one set, –: in a seed the scores have no value, or a class has none.")
    if len(pooled) and pooled["error"].max() > 0:
        notes.append(f"Pixels of all classes as one set: exact to {100 * pooled['error'].max():.1g} points.")
    kept = source.kept("decisions.csv", ("mean", "pooled"))
    lacking = cells.drop(index=cells.index[kept["cell"].unique()]) if len(kept) else cells
    off = sum(not cell.config.get("thresholds", True) for cell in lacking["cell"])
    if off and off < len(cells):
        notes.append(f"Not in this table, by thresholds: false of the grid: {counted(off, 'cell')}.")
    missing = len(lacking) - off
    if missing:
        earlier = counted(missing, "cell of an earlier version has", "cells of an earlier version have")
        notes.append(f"{earlier} tried no thresholds; run again for these.")
    return notes


def _dashes(table: pd.DataFrame) -> list[str]:
    """Return a note on why figures of :func:`threshold_rows` are missing; none where none is."""
    images, undefined = table["level"] == "Images", table.isna()
    why = {
        "IoU: images have no area": images.any(),
        "precision: in a seed nothing lies above the threshold": (undefined["precision"] & ~undefined["f1"]).any(),
        "F1: in a seed a class has no value": undefined[["own", "one"]].any(axis=None),
        "all together: in a seed there is no threshold for all classes, or no item to judge": (
            undefined[["f1", "recall", "fpr"]].any(axis=None) or undefined.loc[~images, "iou"].any()
        ),
    }
    found = [text for text, there in why.items() if there]
    return [f"–: {'; '.join(found)}."] if found else []


def _cost(cells: pd.DataFrame) -> str:
    """Return what scoring the normal images took of the time of all cells that scored some."""
    scored = cells[cells["thresholds_from"] != ""]
    took, whole = scored["calibrate"].sum(), scored["all_phases"].sum()
    return f"; scoring them took {took:.3g} s of the {whole:.3g} s of the cells" if took and whole else ""


def _mean(table: pd.DataFrame, keys: list[str], figures: list[str]) -> pd.DataFrame:
    """Return the mean over seeds; undefined if a seed has no value."""
    grouped = table.groupby(keys, sort=False)
    found = grouped[figures].mean()
    whole = grouped[figures].count().eq(grouped.size(), axis=0)
    return found.where(whole).assign(seeds=grouped.size()).reset_index()
