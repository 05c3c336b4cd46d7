"""Each row of a table is one experiment. Cells with one label that differ in more than the seed get different names.

Differences in data and evaluation size are stated in the dataset's name. Differences in options, code and the rest
are stated in the method's name. So grouping by these two names averages over seeds alone.
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from diadbench.benchmark.records.store import CODE_OF, EARLIER, RunDirectory
from diadbench.reports.tables.escape import clean

#: number of differences that a name states; further ones are counted
MOST = 4
#: keys that all methods of a table should share; if they differ, each row states its own
SHARED = ("threads", "resize")
Values = dict[str, Any]


@dataclass(frozen=True)
class Made:
    """The settings that the cells of one configuration were made from.

    Attributes:
        decides: All that decides their results, except the seed.
        data: The dataset's name and options, if ``cell.yaml`` is the one that the result was made from.
        channels: Channels that the method reads of each sample; the fingerprint depends on them.
    """

    decides: Values
    data: Values
    channels: tuple[str, ...]


def made_from(results: pd.DataFrame) -> dict[str, Made]:
    """Return the settings of each configuration, as one of its cells keeps them."""
    keys = ["path", "dataset", "method", "setting", "seed", "configuration"]
    first = results[results["path"] != ""].drop_duplicates("configuration")[keys]
    found = {}
    for path, dataset, method, setting, seed, configuration in first.itertuples(index=False, name=None):
        if (Path(path) / "grid.yaml").is_file():
            found[configuration] = _made(RunDirectory(path), dataset, method, setting, seed)
    return found


def _made(run: RunDirectory, dataset: str, method: str, setting: str, seed: int) -> Made:
    cell = run.as_wanted((dataset, method, setting, seed))
    same = cell.config.get("identity", "") == cell.status.get("identity", cell.config.get("identity", ""))
    data = {"dataset": cell.config.get("dataset"), **(cell.config.get("dataset_options") or {})} if same else {}
    return Made(cell.decides, data, tuple((cell.status.get("method_info") or {}).get("channels") or ()))


def differences(several: Sequence[Values]) -> list[str]:
    """Return for each of several mappings how it differs from the others: ``num_neighbors=2``.

    Values that are ``None`` or missing are left out; the others state their values instead.
    """
    keys = [key for key in dict.fromkeys(key for values in several for key in values) if _differs(key, several)]
    return [_told(values, keys) for values in several]


def _differs(key: str, several: Sequence[Values]) -> bool:
    return len({_text(values.get(key)) for values in several}) > 1


def _told(values: Values, keys: Sequence[str]) -> str:
    named = {"fingerprint": "data "}
    said = [key for key in keys if values.get(key) is not None]
    parts = [f"{named.get(key, f'{key}=')}{_text(values[key])}" for key in said]
    more = len(parts) - MOST
    return ", ".join(parts if more <= 0 else [*parts[:MOST], f"{more} more"])


def _text(value: object) -> str:
    """Return a value on one line, digests shortened: ``[64, 64]`` is ``64x64``."""
    if isinstance(value, (list, tuple)):
        joint = "x" if len(value) == 2 and all(type(part) is int for part in value) else " "
        return joint.join(_text(part) for part in value)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    text = re.sub(r"\b[0-9a-f]{16,}\b", lambda digest: digest[0][:8], clean(value))
    return text if len(text) <= 48 else f"{text[:20]}…{text[-20:]}"


def _flat(values: Mapping[str, Any], before: str = "") -> Values:
    """Return nested mappings as one, keys joined by dots."""
    found: Values = {}
    for key, value in values.items():
        name = f"{before}{key}"
        found.update(_flat(value, f"{name}.") if isinstance(value, Mapping) else {name: value})
    return found


def datasets_apart(table: pd.DataFrame, made: Mapping[str, Made]) -> dict[tuple[str, str], str]:
    """Return ``{(dataset label, configuration): difference of its data from others of the label}``; often ``""``.

    Args:
        table: Long form, by labels.
        made: Result of :func:`made_from`.
    """
    found: dict[tuple[str, str], str] = {}
    pairs = table[["dataset", "configuration"]].drop_duplicates()
    for label, group in pairs.groupby("dataset", sort=False)["configuration"]:
        several = list(group)
        judged = _judged_on(several, made)
        kinds = list(dict.fromkeys(judged.values()))
        texts = dict(zip(kinds, _data_names(kinds, judged, made))) if len(kinds) > 1 else {}
        found.update({(str(label), name): texts.get(judged[name], "") for name in several})
    return found


def _judged_on(several: Sequence[str], made: Mapping[str, Made]) -> dict[str, tuple[str, str]]:
    """Return the fingerprint of each configuration's data and its evaluation size, ``""`` if all are equal."""
    known = {name: made.get(name, Made({}, {}, ())) for name in several}
    prints = {name: str(entry.decides.get("fingerprint") or "") for name, entry in known.items()}
    if not _other_data(list(known.values())):
        prints = dict.fromkeys(prints, "")
    sizes = {name: _evaluation_size(entry) for name, entry in known.items()}
    explicit = any("evaluation_size" in entry.decides for entry in known.values())
    if not explicit or len(set(sizes.values())) == 1:
        sizes = dict.fromkeys(sizes, "")
    return {name: (prints[name], sizes[name]) for name in several}


