"""The notes under a table on a method and dataset: flags, missing seeds, missing results."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import pandas as pd

from diadbench.reports.tables.escape import clean, without_folders
from diadbench.reports.tables.rows.result_rows import complete, tuples

#: How many different reasons of missing seeds a note tells.
_MOST = 3


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
    found = list(dict.fromkeys(flag for text in texts for flag in without_folders(clean(text)).split("; ") if flag))
    done = _done(group)
    rest = Counter(_why(state, reason) for state, reason, _ in group if state != "done")
    if rest and done:
        found.append(f"{done} of {len(group)} seeds; the rest: {_reasons(rest)}")
    elif rest:
        yet = " yet" if {state for state, _, _ in group} <= {"waiting", "running"} else ""
        found.append(f"no result{yet}: {_reasons(rest)}")
    elif done < most:
        found.append(f"{done} seed{'s' if done > 1 else ''}")
    return found


def _why(state: str, reason: str) -> str:
    return _short(without_folders(clean(f"{state}: {reason}" if reason else state)))


def _reasons(rest: Counter[str]) -> str:
    """Return the reasons of several cells; each with the number of its cells, if they differ."""
    texts = list(rest) if len(rest) == 1 else [f"{count} {text}" for text, count in rest.items()]
    more = len(texts) - _MOST
    return " / ".join(texts if more <= 0 else [*texts[:_MOST], f"{more} more reasons"])


def _short(text: str, limit: int = 120) -> str:
    """Return at most ``limit`` characters of a text; a longer one ends with a clause or a word."""
    if len(text) <= limit:
        return text
    clause = text.rfind("; ", limit // 3, limit)
    end = clause if clause > 0 else text.rfind(" ", limit // 2, limit)
    return text[: end if end > 0 else limit - 1].rstrip(" ;,:(") + ("" if clause > 0 else " …" if end > 0 else "…")
