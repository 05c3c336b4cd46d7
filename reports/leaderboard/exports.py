"""The table for other leaderboards: JSON, and ``model-index`` metadata of Hugging Face model cards."""

from __future__ import annotations

import math
from typing import Any

import yaml

from diadbench.reports.leaderboard.board import Board
from diadbench.reports.leaderboard.board_rows import Row, Value
from diadbench.reports.tables.labels import Metric
from diadbench.version import __version__


def to_json(board: Board) -> dict[str, Any]:
    """Return the whole board as plain values; what is undefined is ``None``. Figures are in [0,1]."""
    return {
        "title": board.title,
        "made_by": f"diadbench {__version__}",
        "metrics": {key: Metric(key).text for key in board.metrics},
        "problems": board.problems,
        "rows": [_row(row) for row in board.rows],
    }


def _row(row: Row) -> dict[str, Any]:
    names = ("dataset", "method", "setting", "protocol", "source", "published", "note")
    return {
        **{name: getattr(row, name) for name in names},
        "metrics": {key: _value(value) for key, value in row.values.items()},
        "seeds": [cell.seed for cell in row.cells],
        "configuration": row.cells[0].configuration if row.cells else None,
        "identities": [cell.identity for cell in row.cells],
        "facts": dict(row.facts()),
        "beside": row.beside,
    }


def _value(value: Value) -> dict[str, Any]:
    return {
        "value": None if math.isnan(value.mean) else value.mean,
        "std": None if math.isnan(value.std) else value.std,
        "seeds": value.seeds,
        "reason": value.reason,
    }


def model_index(board: Board, label: str) -> str:
    """Return the ``model-index`` of one method as YAML, to be put into the head of a model card.

    Its figures are in percent, each with the protocol and the data's fingerprint that it hangs on.
    """
    rows = [row for row in board.rows if row.label == label and not row.published]
    results = [_result(board, row) for row in rows]
    return yaml.safe_dump({"model-index": [{"name": label, "results": results}]}, sort_keys=False, allow_unicode=True)


def _result(board: Board, row: Row) -> dict[str, Any]:
    first = row.cells[0]
    dataset = {"type": str(first.config.get("dataset")), "name": row.dataset, "config": row.setting, "split": "test"}
    return {
        "task": {"type": "image-anomaly-detection", "name": "Visual anomaly detection"},
        "dataset": {**dataset, "args": {"fingerprint": str(first.status.get("fingerprint") or "")}},
        "metrics": [
            {
                "type": key,
                "name": Metric(key).text,
                "value": round(100 * value.mean, 6),
                "args": _args(row, value),
                "verified": False,
            }
            for key in board.metrics
            if not math.isnan((value := row.values.get(key, Value())).mean)
        ],
    }


def _args(row: Row, value: Value) -> dict[str, Any]:
    found: dict[str, Any] = {"protocol": row.protocol, "seeds": value.seeds, "experiment": row.method}
    return found if math.isnan(value.std) else {**found, "std": round(100 * value.std, 6)}
