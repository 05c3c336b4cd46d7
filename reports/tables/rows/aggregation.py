"""Means over seeds, with their spread, holes and ranks."""

from __future__ import annotations

import pandas as pd

from diadbench.common.errors import UserError
from diadbench.reports.tables.rows.means import over_classes_shown
from diadbench.reports.tables.rows.result_rows import DIGITS, KEYS, complete, printed, tuples
from diadbench.reports.tables.rows.shared_cells import contradictions, without_twins


def aggregate(results: pd.DataFrame, *, by_seed: bool = False, digits: int = DIGITS) -> pd.DataFrame:
    """Return one row per (dataset, method, configuration, class, metric): the mean over seeds and its notes.

    Args:
        results: Result of :func:`prepare`. A plain :func:`load_results` frame works too, but has no printed names, so
            a label may have several rows, which differ in ``configuration``.
        by_seed: Keep seeds separate: no mean, and ``seed`` is an additional key.
        digits: Number of printed decimals, on which ranks are based.

    Returns:
        Columns :data:`KEYS` and ``value`` (mean over seeds, NaN where undefined), ``std`` (ddof 1, NaN below two
        seeds), ``seeds`` (how many values the mean has), ``ran`` (how many cells were asked for), ``hole``
        (``"13/15"`` where a mean over classes is withheld because classes are missing), ``reason``, ``lacks`` (why a
        seed has no value, where others may have one), ``classes`` (what a mean over classes goes over), and ``rank``
        (1 best, 2 second, by the printed digit among all methods of one dataset and protocol whose means go over the
        same classes; ties share, and one value alone has no rank).

    Raises:
        UserError: A cell stands in several runs with different figures.
    """
    keys = [*KEYS, "seed"] if by_seed else KEYS
    results = over_classes_shown(counted_once(complete(results)))
    needed = dict.fromkeys([*keys, "value", "reason", "n_defined", "n_classes"])
    rows = results.loc[results["metric"] != "", [*needed]]
    partial = (rows["scope"] == "mean") & (rows["n_defined"] < rows["n_classes"])
    rows["hole"] = ""
    rows.loc[partial, "hole"] = [
        f"{int(some)}/{int(every)}" if some > 0 else ""
        for some, every in zip(rows.loc[partial, "n_defined"], rows.loc[partial, "n_classes"])
    ]
    rows.loc[partial, "value"] = float("nan")  # A mean over missing classes is not computed.
    grouped = rows.groupby(keys, sort=False, observed=True)
    table = grouped["value"].agg(value="mean", std="std", seeds="count").reset_index()
    table["ran"] = grouped["value"].size().to_numpy()
    for column in ("hole", "reason"):
        filled = rows[rows[column] != ""].groupby(keys, sort=False)[column].first().rename(column)
        table = table.merge(filled.reset_index(), on=keys, how="left")
        table[column] = table[column].fillna("")
    table["lacks"] = table["reason"].where(table["seeds"] < table["ran"], "")
    table.loc[table["value"].notna(), ["hole", "reason"]] = ""
    table["classes"] = _classes(rows, table)
    within = [key for key in keys if key not in ("method", "configuration")]
    return _ranked(table, [*within, "classes"], digits)


def counted_once(results: pd.DataFrame) -> pd.DataFrame:
    """Return the rows with each cell once; the result of :func:`prepare` is returned unchanged.

    Raises:
        UserError: A cell stands in several runs with different figures, or a seed twice in one experiment.
    """
    keys = [*KEYS, "seed"]
    if not results.duplicated(keys).any():
        return results
    doubted = contradictions(results)
    if len(doubted):
        raise UserError(f"{doubted['problem'].iloc[0]}; leave one of these runs out")
    results = without_twins(results, doubted)
    twice = results[(results["metric"] != "") & results.duplicated(keys, keep=False)]
    if len(twice):
        row = twice.iloc[0]
        runs = " and ".join(dict.fromkeys(twice["path"].where(twice["path"] != "", twice["run"]).head(2)))
        raise UserError(
            f"{runs}: seed {row['seed']} of {row['method']} on {row['dataset']} stands there twice; "
            "a mean takes each seed once, leave one of them out"
        )
    return results


def one_experiment_a_row(table: pd.DataFrame) -> pd.DataFrame:
    """Return the result of :func:`aggregate` if each (dataset, method) in it is one experiment.

    Raises:
        UserError: A name has several configurations, of which a table would show only one.
    """
    twice = table.duplicated(
        [key for key in table if key in (*KEYS, "seed") and key not in ("configuration", "protocol")]
    )
    if twice.any():
        row = table[twice].iloc[0]
        raise UserError(
            f"{row['method']} on {row['dataset']}: several experiments have this name; "
            "diadbench.reports.prepare(results) gives each its own"
        )
    return table


def _classes(rows: pd.DataFrame, table: pd.DataFrame) -> list[tuple[str, ...]]:
    """Return for each row of ``table`` the classes of its mean; nothing for the value of a single class."""
    keys = ["dataset", "method", "protocol", "configuration"]
    of_classes = rows.loc[rows["scope"] == "class", [*keys, "class"]].drop_duplicates()
    sets = {key: tuple(sorted(names)) for key, names in of_classes.groupby(keys, sort=False)["class"]}
    return [sets.get(row[:-1], ()) if row[-1] == "mean" else () for row in tuples(table[[*keys, "scope"]])]


def _ranked(table: pd.DataFrame, within: list[str], digits: int) -> pd.DataFrame:
    rounded = [float("nan") if pd.isna(value) else float(printed(value, digits)) for value in table["value"]]
    grouped = table.assign(rounded=rounded).groupby(within, sort=False, observed=True)["rounded"]
    rank = grouped.rank(method="dense", ascending=False)
    alone = grouped.transform("count") < 2  # There is no other method to compare with.
    table["rank"] = rank.where((rank <= 2) & ~alone, 0).fillna(0).astype(int)
    return table