def _other_data(several: Sequence[Made]) -> bool:
    """Whether the data differ. Methods that read other channels have different fingerprints of the same data."""
    prints: dict[tuple[str, ...], set[str]] = {}
    for entry in several:
        prints.setdefault(entry.channels, set()).add(str(entry.decides.get("fingerprint") or ""))
    options = {_text(sorted(_flat(entry.data).items(), key=str)) for entry in several}
    return any(len(found) > 1 for found in prints.values()) or (len(prints) > 1 and len(options) > 1)


def _evaluation_size(entry: Made) -> str:
    """Return the size at which maps are evaluated; for cells that don't state it, the method's own size."""
    return _text(entry.decides.get("evaluation_size") or entry.decides.get("image_size") or "")


def _data_names(
    kinds: Sequence[tuple[str, str]], judged: Mapping[str, tuple[str, str]], made: Mapping[str, Made]
) -> list[str]:
    """Name data by their different options, else by their fingerprint, and by the evaluation size."""
    several = [[_flat(made[name].data) for name, at in judged.items() if at == kind and name in made] for kind in kinds]
    options = differences([_common(entries) for entries in several])
    many = len({fingerprint for fingerprint, _ in kinds}) > 1
    texts = []
    for (fingerprint, size), option in zip(kinds, options):
        others = {other for (other, _), text in zip(kinds, options) if text == option}
        digest = f"data {_text(fingerprint or 'unknown')}" if many and len(others) > 1 else ""
        texts.append(", ".join(filter(None, [option if many else "", digest, size and f"evaluated at {size}"])))
    return texts


def _common(several: Sequence[Values]) -> Values:
    """Return the entries that all of several mappings share."""
    first = several[0] if several else {}
    return {key: value for key, value in first.items() if not _differs(key, several)}


def methods_apart(table: pd.DataFrame, made: Mapping[str, Made]) -> dict[tuple[str, str], str]:
    """Return ``{(method label, configuration): difference from others of that label}``; often ``""``.

    Args:
        table: Long form; methods by label, datasets by the names that distinguish their data.
        made: Result of :func:`made_from`.
    """
    keys = ["dataset", "setting", "protocol"]
    found: dict[tuple[str, str], str] = {}
    for label, rows in table[["method", *keys, "configuration", "run"]].groupby("method", sort=False):
        groups = [list(group.unique()) for _, group in rows.groupby(keys, sort=False)["configuration"]]
        groups = [group for group in groups if len(group) > 1]  # configurations that need names
        names = list(rows["configuration"].unique())
        texts = _method_names(names, groups, made)
        alike = [name for name in names if any(_is_alike(name, group, texts) for group in groups)]
        texts.update(_last_resort(alike, texts, rows, made))
        found.update({(str(label), name): texts[name] for name in names})
    return found


def _method_names(names: Sequence[str], groups: Sequence[Sequence[str]], made: Mapping[str, Made]) -> dict[str, str]:
    values = {name: _decides(made[name]) if name in made else {} for name in names}
    keys: dict[str, None] = {}
    for group in groups:
        known = [values[name] for name in group if values[name]]
        old = any(made[name].decides.get(EARLIER) for name in group if name in made)  # It kept fewer keys.
        for key in dict.fromkeys(key for entry in known for key in entry):
            if _differs(key, known) and not (old and any(key not in entry for entry in known)):
                keys[key] = None
    return {name: _told(entry, list(keys)) if entry else "" for name, entry in values.items()}


