"""From the rows of ``results.csv`` to the figures that tables print: names, means over seeds, ranks, notes.

:func:`prepare` chooses and names, :func:`aggregate` computes. Every table, in every format, is a cut of what
:func:`aggregate` returns, so formats can't disagree.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pandas as pd

from diadbench.common.errors import UserError, unknown_name
from diadbench.reports.escape import clean, squeeze

#: what a value is a mean over seeds of
KEYS = ["dataset", "method", "class", "scope", "metric"]
DIGITS = 1


def printed(value: float, digits: int = DIGITS) -> str:
    """Return a value of [0, 1] as tables print it: times 100, one decimal; a dash for NaN."""
    return "–" if pd.isna(value) else f"{value * 100:.{digits}f}"


def prepare(
    results: pd.DataFrame,
    *,
    protocol: str = "",
    mix_protocols: bool = False,
    titles: Mapping[tuple[str, str], str] | None = None,
) -> pd.DataFrame:
    """Choose one protocol, drop what stands twice, and give methods and datasets the names that tables print.

    Args:
        results: Long form, as :func:`diadbench.reports.load_results` returns it.
        protocol: Keep the rows of this protocol alone.
        mix_protocols: Several protocols may share a table; the protocol then stands in the method's name.
        titles: ``{("method", "patchcore"): "PatchCore"}``; used when the title only spells the label otherwise.

    Returns:
        The same columns; ``method`` and ``dataset`` hold printed names, ``setting`` and ``run`` stand in the method's
        name where they tell two rows apart. Labels are kept in ``method_label`` and ``dataset_label``.

    Raises:
        UserError: Several protocols and none chosen, or an unknown protocol.
    """
    table = results.copy()
    table = _one_protocol(table, protocol, mix_protocols)
    table = _without_twins(table)
    for kind in ("method", "dataset"):
        table[f"{kind}_label"] = table[kind]
        table[kind] = table[kind].map(_names(kind, list(table[kind].unique()), titles or {}))
    table["class"] = table["class"].map({name: clean(name) for name in table["class"].unique()})
    for column, form in (("setting", "{} ({})"), ("protocol", "{} [{}]")):
        if table.loc[table["metric"] != "", column].nunique() > 1:
            table["method"] = [form.format(*pair) for pair in zip(table["method"], table[column])]
    return _runs_apart(table)


def _one_protocol(table: pd.DataFrame, protocol: str, mix: bool) -> pd.DataFrame:
    found = table.loc[table["metric"] != "", "protocol"].value_counts()
    if protocol:
        if protocol not in set(table["protocol"]):
            raise unknown_name("protocol", protocol, [str(name) for name in found.index])
        return table[table["protocol"] == protocol]
    if len(found) > 1 and not mix:
        names = ", ".join(f"{name} ({count} rows)" for name, count in found.items())
        raise UserError(
            f"the results hold {len(found)} protocols, {names}: their figures can't be compared; "
            "choose one with --protocol NAME, or ask for all in one table with --mix-protocols"
        )
    return table


def _without_twins(table: pd.DataFrame) -> pd.DataFrame:
    """Drop cells that several runs share: same identity, same result."""
    cell = ["dataset", "method", "setting", "seed", "protocol"]
    known = table["identity"] != ""
    done_first = table[known].sort_values("state", key=lambda state: state != "done", kind="stable")
    first = done_first.drop_duplicates([*cell, "identity"])[[*cell, "identity", "run"]]
    merged = table.merge(first, on=[*cell, "identity"], how="left", suffixes=("", "_first"))
    return table[((merged["run"] == merged["run_first"]) | merged["run_first"].isna()).to_numpy()]


def _names(kind: str, labels: list[str], titles: Mapping[tuple[str, str], str]) -> dict[str, str]:
    names = {label: clean(label) or "(no name)" for label in labels}
    for label in labels:
        title = clean(titles.get((kind, label), ""))
        short, long = squeeze(label), squeeze(title)
        same = short == long if kind == "method" else bool(short) and long.startswith(short)
        if title and same and title not in names.values():
            names[label] = title
    counts = pd.Series(list(names.values())).value_counts()
    return {
        label: name if counts[name] == 1 else f"{name} ({position + 1})"
        for position, (label, name) in enumerate(names.items())
    }


def _runs_apart(table: pd.DataFrame) -> pd.DataFrame:
    """Add the run's name to methods of which two runs hold the same cell with different identities."""
    cell = ["dataset", "method", "seed"]
    runs = table[[*cell, "run"]].drop_duplicates().groupby(cell, sort=False)["run"].nunique()
    clash = set(runs[runs > 1].index.get_level_values("method"))
    if clash:
        table = table.copy()
        table["method"] = [f"{m} @ {clean(r)}" if m in clash else m for m, r in zip(table["method"], table["run"])]
    return table


