"""A cell that several runs hold: count it once, and say where its figures contradict each other."""

from __future__ import annotations

from typing import Any

import pandas as pd

from diadbench.common.wording import counted
from diadbench.reports.tables.escape import clean
from diadbench.reports.tables.rows.result_rows import CELL, tuples


def contradictions(table: pd.DataFrame) -> pd.DataFrame:
    """Return the cells with different figures in several runs, although everything that decides them is the same.

    Returns:
        Columns :data:`CELL`, ``configuration``, ``class`` and ``problem`` (one sentence with both runs and values);
        one row a cell. Methods and datasets are those of ``table``.
    """
    keys = [*CELL, "configuration"]
    found: list[dict[str, Any]] = []
    if table["path"].nunique() > 1:
        rows = table[(table["identity"] != "") & (table["metric"] != "")]
        figure = [*keys, "class", "scope", "metric"]
        counts = rows.groupby(figure, sort=False)["value"].transform("nunique", dropna=False)
        for cell, several in rows[counts > 1].groupby(keys, sort=False):
            found.append({**dict(zip(keys, cell)), **_contradiction(several)})
    return pd.DataFrame(found, columns=[*keys, "class", "problem"])


def _contradiction(rows: pd.DataFrame) -> dict[str, str]:
    """Return a sentence on the first figure of a cell that differs between runs, with both values."""
    first = rows.iloc[0]
    name, metric = str(first["class"]), str(first["metric"])
    same = rows[(rows["class"] == name) & (rows["metric"] == metric) & (rows["scope"] == first["scope"])]
    values = " and ".join(f"{value!r} in {clean(run)}" for run, value in zip(same["run"], same["value"].map(float)))
    more = len(rows.drop_duplicates(["class", "scope", "metric"])) - 1
    rest = f", and {counted(more, 'more figure')}" if more else ""
    problem = f"one cell, two results: {metric} of {clean(name)} at seed {first['seed']} is {values}{rest}"
    return {"class": name, "problem": problem}


def without_twins(table: pd.DataFrame, doubted: pd.DataFrame) -> pd.DataFrame:
    """Count a cell that several runs share once; if its figures differ, all copies are kept as separate rows."""
    if table["path"].nunique() < 2 and table["run"].nunique() < 2:
        return table.copy(deep=False)
    known = (table["identity"] != "") & ~rows_of(table, doubted)
    done_first = table[known].sort_values("state", key=lambda state: state != "done", kind="stable")
    first = done_first.drop_duplicates(CELL)[[*CELL, "path", "run"]]
    merged = table.merge(first, on=CELL, how="left", suffixes=("", "_first"))
    same = (merged["path"] == merged["path_first"]) & (merged["run"] == merged["run_first"])
    return table[(same | ~known.to_numpy()).to_numpy()].copy()


def rows_of(table: pd.DataFrame, doubted: pd.DataFrame) -> pd.Series[bool]:
    """Return for each row whether a cell of its experiment has two results."""
    names = {"dataset": "dataset_label", "method": "method_label"}
    keys = ["dataset", "method", "configuration", "protocol"]
    at = [names[key] if names.get(key, "") in table else key for key in keys]
    wanted = set(tuples(doubted[keys]))
    if not wanted:
        return pd.Series(False, index=table.index)
    return pd.Series([row in wanted for row in tuples(table[at])], index=table.index, dtype=bool)


def doubt_notes(table: pd.DataFrame, doubted: pd.DataFrame) -> dict[tuple[str, str], list[str]]:
    """Return the contradictions of ``(dataset, method)``, by their printed names, as notes."""
    keys = ["dataset_label", "method_label", "configuration", "protocol", "dataset", "method"]
    found: dict[tuple[str, str], list[str]] = {}
    if len(doubted):
        problems: dict[tuple[Any, ...], list[str]] = {}
        for *cell, problem in tuples(doubted[["dataset", "method", "configuration", "protocol", "problem"]]):
            problems.setdefault(tuple(cell), []).append(f"contradiction: {problem}")
        for row in tuples(table[keys].drop_duplicates()):
            if row[:4] in problems:
                found[row[4:]] = problems[row[:4]]
    return found
