"""Whether a cell's figures follow from what it kept: means, scores, curves."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from diadbench.benchmark.metrics.evaluation import mean_of_seven, mean_over_classes
from diadbench.benchmark.metrics.exact.scores import score_metrics
from diadbench.benchmark.metrics.names import CURVES, SAMPLE, SEVEN, metric_info
from diadbench.benchmark.metrics.protocols import get_protocol
from diadbench.benchmark.records.own_files import read_scores
from diadbench.benchmark.records.store import CellRecord
from diadbench.benchmark.sharing.cell_checks import told
from diadbench.benchmark.sharing.verify_findings import Finding
from diadbench.common.errors import UserError
from diadbench.datasets.facts.counts import published

#: Sums in another order differ by less.
ROUNDING = 1e-9
#: Curves are thinned: no point moves by more than 1/2000.
THINNED = 5e-3
_BROKEN = (OSError, KeyError, TypeError, ValueError)


def check_figures(record: CellRecord) -> Iterator[Finding]:
    """Yield what is wrong with the figures of a finished cell, from what lies in its directory."""
    name = told(record)
    try:
        table = metrics_of(record)
    except (*_BROKEN, UserError) as error:
        yield Finding("metric", f"metrics.csv can't be read ({error})", name)
        return
    twice = table[table.duplicated(["scope", "class", "metric"])]
    if len(twice):
        row = twice.iloc[0]
        yield Finding("metric", f"metrics.csv has {row['metric']} of {row['class']} twice", name)
        return
    for check in (_arithmetic, _from_scores, _from_curves, _decided, _beside, _counts):
        try:
            yield from (Finding(kind, text, name) for kind, text in check(record, table))
        except UserError as error:
            yield Finding("file", str(error), name)
        except _BROKEN as error:
            yield Finding("file", f"{check.__name__.removeprefix('_')}: a file of it can't be read ({error!r})", name)


def metrics_of(record: CellRecord) -> pd.DataFrame:
    """Return ``metrics.csv`` with numbers; an empty value is NaN."""
    table = pd.DataFrame(record.metrics())
    for column in ("value", "n_normal", "n_anomalous", "n_defined", "n_classes"):
        table[column] = pd.to_numeric(table[column].replace("", None))
    return table


def differ(one: float, other: float, slack: float = ROUNDING) -> bool:
    """Whether two figures differ by more than ``slack``, or one alone is undefined."""
    return bool(np.isnan(one) != np.isnan(other)) or abs(one - other) > slack


def _arithmetic(record: CellRecord, table: pd.DataFrame) -> Iterator[tuple[str, str]]:
    classes, means = table[table["scope"] == "class"], table[table["scope"] == "mean"].set_index("metric")
    for row in classes.to_dict("records"):
        low, high = metric_info(str(row["metric"])).bounds
        if not np.isnan(row["value"]) and not low <= row["value"] <= high:
            yield "metric", f"{row['metric']} of {row['class']} is {row['value']}, outside {low:g} to {high:g}"
    for row in mean_over_classes(classes).to_dict("records"):
        known = float(means["value"].get(row["metric"], np.nan))
        if differ(known, row["value"]):
            yield "mean", f"the mean of {row['metric']} is {known}, its classes give {row['value']}"
        elif row["metric"] in means.index:
            said = tuple(means.loc[row["metric"], ["n_defined", "n_classes"]].astype(int))
            if said != (row["n_defined"], row["n_classes"]):
                here = f"{row['n_defined']} of {row['n_classes']}"
                yield "mean", f"the mean of {row['metric']} is over {said[0]} of {said[1]} classes, there are {here}"
    for name, rows in classes.groupby("class", sort=False):
        values = {str(key): (float(value), "") for key, value in zip(rows["metric"], rows["value"], strict=True)}
        if "mad" in values and all(key in values for key in SEVEN):
            own, seven = values["mad"][0], mean_of_seven(values, SEVEN)[0]
            if differ(own, seven):
                yield "mean", f"mad of {name} is {own}, the mean of its seven metrics is {seven}"


def scores_of(record: CellRecord) -> pd.DataFrame:
    """Return ``scores.parquet``."""
    return read_scores(record.directory)


def _from_scores(record: CellRecord, table: pd.DataFrame) -> Iterator[tuple[str, str]]:
    """Compute the metrics of images and samples again."""
    protocol, scores = get_protocol(str(record.status["protocol"])), scores_of(record)
    if protocol.label_rule == "mask" and record.status.get("vanished_masks"):
        return  # labels of images whose mask vanished aren't kept
    known = table[table["scope"] == "class"].set_index(["class", "metric"])
    for name, rows in scores.groupby("class", sort=False):
        found, _, _ = score_metrics(rows["score"].to_numpy(), rows["label"].to_numpy().astype(bool), protocol)
        counts = int((rows["label"] == 0).sum()), int((rows["label"] == 1).sum())
        if (name, SAMPLE[0]) in known.index:
            grouped = rows.groupby("sample_id", sort=False).agg({"score": "max", "label": "max"})
            labels = grouped["label"].to_numpy().astype(bool)
            found |= score_metrics(grouped["score"].to_numpy(), labels, protocol, "s", "sample")[0]
        for metric, (value, _) in found.items():
            own = float(known["value"].get((name, metric), np.nan))
            if differ(own, value):
                yield "score", f"{metric} of {name} is {own}, its scores give {value}"
        said = tuple(known.loc[(name, "i_auroc"), ["n_normal", "n_anomalous"]].astype(int))
        if said != counts:
            yield "score", f"{name} has {said[0]} normal and {said[1]} anomalous images, its scores are of {counts}"
    counted = known[[not str(metric).startswith("s_") for _, metric in known.index]]
    for label, of_class in counted.groupby(level="class", sort=False):
        if len(of_class[["n_normal", "n_anomalous"]].drop_duplicates()) > 1:
            yield "score", f"the metrics of {label} are of different numbers of images"
    if record.status.get("n_test") not in (None, len(scores)):
        yield "score", f"status.json says {record.status.get('n_test')} test images, scores.parquet has {len(scores)}"
    if set(scores["class"]) != {name for name, _ in known.index}:
        yield "score", "scores.parquet and metrics.csv are of other classes"


def _from_curves(record: CellRecord, table: pd.DataFrame) -> Iterator[tuple[str, str]]:
    """Compare areas under the kept curves with the metrics that the protocol computes exactly."""
    protocol = get_protocol(str(record.status["protocol"]))
    if protocol.flip:
        return
    exact = {"image": protocol.image_curve, "pixel": protocol.pixel_curve, "region": protocol.pro}
    known = table[table["scope"] == "class"].set_index(["class", "metric"])["value"]
    for name, of_class in record.curves().items():
        for kind, info in CURVES.items():
            own = float(known.get((name, info.metric), np.nan))
            if kind not in of_class and exact[info.level] == "exact" and not np.isnan(own):
                yield "file", f"curves.npz lacks the curve of {info.metric} of {name}"
        for kind, (x, y) in of_class.items():
            info = CURVES[kind]
            own = float(known.get((name, info.metric), np.nan))
            if exact[info.level] == "exact" and not np.isnan(own):
                area = _area(x, y, info.rule, protocol.pro_limit if info.limited else 1.0)
                if differ(own, area, THINNED):
                    yield "metric", f"{info.metric} of {name} is {own:.6f}, the area under its curve is {area:.6f}"


def _decided(record: CellRecord, table: pd.DataFrame) -> Iterator[tuple[str, str]]:
    """Apply the thresholds of images to the scores again."""
    protocol, scores = get_protocol(str(record.status["protocol"])), scores_of(record)
    if protocol.label_rule == "mask" and record.status.get("vanished_masks"):
        return  # as in _from_scores
    decisions = pd.read_csv(record.directory / "decisions.csv")
    chosen = (decisions["level"] == "image") & (decisions["kind"] == "class") & decisions["threshold"].notna()
    for row in decisions[chosen].to_dict("records"):
        part = scores[scores["class"] == row["class"]]
        found = _at_threshold(part["score"] > row["threshold"], part["label"] == 1)
        for key, value in found.items():
            if differ(float(row[key]), value):
                at = f"{key} of {row['class']} at {row['threshold']}"
                yield "threshold", f"{at} is {row[key]} in decisions.csv, its scores give {value}"


def _at_threshold(positive: pd.Series[bool], true: pd.Series[bool]) -> dict[str, float]:
    """Return recall, false positive rate and F1 of a decision."""
    hits, missed, wrong = (int(each.sum()) for each in (positive & true, ~positive & true, positive & ~true))
    return {
        "recall": hits / max(hits + missed, 1),
        "fpr": wrong / max(int((~true).sum()), 1),
        "f1": 2 * hits / max(2 * hits + missed + wrong, 1),
    }


def _area(x: np.ndarray[Any, Any], y: np.ndarray[Any, Any], rule: str, limit: float) -> float:
    """Return the area under a curve up to ``limit``, divided by it."""
    if rule == "step":
        return float((np.diff(x, prepend=0.0) * y).sum())
    if limit < 1:
        height = np.interp(limit, x, y)
        x, y = np.append(x[x < limit], limit), np.append(y[x < limit], height)
    return float(np.trapezoid(y, x)) / limit


def _beside(record: CellRecord, table: pd.DataFrame) -> Iterator[tuple[str, str]]:
    """Compare with what else in the cell says the same: pooled.csv the means, the gallery the scores."""
    means = table[table["scope"] == "mean"].set_index("metric")["value"]
    pooled = pd.read_csv(record.directory / "pooled.csv")
    for metric, value in zip(pooled["metric"], pooled["mean"], strict=True):
        own = float(means.get(metric, np.nan))
        if differ(own, float(value)):
            yield "mean", f"the mean of {metric} is {own} in metrics.csv and {value} in pooled.csv"
    index = record.directory / "gallery" / "index.json"
    if index.is_file():
        scores = scores_of(record).set_index("image")["method_score"]
        for entry in json.loads(index.read_text(encoding="utf-8")):
            if differ(float(scores.get(entry["image"], np.nan)), float(entry["score"])):
                yield "score", f"{entry['image']} has another score in the gallery than in scores.parquet"


def _counts(record: CellRecord, table: pd.DataFrame) -> Iterator[tuple[str, str]]:
    """Compare the numbers of test images with those published for the set, unless a note says that it is another."""
    config, status = record.config, record.status
    known = published(str(config.get("dataset")))
    told_of = ("synthetic", "quick look", "classes")
    if not known or any(word in note for note in status.get("notes", []) for word in told_of):
        return
    found = {name: (row["n_normal"], row["n_anomalous"]) for name, row in _per_class(table)}
    variants = [{name: (each.good, each.bad) for name, each in counts.items()} for _, counts in known]
    if not any(all(variant.get(name) == own for name, own in found.items()) for variant in variants):
        wrong = next(name for name, own in found.items() if variants[0].get(name) != own)
        yield (
            "fingerprint",
            (
                f"{wrong} has {found[wrong]} normal and anomalous test images, {known[0][0]} has "
                f"{variants[0].get(wrong, 'no such class')}, and no note says why"
            ),
        )


def _per_class(table: pd.DataFrame) -> Iterator[tuple[str, dict[str, int]]]:
    rows = table[(table["scope"] == "class") & (table["metric"] == "i_auroc")]
    for row in rows.to_dict("records"):
        yield str(row["class"]), {key: int(row[key]) for key in ("n_normal", "n_anomalous")}
