"""All metrics of a cell once more, from its kept maps and the data's masks."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from diadbench import datasets
from diadbench.benchmark.cells.cell import open_data
from diadbench.benchmark.cells.scoring.evaluating import make_evaluator
from diadbench.benchmark.metrics import get_protocol
from diadbench.benchmark.metrics.evaluation import Evaluation
from diadbench.benchmark.metrics.names import metric_info
from diadbench.benchmark.records.store import CellRecord
from diadbench.benchmark.reuse.kept_maps import KeptMaps, updates
from diadbench.benchmark.reuse.reevaluate import normal_again
from diadbench.benchmark.sharing.cell_checks import told
from diadbench.benchmark.sharing.figure_checks import differ, metrics_of, scores_of
from diadbench.benchmark.sharing.verify_findings import Finding
from diadbench.common.errors import UserError
from diadbench.datasets.lookup import TABLE

#: How far figures may lie from a cell's own: of maps that were kept as float16, or of images that a GPU has pooled.
HALF = 5e-3
EXACT = 1e-9


def why_not(record: CellRecord, root: str | None) -> str:
    """Say why a cell's maps can't be evaluated again here; ``""`` where they can."""
    if not record.status.get("kept_maps"):
        return "no maps were kept: metrics of pixels are checked against curves alone"
    if record.config.get("dataset") not in TABLE:
        return "its data set is code of its own, which isn't run here"
    if root is not None and not Path(root).is_dir():
        return f"its data aren't here ({root}); say where with --root LABEL=PATH"
    return ""


def check_maps(record: CellRecord, root: str | None) -> Iterator[Finding]:
    """Yield what differs between a cell's figures and those that its kept maps give with the data's masks.

    Args:
        record: A finished cell for which :func:`why_not` has nothing to say.
        root: Where its data lie here; ``None``: the set makes them.
    """
    name = told(record)
    try:
        yield from (Finding(kind, text, name) for kind, text in _compared(record, root))
    except (UserError, OSError, KeyError, TypeError, ValueError, IndexError) as error:
        yield Finding("map", f"the kept maps can't be evaluated ({error})", name)


def _compared(record: CellRecord, root: str | None) -> Iterator[tuple[str, str]]:
    config = {**record.config, "root": root}
    dataset = datasets.get(config["dataset"], root, **config["dataset_options"])
    protocol = get_protocol(config["protocol"])
    data = open_data(dataset, config, protocol.mask_rule, lambda done, total, what: None)
    if data.fingerprint != record.status.get("fingerprint"):
        yield "fingerprint", f"the data at {root} are not those that it was run on, or they were changed since"
        return
    yield from _images(scores_of(record), dataset.samples)
    table = metrics_of(record)
    known = table[~table.duplicated(["class", "metric"])].set_index(["class", "metric"])["value"]
    device = str((record.status.get("environment") or {}).get("device", ""))
    on_gpu = protocol.score == "pooled" and device.startswith("cuda")  # scores that are alike but for rounding
    half = record.status["kept_maps"].get("dtype") == "float16"
    again = _again(record, config, dataset, data)
    if not half and not on_gpu:
        yield from _thresholds(record, again)
    for row in again.table.to_dict("records"):
        own = float(known.get((row["class"], row["metric"]), np.nan))
        rounded = half or (on_gpu and metric_info(row["metric"]).level in ("image", "sample"))
        if differ(own, float(row["value"]), HALF if rounded else EXACT):
            yield "map", f"{row['metric']} of {row['class']} is {own}, its maps give {row['value']}"


def _images(scores: pd.DataFrame, samples: pd.DataFrame) -> Iterator[tuple[str, str]]:
    """Compare what scores.parquet says of each image with the data."""
    known = samples.loc[scores["index"]]
    for key in ("image", "class", "label"):
        if key in known and key in scores:
            for own, true in zip(scores[key], known[key], strict=True):
                if own != true:
                    yield "score", f"scores.parquet has the {key} {own}, where the data have {true}"
                    break


def _thresholds(record: CellRecord, again: Evaluation) -> Iterator[tuple[str, str]]:
    """Compare ``decisions.csv`` and ``pooled.csv`` with what the maps give."""
    for name, named in (("decisions", ["level", "scope", "rule", "class", "kind"]), ("pooled", ["metric"])):
        own = pd.read_csv(record.directory / f"{name}.csv")
        new: pd.DataFrame = getattr(again, name)
        if own.empty or new.empty:
            continue  # `thresholds: false`
        both = own.merge(new, on=named, how="outer", suffixes=("", " again"), indicator=True)
        if (both["_merge"] != "both").any():
            yield "threshold", f"{name}.csv has other rows than its maps give"
            continue
        for column in ("threshold", "f1", "precision", "recall", "fpr", "iou", "pooled"):
            for row in both.to_dict("records") if column in own else ():
                slack = EXACT + 2 * float(row.get("error", 0.0) or 0.0)
                if differ(float(row[column]), float(row[f"{column} again"]), slack):
                    where = " ".join(str(row[key]) for key in named)
                    told_of = f"{column} of {where} is {row[column]}, its maps give {row[f'{column} again']}"
                    yield "threshold", f"{name}.csv: {told_of}"


def _again(record: CellRecord, config: dict[str, Any], dataset: Any, data: Any) -> Evaluation:
    protocol = get_protocol(config["protocol"])
    scores = scores_of(record).set_index("index")
    kept = KeptMaps(record.directory, dataset.classes, dataset.samples)
    with tempfile.TemporaryDirectory(prefix="diadbench-verify-") as spill:
        evaluator = make_evaluator(dataset, protocol, Path(spill))
        for place, summary in normal_again(record, protocol, len(dataset.classes)).items():
            evaluator.set_normal(place, summary)
        for part in dataset.parts(config["setting"]):
            _, test = data.part(part)
            for update in updates(test, kept, scores, dataset.samples, dataset.classes):
                evaluator.update(**update)
        return evaluator.compute()
