"""The notes under a table on a method and dataset: flags, missing seeds, missing results."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from diadbench.reports.tables.escape import clean
from diadbench.reports.tables.rows.result_rows import complete, tuples


def notes(results: pd.DataFrame) -> dict[tuple[str, str], list[str]]:
    """Return the notes under a table on each (dataset, method): flags, missing seeds, missing results."""
    columns = ["dataset", "method", "state", "reason", "flags"]
    cells = complete(results).drop_duplicates(["dataset", "method", "setting", "seed", "path", "run"])
    pairs: dict[tuple[str, str], list[tuple[str, str, str]]] = {}
    for dataset, method, state, reason, flags in tuples(cells[columns]):
        pairs.setdefault((str(dataset), str(method)), []).append((state, reason, flags))
    most = max((_done(group) for group in pairs.values()), default=0)
    return {pair: _said(group, most) for pair, group in pairs.items()}


def _done(group: Sequence[tuple[str, str, str]]) -> int:
    return sum(state == "done" for state, _, _ in group)


def _said(group: Sequence[tuple[str, str, str]], most: int) -> list[str]:
    """Return the notes on the cells ``(state, reason, flags)`` of one method on one dataset."""
    texts = dict.fromkeys(flags for _, _, flags in group)
    found = list(dict.fromkeys(flag for text in texts for flag in clean(text).split("; ") if flag))
    done = _done(group)
    ended = [clean(f"{state}: {reason}" if reason else state) for state, reason, _ in group if state != "done"]
    if ended and done:
        found.append(f"{done} of {len(group)} seeds; the rest: {_short(ended[0])}")
    elif ended:
        found.append(f"no result: {_short(ended[0])}")
    elif done < most:
        found.append(f"{done} seed{'s' if done > 1 else ''}")
    return found


def _short(text: str, limit: int = 120) -> str:
    return text if len(text) <= limit else text[: limit - 1] + "…"