def records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the rows of a table as dictionaries."""
    return [{str(key): value for key, value in row.items()} for row in table.to_dict("records")]


def tuples(table: pd.DataFrame) -> Iterator[tuple[Any, ...]]:
    """Yield the rows of a table as plain tuples."""
    return table.itertuples(index=False, name=None)


def aggregate(results: pd.DataFrame, *, by_seed: bool = False) -> pd.DataFrame:
    """Return one row a (dataset, method, class, metric): the mean over seeds and what must be said about it.

    Args:
        results: What :func:`prepare` returns (a plain :func:`load_results` frame will do).
        by_seed: Keep seeds apart: no mean, and ``seed`` is one more key.

    Returns:
        Columns :data:`KEYS` and ``value`` (mean over seeds, NaN where undefined), ``std`` (ddof 1, NaN below two
        seeds), ``seeds`` (how many values the mean has), ``ran`` (how many cells were asked for), ``hole``
        (``"13/15"`` where a mean over classes is withheld because classes are missing), ``reason``, and ``rank``
        (1 best, 2 second, by the printed digit among all methods; ties share).
    """
    keys = [*KEYS, "seed"] if by_seed else KEYS
    rows = results[results["metric"] != ""].copy()
    partial = (rows["scope"] == "mean") & (rows["n_defined"] < rows["n_classes"])
    rows["hole"] = ""
    rows.loc[partial, "hole"] = [
        f"{int(some)}/{int(every)}" if some > 0 else ""
        for some, every in zip(rows.loc[partial, "n_defined"], rows.loc[partial, "n_classes"])
    ]
    rows.loc[partial, "value"] = float("nan")  # never a mean over a hole
    grouped = rows.groupby(keys, sort=False, observed=True)
    table = grouped["value"].agg(value="mean", std="std", seeds="count").reset_index()
    table["ran"] = grouped["value"].size().to_numpy()
    for column in ("hole", "reason"):
        filled = rows[rows[column] != ""].groupby(keys, sort=False)[column].first().rename(column)
        table = table.merge(filled.reset_index(), on=keys, how="left")
        table[column] = table[column].fillna("")
    table.loc[table["value"].notna(), ["hole", "reason"]] = ""
    return _ranked(table, [key for key in keys if key != "method"])


def _ranked(table: pd.DataFrame, within: list[str]) -> pd.DataFrame:
    rounded = [float("nan") if pd.isna(value) else float(printed(value)) for value in table["value"]]
    table["rank"] = (
        table.assign(rounded=rounded)
        .groupby(within, sort=False, observed=True)["rounded"]
        .rank(method="dense", ascending=False)
    )
    alone = table.groupby(within, sort=False, observed=True)["method"].transform("size") < 2
    table["rank"] = table["rank"].where((table["rank"] <= 2) & ~alone, 0).fillna(0).astype(int)
    return table


def notes(results: pd.DataFrame) -> dict[tuple[str, str], list[str]]:
    """Return what must be said under a table about each (dataset, method): flags, missing seeds, missing results."""
    columns = ["dataset", "method", "state", "reason", "flags"]
    cells = results.drop_duplicates(["dataset", "method", "setting", "seed", "run"])
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
