"""The printed names of methods, datasets and classes, each different from all others."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from diadbench.common.errors import UserError
from diadbench.reports.tables.escape import clean, squeeze
from diadbench.reports.tables.rows.experiments import unique_names
from diadbench.reports.tables.rows.result_rows import MEAN
from diadbench.reports.tables.rows.row_kinds import kinds, of_each
from diadbench.reports.tables.rows.shared_cells import rows_of


def dataset_names(table: pd.DataFrame, apart: Mapping[tuple[str, str], str], base: Mapping[str, str]) -> pd.Series[str]:
    """Return the printed name of each row's dataset: ``toy (train=50)`` where data or evaluation size differ."""
    codes, rows = kinds(table, ["dataset", "configuration"])
    keys = [(label, apart[label, name]) for label, name in rows]
    names = unique_names({(label, text): _with(base[label], text) for label, text in dict.fromkeys(keys)})
    return of_each([names[key] for key in keys], codes, table["dataset"])


def method_names(
    table: pd.DataFrame,
    apart: Mapping[tuple[str, str], str],
    base: Mapping[str, str],
    doubted: pd.DataFrame,
) -> pd.Series[str]:
    """Return the printed name of each row's method, with what tells it from another one of its label.

    Args:
        table: Rows with labels in ``method`` and printed names in ``dataset``.
        apart: What is added to the name, by label and configuration.
        base: Printed name of each label.
        doubted: Cells with two results, as :func:`contradictions` returns them: their names say the run.
    """
    shown = {name: table.loc[table["metric"] != "", name].nunique() > 1 for name in ("setting", "protocol")}
    runs = table["run"].where(rows_of(table, doubted), "") if len(doubted) else ""
    codes, rows = kinds(table.assign(run=runs), ["method", "configuration", "setting", "protocol", "run"])
    keys = [
        (label, setting if shown["setting"] else "", apart[label, name], protocol if shown["protocol"] else "", run)
        for label, name, setting, protocol, run in rows
    ]
    names = unique_names({key: _method_name(base[key[0]], *key[1:]) for key in dict.fromkeys(keys)})
    labels = table["method"]
    table = table[["dataset", "protocol", "configuration"]].assign(
        method=of_each([names[key] for key in keys], codes, labels)
    )
    alike = table.groupby(["dataset", "method", "protocol"], sort=False)["configuration"].transform("nunique") > 1
    if not alike.any():
        return table["method"]
    return table["method"].where(~alike, table["method"] + " (cells " + table["configuration"].str[:8] + ")")


def _method_name(base: str, setting: str, text: str, protocol: str, run: str) -> str:
    name = _with(_with(base, setting), text)
    name = f"{name} [{protocol}]" if protocol else name
    return f"{name} @ {clean(run)}" if run else name


def _with(name: str, text: str) -> str:
    if text.startswith("@ "):
        return f"{name} {text}"
    return f"{name} ({text})" if text else name


def class_names(table: pd.DataFrame) -> pd.Series[str]:
    """Return the printed name of each row's class; a class named ``mean`` is distinguished from the mean."""
    codes, pairs = kinds(table, ["class", "scope"])
    wanted = {
        (name, scope): "mean (class)" if scope == "class" and clean(name) == MEAN else clean(name)
        for name, scope in pairs
    }
    names = unique_names(dict(sorted(wanted.items(), key=lambda entry: entry[0][1] == "class")))
    return of_each([names[pair] for pair in pairs], codes, table["class"])


def label_names(
    kind: str, labels: list[str], titles: Mapping[tuple[str, str], str], given: Mapping[tuple[str, str], str]
) -> dict[str, str]:
    """Return the printed name of each label: the given one, else the title, else the label."""
    names = {label: given.get((kind, label)) or _titled(kind, label, titles) for label in labels}
    for name in set(names.values()):
        twins = [label for label in labels if names[label] == name]
        if len(twins) > 1 and any((kind, label) in given for label in twins):
            raise UserError(f"show: names: another {kind} is printed as {name!r} already; choose another name")
        for label in twins if len(twins) > 1 else ():
            if squeeze(label) != squeeze(name):
                names[label] = f"{name} ({clean(label) or 'no name'})" if kind == "method" else clean(label)
    return unique_names(names)


def _titled(kind: str, label: str, titles: Mapping[tuple[str, str], str]) -> str:
    title, short = clean(titles.get((kind, label), "")), squeeze(label)
    fits = kind == "method" or (bool(short) and squeeze(title).startswith(short))
    return title if title and fits else clean(label) or "(no name)"
