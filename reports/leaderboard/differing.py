"""Why two figures of one method on one data set differ: what decided each, as far as it is known."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from diadbench.reports.tables.labels import Metric
from diadbench.reports.tables.rows.experiments import differences
from diadbench.reports.tables.rows.result_rows import signed

if TYPE_CHECKING:
    from diadbench.reports.leaderboard.board_rows import Row

#: The figure that rows are compared by; where it is undefined, the first that both have.
_BY = ("mad", "i_auroc", "p_auroc", "aupro")
#: What is told first: papers state it too.
_FIRST = ("image_size", "epochs", "setting", "classes", "protocol")


def explained(row: Row, others: Sequence[Row], digits: int) -> list[str]:
    """Return a line for each other row: by how much they differ, and what is known to differ between them."""
    return [_line(row, other, digits) for other in others if not (row.published and other.published)]


def _line(row: Row, other: Row, digits: int) -> str:
    name = f"{other.method}, published by {other.source}" if other.published else f"{other.method} ({other.source})"
    metric = next((key for key in _BY if _known(row, key) and _known(other, key)), None)
    figure = "no figure in common"
    if metric is not None:
        points = row.values[metric].mean - other.values[metric].mean
        figure = f"{Metric(metric).text} {signed(points, digits)} points"
    own, theirs = differences([_decided(row), _decided(other)])
    why = (
        f"here {own or 'nothing else'}; there {theirs or 'nothing else'}" if own or theirs else "nothing known differs"
    )
    if row.published or other.published:
        why += "; budget, preprocessing and metric conventions of the paper may differ too"
    return f"{figure} against {name}: {why}"


def _known(row: Row, metric: str) -> bool:
    return metric in row.values and not math.isnan(row.values[metric].mean)


def _decided(row: Row) -> dict[str, Any]:
    """Return what decided a row's figures, under names that measured and published rows share."""
    if row.published:
        found = {"setting": row.setting, "image_size": row.row.get("resolution"), "epochs": row.row.get("epochs")}
        return {key: _plain(value) for key, value in found.items() if _plain(value)}
    decides = row.cells[0].decides
    flat = dict(_flat({key: value for key, value in decides.items() if key != "code"}))
    size = decides.get("image_size") or [0, 0]
    flat |= {"image_size": str(size[0]) if size[0] == size[1] else "x".join(map(str, size)), "protocol": row.protocol}
    part = re.search(r"\b\d+ of \d+ classes\b", row.note)
    flat |= {"setting": row.setting, **({"classes": part[0]} if part else {})}
    return {**{key: flat.pop(key) for key in _FIRST if key in flat}, **flat}


def _flat(values: Mapping[str, Any], above: str = "") -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    for key, value in values.items():
        name = key if above in ("", "method_options") else f"{above}.{key}"
        found += _flat(value, key) if isinstance(value, Mapping) else [(name, value)]
    return found


def _plain(value: object) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)
