"""A cell as one row of the ledger: its identity, its outcome, its figures in lists, and the state of its files."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from diadbench.benchmark.records.cell_record import ENDED, CellRecord
from diadbench.benchmark.records.identity import is_wanted
from diadbench.common.errors import UserError

_COUNTS = ("n_normal", "n_anomalous", "n_defined", "n_classes")
_TEXTS = ("class", "scope", "metric", "reason")


def stamps(cell: str) -> tuple[str, str]:
    """Return dates and sizes of a cell's files: of ``status.json``, and of ``metrics.csv`` with ``cell.yaml``.

    Args:
        cell: The cell's directory as text, because this is called for thousands of cells.

    Returns:
        ``""`` for a missing file; the second text ends with ``/`` if there is no ``cell.yaml``.
    """
    return file_stamp(f"{cell}/status.json"), f"{file_stamp(f'{cell}/metrics.csv')}/{file_stamp(f'{cell}/cell.yaml')}"


def file_stamp(path: str) -> str:
    """Return date and size of a file as text; ``""`` if it doesn't exist."""
    try:
        found = os.stat(path)
    except OSError:
        return ""
    return f"{found.st_mtime_ns}.{found.st_size}"


def entry_of(record: CellRecord) -> dict[str, Any]:
    """Return the row of a cell as the grid sees it.

    Raises:
        UserError: ``metrics.csv`` doesn't hold figures.
    """
    stamp, rest = stamps(str(record.directory))  # Read before the files, so that changes in between are not missed.
    state, why, figures = _figures(record)
    status = record.status
    return {
        "dataset": record.dataset,
        "method": record.method,
        "setting": record.setting,
        "seed": record.seed,
        "stamp": stamp,
        "rest": rest,
        "state": state,
        "why": why,
        "protocol": _protocol(record),
        "flags": "; ".join(status.get("notes", [])) if state != "stale" else "",
        "identity": record.identity,
        "configuration": record.configuration,
        "started": status.get("started"),
        "finished": status.get("finished"),
        **figures,
    }


def may_be_kept(record: CellRecord) -> bool:
    """Whether a cell's row depends on its files alone: it has ended with the configuration that the grid asks for.

    Cells of earlier versions, which don't state their identity, are read each time.
    """
    status = record.status
    said = all(status.get(key) for key in ("identity", "configuration", "protocol"))
    return said and status["state"] in ENDED and (record.wanted is None or is_wanted(status, record.wanted))


def _protocol(record: CellRecord) -> str:
    if record.wanted is not None:
        return record.wanted.protocol
    return str(record.status.get("protocol") or record.config.get("protocol", ""))


def _figures(record: CellRecord) -> tuple[str, str, dict[str, list[Any]]]:
    """Return the cell's state, its reason and its figures."""
    state, why = record.state, str(record.status.get("reason", ""))
    try:
        rows = record.metrics()
    except FileNotFoundError:
        # Another runner clears the cell to run it again, or the file was deleted.
        now = CellRecord(record.directory, record.wanted)
        gone = "metrics.csv is gone; run the cell again with `diadbench run RUN --overwrite always`"
        state, why = (now.state, str(now.status.get("reason", ""))) if now.state != "done" else ("error", gone)
        rows = []
    return state, why, _columns(rows, record.directory) if rows else _without_figures(why)


def _without_figures(why: str) -> dict[str, list[Any]]:
    texts = {name: [""] for name in _TEXTS}
    return {**texts, "reason": [why], "value": [None], **{name: [None] for name in _COUNTS}}


def _columns(rows: list[dict[str, str]], cell: Path) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {name: [row.get(name) or "" for row in rows] for name in _TEXTS}
    try:
        found["value"] = [float(row["value"]) if row["value"] else None for row in rows]
        for name in _COUNTS:
            found[name] = [int(float(text)) if (text := row.get(name)) else None for row in rows]
    except (ValueError, KeyError) as error:
        raise UserError(f"{cell / 'metrics.csv'}: expected figures, found {error}; run the cell again") from error
    return found
