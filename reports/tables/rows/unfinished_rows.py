"""Cells that wait, as rows without figures, so that a table says why it has no value in their place."""

from __future__ import annotations

from collections.abc import Iterable

import pandas as pd

from diadbench.benchmark.records.store import RunDirectory
from diadbench.reports.tables.rows.result_rows import tuples

_KEY = ["dataset", "method", "setting", "seed"]


def with_waiting(results: pd.DataFrame, runs: Iterable[tuple[str, RunDirectory]]) -> pd.DataFrame:
    """Return results with a row for each planned cell that has not begun, in the place of a value that a table shows.

    Those are the cells of datasets and methods that both have a row already, because a table crosses the two, and
    further seeds of an experiment that another run has. Other cells of the grid are in no table.

    Args:
        results: Long form, one row a (cell, class, metric); a cell without figures has one row, ``metric`` is ``""``.
        runs: Names and run directories of the results.

    Returns:
        The same columns; in the added rows the state is ``waiting`` and all figures are missing.
    """
    parts = [results]
    known = set(tuples(results[["dataset", "method", "setting", "configuration"]].drop_duplicates()))
    for name, run in runs:
        path = str(run.path.resolve())
        there = set(tuples(results.loc[results["path"] == path, _KEY].drop_duplicates()))
        datasets, methods = {key[0] for key in there}, {key[1] for key in there}
        rows = [
            {**dict(zip(_KEY, key)), "protocol": wanted.protocol, "identity": wanted.identity,
             "configuration": wanted.configuration, "run": name, "path": path, "state": "waiting"}
            for key, wanted in run.wanted.items()
            if key not in there
            and ((key[0] in datasets and key[1] in methods) or (*key[:3], wanted.configuration) in known)
        ]  # fmt: skip
        if rows:
            parts.append(_as_rows(rows, results))
    return results if len(parts) == 1 else pd.concat(parts, ignore_index=True)


def waiting(results: pd.DataFrame, shown: pd.DataFrame, runs: Iterable[RunDirectory]) -> int:
    """Return how many planned cells have not begun, those of methods and datasets that aren't shown left out.

    Args:
        results: Long form of the cells on disk, by labels.
        shown: What of them is shown: the result of ``prepare``.
        runs: Their run directories.
    """
    found, elsewhere = set(), set(tuples(results[[*_KEY, "identity"]].drop_duplicates()))
    for run in runs:
        path = str(run.path.resolve())
        there = set(tuples(results.loc[results["path"] == path, _KEY].drop_duplicates()))
        seen = shown[shown["path"] == path]
        hidden = [
            {key[place] for key in there} - set(seen[f"{kind}_label"])
            for place, kind in enumerate(("dataset", "method"))
        ]
        found |= {
            (key, each.identity)
            for key, each in run.wanted.items()
            if key not in there
            and key[0] not in hidden[0]
            and key[1] not in hidden[1]
            and (*key, each.identity) not in elsewhere
        }
    return len(found)


def _as_rows(rows: list[dict[str, object]], like: pd.DataFrame) -> pd.DataFrame:
    """Return rows with the columns of ``like`` and their types: no text is ``""``, no number NaN."""
    found = pd.DataFrame(rows)
    for name in like:
        if name not in found:
            found[name] = float("nan") if like[name].dtype.kind == "f" else ""
    return found[list(like)].astype(like.dtypes.to_dict())
