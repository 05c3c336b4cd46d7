"""Recompute means over the classes in a frame, so that removed classes don't count in any mean."""

from __future__ import annotations

from collections.abc import Iterable

import pandas as pd

from diadbench.reports.tables.rows.experiments import class_note

#: columns that identify a cell in a frame, if they exist
CELL = ("path", "run", "dataset", "method", "setting", "seed", "protocol", "configuration", "identity")


def over_classes_shown(results: pd.DataFrame) -> pd.DataFrame:
    """Return results in which every mean goes over the classes that have rows.

    A mean over other classes than those with rows is computed again: it is undefined if a class has no value, and its
    ``flags`` state the number of its classes. A cell without class rows (a frame of means alone) is unchanged.

    Args:
        results: Long form.
    """
    keys = [*(key for key in CELL if key in results), "metric"]
    results = results if results.index.is_unique else results.reset_index(drop=True)
    if not {"flags", "n_classes"} <= set(results):
        return results
    rows = results.loc[results["metric"] != "", list(dict.fromkeys([*keys, "scope", "class", "value", "n_classes"]))]
    classes = rows[rows["scope"] == "class"].groupby(keys, sort=False, dropna=False)["value"]
    counts = pd.DataFrame({"count": classes.size(), "known": classes.count(), "average": classes.mean()}).reset_index()
    means = rows[rows["scope"] == "mean"]
    at = means.index
    found = means[[*keys, "n_classes"]].merge(counts, on=keys, how="left").set_index(at)
    wrong = found["count"].notna() & found["n_classes"].notna() & (found["count"] != found["n_classes"])
    if not wrong.any():
        return results
    found = found[wrong]
    whole = found["known"] == found["count"]
    results = results.copy()
    results.loc[found.index, "value"] = found["average"].where(whole)
    results.loc[found.index, "n_defined"] = found["known"].astype(float)
    results.loc[found.index, "n_classes"] = found["count"].astype(float)
    results.loc[found.index, "reason"] = [
        "" if is_whole else f"{known}/{count} classes" if known else reason or f"0/{count} classes"
        for is_whole, known, count, reason in zip(
            whole, found["known"].astype(int), found["count"].astype(int), results.loc[found.index, "reason"]
        )
    ]
    return _with_flags(results, rows, found, keys[:-1])


def _with_flags(results: pd.DataFrame, rows: pd.DataFrame, found: pd.DataFrame, cell: list[str]) -> pd.DataFrame:
    """Add the number of classes of the means to every row of a cell."""
    every = found.groupby(cell, sort=False, dropna=False)["n_classes"].max().to_dict()
    names = rows[rows["scope"] == "class"].groupby(cell, sort=False, dropna=False)["class"].unique().to_dict()
    said = {key: _note(names[key], float(count)) for key, count in every.items()}
    keys = list(zip(*(results[name] for name in cell)))
    results["flags"] = ["; ".join(filter(None, [flag, said.get(key)])) for flag, key in zip(results["flags"], keys)]
    return results


def _note(names: Iterable[object], every: float) -> str:
    return class_note(sorted(map(str, names)), int(every)).replace(";", ",")
