"""From the rows of ``results.csv`` to the figures that tables print: names, means over seeds, ranks, notes.

:func:`prepare` selects and names, :func:`aggregate` computes. Every table, in every format, is a cut of the result of
:func:`aggregate`, so formats can't disagree.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pandas as pd

from diadbench.common.errors import UserError, unknown_name
from diadbench.common.show import Show
from diadbench.reports.tables.display import chosen, labels_renamed, of_classes, renamed
from diadbench.reports.tables.escape import clean, squeeze
from diadbench.reports.tables.experiments import (
    class_notes,
    datasets_apart,
    made_from,
    methods_apart,
    shared_notes,
    unique_names,
)
from diadbench.reports.tables.means import over_classes_shown
from diadbench.reports.tables.row_kinds import kinds, of_each

#: columns that identify an experiment, over whose seeds means are taken
KEYS = ["dataset", "method", "protocol", "configuration", "class", "scope", "metric"]
#: columns that identify a cell in any run
CELL = ["dataset", "method", "setting", "seed", "protocol", "identity"]
#: name of the mean over classes in tables; no class may have it
MEAN = "mean"
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
    show: Show | Mapping[str, Any] | None = None,
) -> pd.DataFrame:
    """Select one protocol, remove duplicates, and give methods and datasets their printed names.

    Cells that differ in more than their seed have different names. Differences in data and evaluation size are stated
    in the dataset's name (``toy (train=50)``), all others in the method's (``kNN (num_neighbors=2)``).

    Args:
        results: Long form, as :func:`diadbench.reports.load_results` returns it.
        protocol: Keep only the rows of this protocol.
        mix_protocols: Allow several protocols in a table; the protocol is then part of the method's name.
        titles: ``{("method", "patchcore"): "PatchCore"}``. A method is printed by its title, or by title and label if
            several have the same title; a dataset by its title if that only spells the label differently.
        show: Names, methods, datasets, classes and their order. Means go over the remaining classes.

    Returns:
        The same columns, with printed names in ``method`` and ``dataset``; ``setting`` and ``run`` are part of the
        method's name if they distinguish two rows. Labels are in ``method_label`` and ``dataset_label``. ``flags``
        also has notes that depend on several cells: a mean over fewer classes, other threads, a contradiction.

    Raises:
        UserError: Several protocols without a choice, an unknown protocol, or unknown names in ``show``.
    """
    show = Show.read(show)
    table = _one_protocol(complete(results), protocol, mix_protocols)
    made = made_from(table)
    doubted = contradictions(table)
    table = _without_twins(table, doubted)
    for kind in ("method", "dataset"):
        table[f"{kind}_label"] = table[kind]
    given = labels_renamed(show, table, titles or {})
    names = {kind: _names(kind, list(table[kind].unique()), titles or {}, given) for kind in ("method", "dataset")}
    table["dataset"] = _dataset_names(table, datasets_apart(table, made), names["dataset"])
    table["method"] = _method_names(table, methods_apart(table, made), names["method"], doubted)
    table["class"] = class_names(table)
    table = chosen(over_classes_shown(of_classes(renamed(table, show, titles or {}), show)), show)
    notes = [class_notes(table), shared_notes(table, made), _doubt_notes(table, doubted)]
    return _with_notes(table, notes)


def complete(results: pd.DataFrame) -> pd.DataFrame:
    """Return a copy with the columns for experiment and run of each row, if they are missing.

    Rows without a configuration belong to one experiment if run and setting are the same.
    """
    table = results.copy(deep=False)  # columns are replaced, never changed in place
    for name in ("run", "setting", "protocol", "identity", "flags"):
        if name not in table:
            table[name] = ""
    if "path" not in table:
        table["path"] = ""
    if "configuration" not in table:
        table["configuration"] = ""
    unknown = table["configuration"] == ""
    if unknown.any():
        stand_in = table["path"] + table["run"] + "|" + table["setting"]
        table["configuration"] = table["configuration"].where(~unknown, stand_in)
    return table


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
    rest = f", and {more} more figures" if more else ""
    problem = f"one cell, two results: {metric} of {clean(name)} at seed {first['seed']} is {values}{rest}"
    return {"class": name, "problem": problem}


def _without_twins(table: pd.DataFrame, doubted: pd.DataFrame) -> pd.DataFrame:
    """Count a cell that several runs share once; if its figures differ, all copies are kept as separate rows."""
    if table["path"].nunique() < 2 and table["run"].nunique() < 2:
        return table.copy(deep=False)
    known = (table["identity"] != "") & ~_rows_of(table, doubted)
    done_first = table[known].sort_values("state", key=lambda state: state != "done", kind="stable")
    first = done_first.drop_duplicates(CELL)[[*CELL, "path", "run"]]
    merged = table.merge(first, on=CELL, how="left", suffixes=("", "_first"))
    same = (merged["path"] == merged["path_first"]) & (merged["run"] == merged["run_first"])
    return table[(same | ~known.to_numpy()).to_numpy()].copy()


def _rows_of(table: pd.DataFrame, doubted: pd.DataFrame) -> pd.Series[bool]:
    """Return for each row whether a cell of its experiment has two results."""
    names = {"dataset": "dataset_label", "method": "method_label"}
    keys = ["dataset", "method", "configuration", "protocol"]
    at = [names[key] if names.get(key, "") in table else key for key in keys]
    wanted = set(tuples(doubted[keys]))
    if not wanted:
        return pd.Series(False, index=table.index)
    return pd.Series([row in wanted for row in tuples(table[at])], index=table.index, dtype=bool)


def _dataset_names(
    table: pd.DataFrame, apart: Mapping[tuple[str, str], str], base: Mapping[str, str]
) -> pd.Series[str]:
    codes, rows = kinds(table, ["dataset", "configuration"])
    keys = [(label, apart[label, name]) for label, name in rows]
    names = unique_names({(label, text): _with(base[label], text) for label, text in dict.fromkeys(keys)})
    return of_each([names[key] for key in keys], codes, table["dataset"])


def _method_names(
    table: pd.DataFrame,
    apart: Mapping[tuple[str, str], str],
    base: Mapping[str, str],
    doubted: pd.DataFrame,
) -> pd.Series[str]:
    shown = {name: table.loc[table["metric"] != "", name].nunique() > 1 for name in ("setting", "protocol")}
    runs = table["run"].where(_rows_of(table, doubted), "") if len(doubted) else ""
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


def _doubt_notes(table: pd.DataFrame, doubted: pd.DataFrame) -> dict[tuple[str, str], list[str]]:
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


def _with_notes(table: pd.DataFrame, several: Sequence[Mapping[tuple[str, str], list[str]]]) -> pd.DataFrame:
    """Add notes to the flags of their rows."""
    notes: dict[tuple[str, str], list[str]] = {}
    for part in several:
        for pair, texts in part.items():
            notes.setdefault(pair, []).extend(text.replace(";", ",") for text in texts)
    if notes:
        codes, rows = kinds(table, ["dataset", "method", "flags"])
        texts = ["; ".join(filter(None, [flags, *notes.get((name, method), [])])) for name, method, flags in rows]
        table["flags"] = of_each(texts, codes, table["flags"])
    return table


def _names(
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


def records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the rows of a table as dictionaries."""
    return [{str(key): value for key, value in row.items()} for row in table.to_dict("records")]


def tuples(table: pd.DataFrame) -> Iterator[tuple[Any, ...]]:
    """Yield the rows of a table as plain tuples."""
    return zip(*(table[name].tolist() for name in table))  # by column, five times as fast for text


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
        (``"13/15"`` where a mean over classes is withheld because classes are missing), ``reason``, ``classes`` (what
        a mean over classes goes over), and ``rank`` (1 best, 2 second, by the printed digit among all methods of one
        dataset and protocol whose means go over the same classes; ties share, and one value alone has no rank).

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
    results = _without_twins(results, doubted)
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
