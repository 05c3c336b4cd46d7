"""Our figures beside the published ones of the same method, dataset and setting."""

from __future__ import annotations

import re

import pandas as pd

from diadbench.reports.published.comparable import dataset_key, setting_of
from diadbench.reports.published.published_files import VALUES, load_published
from diadbench.reports.tables.escape import squeeze
from diadbench.reports.tables.rows.result_rows import records


def beside(results: pd.DataFrame, table: pd.DataFrame, published: pd.DataFrame | None = None) -> pd.DataFrame:
    """Return the published rows of the datasets in ``results``, each with our figures of the same method and setting.

    Args:
        results: Result of ``prepare``.
        table: Result of :func:`aggregate` for them.
        published: Result of :func:`load_published`; by default without rows of a run.

    Returns:
        The published columns; ``here`` (we ran the dataset), ``ours`` (name of our method or ``""``), ``our_dataset``,
        and for each metric ``<metric>_ours`` and ``<metric>_difference`` (ours minus published), all in percent. Where
        several of our experiments have the name, or ours goes over some of the classes, none stands beside the
        published row, and ``note`` says so.
    """
    ours, parts = _measured(results), _parts_of(results)
    datasets = {dataset_key(str(name)) for column in ("dataset_label", "dataset") for name in results[column].unique()}
    means = table[table["scope"] == "mean"].set_index(["dataset", "method", "metric"])["value"]
    rows = []
    for row in records(load_published() if published is None else published):
        key = dataset_key(str(row["dataset"]))
        setting = setting_of(str(row["setting"]))
        several = ours.get((key, squeeze(str(row["method"])), setting), [])
        why = f"{len(several)} rows match" if len(several) > 1 else parts.get(several[0], "") if several else ""
        dataset, method = several[0] if several and not why else ("", "")
        extra: dict[str, object] = {"here": key in datasets, "ours": method, "our_dataset": dataset}
        if why:
            extra["note"] = "; ".join(filter(None, [str(row["note"]), f"ours isn't shown: {why}"]))
        for metric in VALUES:
            value = 100 * float(means.get((dataset, method, metric), float("nan")))
            extra[f"{metric}_ours"] = value
            extra[f"{metric}_difference"] = value - float(row[metric])
        rows.append({**row, **extra})
    return pd.DataFrame(rows)


def _measured(results: pd.DataFrame) -> dict[tuple[str, str, str], list[tuple[str, str]]]:
    """Return the printed (dataset, method) of our experiments, by the keys of their labels and names, and setting."""
    found: dict[tuple[str, str, str], list[tuple[str, str]]] = {}
    kinds = results[["dataset", "dataset_label", "method", "method_label", "setting"]].drop_duplicates()
    for dataset, dataset_label, method, method_label, setting in kinds.itertuples(index=False, name=None):
        names = {(dataset_key(d), squeeze(m)) for d in (dataset_label, dataset) for m in (method_label, method)}
        for name in names:
            found.setdefault((*name, setting), []).append((dataset, method))
    return found


def _parts_of(results: pd.DataFrame) -> dict[tuple[str, str], str]:
    """Return ``3 of 15 classes`` for each (dataset, method) whose notes say so; published means go over all classes."""
    found = {}
    for dataset, method, flags in results[["dataset", "method", "flags"]].drop_duplicates().itertuples(index=False):
        part = re.search(r"\b\d+ (of \d+ classes|class(es)? of \d+)\b", str(flags))
        if part:
            found[dataset, method] = part[0]
    return found
