"""Write a leaderboard: its pages, the JSON of its table, the metadata for model cards."""

from __future__ import annotations

import math
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from markupsafe import Markup

from diadbench.common.errors import UserError
from diadbench.common.files import write_json, write_text
from diadbench.common.show import Show
from diadbench.reports.leaderboard.board import Board, make_board
from diadbench.reports.leaderboard.board_rows import Row, Value
from diadbench.reports.leaderboard.exports import model_index, to_json
from diadbench.reports.page.page_templates import rendered, template
from diadbench.reports.published.published_files import as_published
from diadbench.reports.tables.labels import Metric
from diadbench.reports.tables.rows.result_rows import printed
from diadbench.reports.tables.source import Source
from diadbench.version import __version__

#: File by which a site is known as one that may be written anew.
MARK = "leaderboard.json"


def publish(runs: Sequence[Path], out: Path, *, title: str = "", protocol: str = "", show: Show | None = None) -> Board:
    """Write a leaderboard of runs as a static site; no page needs a server or the network.

    Args:
        runs: Run directories.
        out: Folder of the site; an earlier site there is replaced, anything else is refused.
        title: Its title; ``Leaderboard`` by default.
        protocol: Show this protocol alone; by default all, each row saying its own.
        show: How to show, laid over the ``show`` blocks of the runs.

    Returns:
        What was published.

    Raises:
        UserError: Not a run directory, nothing to show, or other files in ``out``.
    """
    _check(out)
    source = Source.load(runs, protocol=protocol, mix_protocols=not protocol, show=show)
    if (source.results["metric"] == "").all():
        raise UserError("publish: no cell of these runs has results yet")
    board = make_board(source, title or "Leaderboard")
    for path in [*out.glob("*.html"), *out.glob("model-index/*.yaml")]:
        path.unlink()
    for (kind, name), file in board.pages.items():
        rows = [row for row in board.rows if getattr(row, "label" if kind == "method" else kind) == name]
        write_text(out / file, _page(board, rows, name, kind))
        if kind == "method":
            write_text(out / "model-index" / f"{Path(file).stem}.yaml", model_index(board, name))
    write_text(out / "index.html", _page(board, board.rows, board.title, "index"))
    write_json(out / MARK, to_json(board))
    return board


def _check(out: Path) -> None:
    if out.is_file():
        raise UserError(f"{out}: a file; expected a folder for the site")
    if out.is_dir() and any(out.iterdir()) and not (out / MARK).is_file():
        raise UserError(f"{out}: holds something else than a leaderboard; choose an empty folder with --out")


def _page(board: Board, rows: Sequence[Row], heading: str, kind: str) -> str:
    places = files("diadbench.reports") / "leaderboard" / "templates"

    def load(name: str) -> str:
        return (places / name).read_text(encoding="utf-8")

    measured = sum(not row.published for row in rows)
    context = {
        "title": board.title,
        "heading": heading,
        "kind": kind,
        "measured": measured,
        "published": len(rows) - measured,
        "heads": [Metric(key) for key in board.metrics],
        "rows": [_shown(board, row, place, kind) for place, row in enumerate(rows)],
        "problems": board.problems if kind == "index" else [],
        "datasets": list(dict.fromkeys(row.dataset for row in rows)),
        "settings": list(dict.fromkeys(row.setting for row in rows)),
        "protocols": list(dict.fromkeys(row.protocol for row in rows if row.protocol)),
        "pages": [(name, file) for (of, name), file in board.pages.items() if of == "dataset"],
        "methods": [(name, file) for (of, name), file in board.pages.items() if of == "method"],
        "model_index": f"model-index/{Path(board.pages['method', heading]).stem}.yaml" if kind == "method" else "",
        "data": {"rows": [_detail(board, row) for row in rows]},
        "css": Markup(template("report.css") + load("board.css")),
        "js": Markup(template("shared.js") + load("board.js")),
        "version": __version__,
    }
    return rendered(load, "board.html.j2", context)


def _shown(board: Board, row: Row, place: int, kind: str) -> dict[str, Any]:
    best = _best(board, row.dataset)
    return {
        "place": place,
        "dataset": row.dataset,
        "method": row.method,
        "setting": row.setting,
        "protocol": row.protocol,
        "source": row.source,
        "published": row.published,
        "dataset_page": board.pages["dataset", row.dataset] if kind != "dataset" else "",
        "method_page": board.pages.get(("method", row.label), "") if kind != "method" else "",
        "figures": [_figure(board, row, key, best.get((*_among(row), key), [])) for key in board.metrics],
        "marked": bool(row.note),
    }


def _among(row: Row) -> tuple[object, ...]:
    return row.protocol, row.setting, row.classes


def _best(board: Board, dataset: str) -> dict[tuple[object, ...], list[float]]:
    """Return the printed figures of a data set's measured rows, by protocol, setting, classes and metric."""
    found: dict[tuple[object, ...], list[float]] = {}
    for row in board.rows:
        for key, value in row.values.items():
            if row.dataset == dataset and not row.published and not math.isnan(value.mean):
                found.setdefault((*_among(row), key), []).append(float(value.text(board.digits)))
    return found


def _figure(board: Board, row: Row, key: str, rivals: Sequence[float]) -> dict[str, Any]:
    """Return a figure as shown; it is the best if no rival has more, and there is one."""
    value = row.values.get(key, Value())
    known = not math.isnan(value.mean)
    spread = "" if math.isnan(value.std) else f"{100 * value.std:.{board.digits}f}"
    is_best = known and not row.published and len(rivals) > 1 and max(rivals) == float(value.text(board.digits))
    return {
        "text": _text(row, key, board.digits),
        "why": value.reason if not known else "",
        "spread": spread,
        "v": f"{value.mean:.6g}" if known else "",
        "best": is_best,
        "name": Metric(key).text,
    }


def _text(row: Row, key: str, digits: int) -> str:
    value = row.values.get(key, Value())
    if math.isnan(value.mean):
        return value.hole or "–"
    return as_published(float(row.row[key])) if row.published else value.text(digits)


def _detail(board: Board, row: Row) -> dict[str, Any]:
    """Return what opens behind a figure."""
    per_seed = [
        [f"{cell.seed}", *(_seed_value(row, cell.seed, key, board.digits) for key in board.metrics)]
        for cell in row.cells
    ]
    return {
        "title": f"{row.method} on {row.dataset}",
        "facts": row.facts(),
        "beside": row.beside,
        "seeds": per_seed,
        "heads": ["Seed", *(Metric(key).text for key in board.metrics)],
        "repeat": row.repeat(),
        "cells": [f"RUN/cells/{'/'.join(cell.directory.parts[-4:])}" for cell in row.cells],
    }


def _seed_value(row: Row, seed: int, key: str, digits: int) -> str:
    return printed(row.by_seed.get((seed, key), math.nan), digits + 2)
