"""What the page's script needs: tables by class, and every cell in full."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from diadbench.benchmark.records.store import CellRecord
from diadbench.reports.figures.look import Look
from diadbench.reports.page.page_tables import cell_key, metric_head
from diadbench.reports.page.shots import ALL_SHOTS, SHOTS, shots_of
from diadbench.reports.tables.costs import HEADS
from diadbench.reports.tables.escape import clean
from diadbench.reports.tables.labels import Metric, known_metrics
from diadbench.reports.tables.rows.result_rows import records
from diadbench.reports.tables.source import Source

#: the last lines of a log, and at most so many characters of a log or a configuration
LOG_LINES = 40
LOG_CHARS = 6000


def data_of(source: Source, *, lean: bool) -> dict[str, Any]:
    """Return what the page's script needs: tables by class, and every cell in full."""
    cells = _cells(source, lean=lean)
    pictures: dict[str, int] = {}  # each once: an image and its truth are the same for all methods
    for shot in (shot for cell in cells.values() for shot in cell["shots"]):
        shot["images"] = [(what, pictures.setdefault(image, len(pictures))) for what, image in shot["images"] if image]
    return {
        "colours": [style.colour for style in Look.of(source).styles.values()],
        "classes": [_classes(source, dataset) for dataset in source.datasets],
        "cells": cells,
        "pictures": list(pictures),
    }


def _classes(source: Source, dataset: str) -> dict[str, Any] | None:
    rows = source.results[source.results["dataset"] == dataset]
    metrics = known_metrics([key for key in rows["metric"].unique() if key])
    if not metrics:
        return None
    table = source.cut(dataset=dataset, rows=["metric", "method"], columns=["class"], metrics=metrics)
    values: dict[str, list[dict[str, Any]]] = {}
    for (metric, method), entries in zip(table.rows, table.entries):
        if metric.metric is None:
            continue
        shown = [[e.text, e.spread, e.rank, None if math.isnan(e.value) else round(e.value, 6)] for e in entries]
        line = {
            "method": method.text,
            "key": cell_key(source, dataset, method.text),
            "m": source.methods.index(method.text),
            "ours": method.ours,
            "entries": shown,
        }
        values.setdefault(metric.metric.key, []).append(line)
    return {
        "name": dataset,
        "classes": [column[0].text for column in table.columns],
        "metrics": [metric_head(Metric(key, mean=False)) for key in metrics],
        "values": values,
        "seeds": table.seeds_text(),
    }


def _cells(source: Source, *, lean: bool) -> dict[str, Any]:
    found: dict[str, Any] = {}
    most = max(1, min(SHOTS, ALL_SHOTS // max(len(source.datasets) * len(source.methods), 1)))
    shots = {dataset: {} if lean else shots_of(source, dataset, most) for dataset in source.datasets}
    for row in records(source.facts):
        key = cell_key(source, row["dataset"], row["method"])
        cell = found.setdefault(
            key,
            {
                "dataset": row["dataset"],
                "method": row["method"],
                "d": source.datasets.index(row["dataset"]),
                "shots": shots[row["dataset"]].get(row["method"], []),
                "seeds": [],
            },
        )
        cell["seeds"].append(_seed(row, with_config=not cell["seeds"] or row["state"] != "done"))
    return found


def _seed(row: Mapping[str, Any], *, with_config: bool) -> dict[str, Any]:
    """Return a cell in full. Only what failed shows its log: thousands of logs are most of a page."""
    record: CellRecord = row["cell"]
    facts = [("run", row["run"]), ("setting", row["setting"]), ("protocol", row["evaluation"])]
    for key in ("fit", "model", "testing", "images_per_second", "load", "cells", "n_train", "n_test"):
        if not math.isnan(row[key]):
            facts.append((HEADS[key], f"{row[key]:.4g}"))
    facts += [(key, row[key]) for key in ("notes", "identity", "fingerprint") if row[key]]
    return {
        "seed": row["seed"],
        "state": row["state"],
        "reason": row["reason"],
        "facts": facts,
        "traceback": _tail(row["traceback"]),
        "log": _log(record) if row["state"] != "done" else "",
        "config": _config(record) if with_config else "",
    }


def _config(record: CellRecord) -> str:
    try:
        lines = (record.directory / "cell.yaml").read_text(encoding="utf-8", errors="replace")[:LOG_CHARS].split("\n")
        return "\n".join(_line(line) for line in lines)
    except OSError:
        return ""


def _line(text: str) -> str:
    """Return a line without control characters, its indentation kept."""
    return " " * (len(text) - len(text.lstrip(" "))) + clean(text)


def _log(record: CellRecord) -> str:
    try:
        with open(record.directory / "log.txt", "rb") as file:
            file.seek(0, 2)
            file.seek(max(0, file.tell() - 4 * LOG_CHARS))
            return _tail(file.read().decode("utf-8", "replace"))
    except OSError:
        return ""


def _tail(text: str) -> str:
    """Return the last lines of a text, without control characters; a rewritten line has its last state."""
    lines = [line.rsplit("\r", 1)[-1] for line in text.replace("\r\n", "\n").split("\n")][-LOG_LINES:]
    return "\n".join(_line(line) for line in lines)[-LOG_CHARS:]
