"""Apply a :class:`~diadbench.common.show.Show` to a frame: selection, order and names of rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from diadbench.common.errors import UserError, unknown_name
from diadbench.common.show import Show
from diadbench.reports.tables.escape import clean, squeeze

#: column with the position of a method or dataset in the requested order
PLACE = {"method": "method_place", "dataset": "dataset_place"}


def in_order(results: pd.DataFrame, kind: str) -> list[str]:
    """Return the methods, datasets or seeds of a frame in the order of tables: as requested, else as they come.

    Args:
        results: Result of ``prepare``.
        kind: Name of the column.
    """
    names: list[str] = list(results[kind].unique())
    if PLACE.get(kind, "") not in results:
        return names
    places = results.drop_duplicates(kind).set_index(kind)[PLACE[kind]]
    return sorted(names, key=lambda name: float(places[name]))


def resolve(kind: str, wanted: str, table: pd.DataFrame, *, where: str = "") -> list[str]:
    """Return the printed names for ``wanted``: a printed name, a label of the grid, or its letters alone.

    A label of several rows of a table returns all of them.

    Raises:
        UserError: Nothing has that name.
    """
    pairs = table[[kind, f"{kind}_label"]].drop_duplicates()
    spellings = (str, squeeze)
    for same in spellings:
        for column in (kind, f"{kind}_label"):
            found = pairs.loc[pairs[column].map(same) == same(wanted), kind]
            if len(found) and same(wanted):
                return [str(name) for name in found.unique()]
    raise unknown_name(kind, wanted, [*pairs[kind], *pairs[f"{kind}_label"]], where=where)


Titles = Mapping[tuple[str, str], str]


def labels_renamed(show: Show, table: pd.DataFrame, titles: Titles) -> dict[tuple[str, str], str]:
    """Return ``{(kind, label): name}`` for the names that ``show`` gives to labels or titles.

    Args:
        show: How to show.
        table: Long form, by labels.
        titles: Titles of methods and datasets by (kind, label).

    Raises:
        UserError: One name for two methods.
    """
    found: dict[tuple[str, str], str] = {}
    for wanted, name in show.names.items():
        for key in _labels(wanted, table, titles):
            if (key[0], clean(name)) in {(kind, text) for (kind, _), text in found.items()}:
                raise UserError(f"show: names: two {key[0]}s would be printed as {name!r}; give each its own name")
            found[key] = clean(name)
    return found


def _labels(wanted: str, table: pd.DataFrame, titles: Titles) -> list[tuple[str, str]]:
    """Return the (kind, label) of a key of ``names``: an exact match, else one by letters and digits."""
    keys = [(kind, str(label)) for kind in PLACE for label in table[kind].unique()]
    spelled = {key: (key[1], titles.get(key, "")) for key in keys}
    exact = [key for key in keys if wanted in spelled[key]]
    return exact or [key for key in keys if squeeze(wanted) in {squeeze(text) for text in spelled[key]} - {""}]


def renamed(table: pd.DataFrame, show: Show, titles: Titles) -> pd.DataFrame:
    """Replace whole printed names (``kNN (k=2)``) by the names that ``show`` has for them.

    Raises:
        UserError: A key of ``names`` is neither a label nor a printed name; two rows would have the same name.
    """
    known = {kind: list(table[kind].unique()) for kind in PLACE}
    labels = table.assign(**{kind: table[f"{kind}_label"] for kind in PLACE})
    for wanted, name in show.names.items():
        kinds = [] if _labels(wanted, labels, titles) else [kind for kind, names in known.items() if wanted in names]
        if not kinds and not _labels(wanted, labels, titles):
            every = {*known["method"], *known["dataset"], *labels["method"], *labels["dataset"]}
            raise unknown_name("method or dataset", wanted, every, where="show: names")
        for kind in kinds:
            if clean(name) in known[kind] and clean(name) != wanted:
                raise UserError(f"show: names: {wanted}: another {kind} is printed as {name!r}; choose another name")
            table[kind] = table[kind].replace({wanted: clean(name)})
    return table


def of_classes(table: pd.DataFrame, show: Show) -> pd.DataFrame:
    """Keep the rows of the selected classes; a dataset without any of them is removed.

    Raises:
        UserError: No dataset has a class of that name.
    """
    if not show.classes and not show.drop:
        return table
    of_class = table["scope"] == "class"
    known = list(table.loc[of_class, "class"].unique())
    for name in (*show.classes, *show.drop):
        if name not in known:
            raise unknown_name("class", name, known, where="show: " + ("drop" if show.drop else "classes"))
    gone = of_class & (table["class"].isin(show.drop) if show.drop else ~table["class"].isin(show.classes))
    left = set(table.loc[of_class & ~gone, "dataset"])
    empty = table["dataset"].isin(set(table.loc[gone, "dataset"]) - left)
    return table[~gone & ~empty].copy()


def chosen(table: pd.DataFrame, show: Show) -> pd.DataFrame:
    """Keep the selected methods and datasets, and record the requested order of both.

    Raises:
        UserError: An unknown method, dataset or metric.
    """
    for kind, wanted in (("method", show.methods), ("dataset", show.datasets)):
        if wanted:
            names = _chosen_names(kind, wanted, table)
            table = table[table[kind].isin(names)].copy()
            table[PLACE[kind]] = table[kind].map({name: place for place, name in enumerate(names)})
    return _sorted(table, show.sort) if show.sort else table


def _chosen_names(kind: str, wanted: Sequence[str], table: pd.DataFrame) -> list[str]:
    every = [name for text in wanted for name in resolve(kind, text, table, where=f"show: {kind}s")]
    return list(dict.fromkeys(every))


def _sorted(table: pd.DataFrame, metric: str) -> pd.DataFrame:
    """Record the order of methods by the mean of a metric over datasets, best first; those without a value last.

    A mean over fewer datasets says nothing beside one over all: methods that lack one come after those that have it.
    """
    found = [str(key) for key in table["metric"].unique() if key]
    if found and metric not in found:
        raise unknown_name("metric", metric, found, where="show: sort")
    rows = table[(table["scope"] == "mean") & (table["metric"] == metric)]
    each = rows.groupby(["dataset", "method"], sort=False)["value"].mean().groupby("method", sort=False)
    means = pd.DataFrame({"value": each.mean(), "datasets": each.count()}).dropna()
    best_first = means.sort_values(["datasets", "value"], ascending=False, kind="stable").index
    order = [*best_first, *(name for name in in_order(table, "method") if name not in best_first)]
    places = {name: place for place, name in enumerate(order)}
    return table.assign(**{PLACE["method"]: table["method"].map(places)})