def _decides(entry: Made) -> Values:
    """Return ``decides`` as a flat mapping: options have their own names, unless another key uses them."""
    left_out = ("method_options", "setting", *_few_shot(entry), CODE_OF, EARLIER)
    rest = _flat({key: value for key, value in entry.decides.items() if key not in left_out})
    options = _flat(entry.decides.get("method_options") or {})
    return {**{f"options.{key}" if key in rest else key: value for key, value in options.items()}, **rest}


def _few_shot(entry: Made) -> tuple[str, ...]:
    """Return the key of the training images if the setting's name states all of it."""
    subset = entry.decides.get("train_subset") or {}
    return ("train_subset",) if "shots" in subset and "contamination" not in subset else ()


def _is_alike(name: str, group: Sequence[str], texts: Mapping[str, str]) -> bool:
    return name in group and sum(texts[other] == texts[name] for other in group) > 1


def _last_resort(
    names: Sequence[str], texts: Mapping[str, str], rows: pd.DataFrame, made: Mapping[str, Made]
) -> dict[str, str]:
    """Name configurations without other differences by their version, by their runs, else by their hashes."""
    runs = {name: tuple(rows.loc[rows["configuration"] == name, "run"].unique()) for name in names}
    earlier = [name in made and bool(made[name].decides.get(EARLIER)) for name in names]
    by_run = len(set(runs.values())) == len(names) and all(len(run) == 1 for run in runs.values())
    if sorted(earlier) == [False, True]:
        ends = ["earlier version" if is_old else "" for is_old in earlier]
    else:
        ends = [f"@ {clean(runs[name][0])}" if by_run else f"cells {name[:8]}" for name in names]
    return {name: ", ".join(filter(None, [texts[name], end])) for name, end in zip(names, ends)}


def unique_names(wanted: Mapping[Any, str]) -> dict[Any, str]:
    """Return the wanted names, made unique by numbers if two keys have the same one."""
    found: dict[Hashable, str] = {}
    for key, name in wanted.items():
        unique, number = name, 1
        while unique in found.values():
            number += 1
            unique = f"{name} ({number})"
        found[key] = unique
    return found


def class_notes(table: pd.DataFrame) -> dict[tuple[str, str], list[str]]:
    """Return for each (dataset, method) the classes of its mean, if others of its label have more.

    Args:
        table: The future result of ``prepare``.
    """
    of_class = (table["scope"] == "class") & (table["metric"] != "")
    pairs = table.loc[of_class, ["dataset_label", "dataset", "method", "class"]].drop_duplicates()
    found: dict[tuple[str, str], list[str]] = {}
    for _, group in pairs.groupby("dataset_label", sort=False):
        every = group["class"].nunique()
        for (dataset, method), classes in group.groupby(["dataset", "method"], sort=False)["class"]:
            names = list(classes.unique())
            if len(names) < every:
                found[str(dataset), str(method)] = [class_note(names, every)]
    return found


def class_note(names: Sequence[str], every: int) -> str:
    """Return a note on the classes of a mean among ``every`` class."""
    kind = "class" if len(names) == 1 else "classes"
    shown = ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")
    return f"mean over {len(names)} {kind} of {every}: {shown}"


def shared_notes(table: pd.DataFrame, made: Mapping[str, Made]) -> dict[tuple[str, str], list[str]]:
    """Return notes on each (dataset, method) for settings that rows should share but don't, and on unknown code.

    Args:
        table: The future result of ``prepare``.
        made: Result of :func:`made_from`.
    """
    rows = table.loc[table["state"] == "done", ["dataset", "method", "configuration", "seed"]].drop_duplicates()
    known = {name: made[name].decides for name in rows["configuration"].unique() if name in made}
    differ = [key for key in SHARED if len({_text(entry[key]) for entry in known.values() if key in entry}) > 1]
    found: dict[tuple[str, str], list[str]] = {}
    for (dataset, method, name), seeds in rows.groupby(["dataset", "method", "configuration"], sort=False)["seed"]:
        entry = known.get(name, {})
        notes = [f"{key}: {_text(entry[key])}" for key in differ if key in entry]
        if CODE_OF in entry and len(seeds) > 1:
            notes.append("made by an earlier version, which didn't keep whether the code was the same for all seeds")
        if notes:
            found[str(dataset), str(method)] = notes
    return found
