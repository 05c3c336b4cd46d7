"""Published figures as data, arithmetic checks of figures, and the import of new rows.

``published.csv`` and ``published_2026.csv`` are shipped with the package; rows that a user imports go to
``published.csv`` in the directory that
:func:`user_file` names, and every report reads both.
"""

from __future__ import annotations

import csv
import math
import os
import re
from collections.abc import Iterable, Mapping
from importlib.resources import files
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from diadbench.common.errors import UserError, unknown_name
from diadbench.common.files import write_text
from diadbench.reports.published.comparable import dataset_key, setting_of
from diadbench.reports.tables.escape import squeeze
from diadbench.reports.tables.frame import records
from diadbench.reports.tables.labels import SEVEN

COLUMNS = ("source", "source_ref", "method", "venue", "dataset", "setting", "resolution", "epochs",
           *SEVEN, "p_ioumax", "mad", "note")  # fmt: skip
#: Files of published rows in this package.
SHIPPED = ("published.csv", "published_2026.csv")
VALUES = (*SEVEN, "p_ioumax", "mad")
Floats = npt.NDArray[np.float64]
REQUIRED = ("source", "method", "dataset")
#: F1-max of calling every test image anomalous, in percent: the class mean of 2b / (2b + g). MAD_Sim is missing,
#: because its published tables were made from masks that lost a few labels, and lie 0.1 below the files' value.
FLOORS = {
    "mvtecad": 83.43, "visa": 71.93, "mvtec3d": 88.17, "realiad": 61.13, "unimedical": 70.45, "cocoad": 61.59,
    "mpdd": 72.49, "mvtecloco": 77.33, "madreal": 89.61, "btad": 64.13,
}  # fmt: skip


def user_file() -> Path:
    """Return the file of imported rows: ``$DIADBENCH_PUBLISHED``, else one in the user's data directory."""
    chosen = os.environ.get("DIADBENCH_PUBLISHED")
    if chosen:
        return Path(chosen).expanduser()
    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share") / "diadbench" / "published.csv"


def file_of(run: Path | str | None) -> Path:
    """Return the file of added rows: in the run's directory, or :func:`user_file`."""
    return Path(run) / "published.csv" if run else user_file()


def load_published(runs: Iterable[Path | str] = ()) -> pd.DataFrame:
    """Return all published rows: the shipped ones, the user's, and those of runs. Values are percent.

    Args:
        runs: Run directories whose own rows are read as well.

    Returns:
        Columns :data:`COLUMNS` and ``kept`` (``shipped``, or the file that a row stands in); NaN where not published.
    """
    folder = Path(str(files("diadbench.reports") / "published"))
    tables = [read_table(folder / name).assign(kept="shipped") for name in SHIPPED]
    for path in dict.fromkeys([user_file(), *map(file_of, runs)]):
        if path.is_file():
            tables.append(read_table(path).assign(kept=str(path)))
    return pd.concat(tables, ignore_index=True)


def read_table(path: Path) -> pd.DataFrame:
    """Read a CSV of published rows; columns are identified by name.

    Raises:
        UserError: Unreadable, a required column missing, an unknown column, a value that is no number in [0, 100].
    """
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8")
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except (OSError, ValueError) as error:  # pandas' parser errors and invalid UTF-8 are ValueErrors.
        raise UserError(f"{path}: can't be read as CSV ({error})") from error
    for name in table.columns:
        if name not in COLUMNS:
            raise unknown_name("column", str(name), COLUMNS, where=str(path))
    missing = [name for name in REQUIRED if name not in table]
    if missing:
        raise UserError(f"{path}: no column {missing[0]!r}; the columns are {', '.join(COLUMNS)}")
    table = table.reindex(columns=list(COLUMNS), fill_value="")
    table["resolution"] = table["resolution"].str.strip()  # "448 crop 392" is more precise than a number.
    for name in ("epochs", *VALUES):
        table[name] = _numbers(table[name], name, path, percent=name in VALUES)
    for position, row in enumerate(records(table), 2):
        empty = next((name for name in REQUIRED if not str(row[name]).strip()), None)
        if empty:
            raise UserError(f"{path} line {position}: {empty} is empty")
    return table


def _numbers(column: pd.Series[str], name: str, path: Path, *, percent: bool) -> pd.Series[float]:
    values = []
    for position, text in enumerate(column, 2):
        try:
            value = float(text) if str(text).strip() else float("nan")
        except ValueError:
            value = float("inf")
        if math.isinf(value) or (percent and not math.isnan(value) and not 0 <= value <= 100):
            expected = "a number in percent, 0 to 100" if percent else "a number"
            raise UserError(f"{path} line {position}, column {name}: expected {expected}, found {text!r}")
        values.append(value)
    return pd.Series(values, index=column.index, dtype=float)


def ap_bound(f1: float) -> float:
    """Return the largest possible mean AP over classes for a mean F1-max ``f1`` (both in [0, 1]).

    For one class, precision at recall r is at most ``min(1, f r / (2 r - f))``, so
    ``AP <= f/(2-f) + f/2 [1 - f/(2-f) + f/2 ln((2-f) / (2 f/(2-f) - f))]``. A mean over classes is bounded by the
    concave envelope of that: a line through the origin below f = 0.4356.
    """
    if f1 <= 0:
        return 0.0
    if f1 >= 1:
        return 1.0
    knee = 0.4356
    return _class_bound(f1) if f1 >= knee else f1 / knee * _class_bound(knee)


def _class_bound(f: float) -> float:
    start = f / (2 - f)
    return start + f / 2 * (1 - start + f / 2 * math.log((2 - f) / (2 * start - f)))


def check(values: Mapping[str, float], *, floor: float = float("nan"), tolerance: float = 0.0005) -> list[str]:
    """Return the contradictions in one row of figures.

    Args:
        values: ``{metric: value}`` in [0, 1]; a metric may be missing or NaN.
        floor: Image F1-max of calling all images anomalous, NaN if unknown.
        tolerance: Half the last printed digit (0.0005 for percent with one decimal), 0 for unrounded figures.

    Returns:
        One sentence for each contradiction.
    """
    known = {key: float(value) for key, value in values.items() if value is not None and not math.isnan(value)}
    slack = tolerance + 1e-9
    found = []
    if "mad" in known and all(key in known for key in SEVEN):
        mean = sum(known[key] for key in SEVEN) / 7
        if abs(mean - known["mad"]) > 2 * slack:
            found.append(f"mAD is {_pc(known['mad'])}, the mean of the seven metrics is {_pc(mean)}")
    if "p_f1max" in known and "p_ioumax" in known:
        found += _check_iou(known["p_ioumax"], known["p_f1max"], slack)
    for ap, f1 in (("p_ap", "p_f1max"), ("i_ap", "i_f1max")):
        if ap in known and f1 in known and known[ap] - slack > ap_bound(known[f1] + slack):
            iou = known.get("p_ioumax", float("nan")) if ap == "p_ap" else float("nan")
            swapped = abs(2 * iou / (1 + iou) - known[ap]) < 0.02  # IoU-max would fit the AP if it were the F1-max.
            level, most = ap[0].upper(), ap_bound(known[f1] + slack)
            found.append(
                f"AP_{level} is {_pc(known[ap])}, but F1-max_{level} {_pc(known[f1])} allows at most {_pc(most)}"
                + ("; the two look swapped" if swapped else "")
            )
    if "i_f1max" in known and known["i_f1max"] + slack < floor:
        found.append(f"F1-max_I is {_pc(known['i_f1max'])}; calling every image anomalous gives {_pc(floor)}")
    return found


def _check_iou(iou: float, f1: float, slack: float) -> list[str]:
    least = _iou(f1 - slack)
    if iou + slack < least:
        return [f"IoU-max_P is {_pc(iou)}, but F1-max_P {_pc(f1)} needs at least {_pc(least)}"]
    if iou - slack > f1 + slack:
        return [f"IoU-max_P {_pc(iou)} is above F1-max_P {_pc(f1)}"]
    return []


def _pc(value: float) -> str:
    return f"{100 * value:.1f}"


def _iou(f1: float) -> float:
    return max(0.0, f1 / (2 - f1))


def check_published(row: Mapping[str, object]) -> list[str]:
    """Return the contradictions in a row of published figures (percent)."""
    values = {key: float(row[key]) / 100 for key in VALUES}  # type: ignore[arg-type]
    floor = FLOORS.get(dataset_key(str(row["dataset"])), float("nan")) / 100
    return check(values, floor=floor)


def check_results(results: pd.DataFrame) -> pd.DataFrame:
    """Check our own figures in the same way: each class and each mean of every cell.

    Returns:
        Columns ``dataset method seed class problem``; empty when nothing contradicts.
    """
    rows = results[results["metric"] != ""]
    keys = [
        "path" if "path" in results else "run",
        "dataset",
        "method",
        "setting",
        "seed",
        "protocol",
        "class",
        "scope",
    ]
    group = rows.groupby(keys, sort=False, dropna=False).ngroup().to_numpy()
    first = np.unique(group, return_index=True)[1]
    values = {key: np.full(len(first), np.nan) for key in VALUES}
    counts = np.full((2, len(first)), np.nan)
    for key in VALUES:
        of_key = (rows["metric"] == key).to_numpy()
        values[key][group[of_key]] = rows["value"].to_numpy(float)[of_key]
        if key == "i_f1max":
            counts[:, group[of_key]] = rows[["n_normal", "n_anomalous"]].to_numpy(float)[of_key].T
    heads = rows.iloc[first]
    floors = np.where(heads["scope"] == "class", 2 * counts[1] / (2 * counts[1] + counts[0]), np.nan)
    found = []
    for place in np.flatnonzero(_doubtful(values, floors)):
        at = heads.iloc[place]
        row = {key: float(column[place]) for key, column in values.items()}
        for problem in check(row, floor=float(floors[place]), tolerance=0.0):
            found.append({**{k: at[k] for k in ("dataset", "method", "seed", "class")}, "problem": problem})
    return pd.DataFrame(found, columns=["dataset", "method", "seed", "class", "problem"])


def _doubtful(values: Mapping[str, Floats], floors: Floats) -> npt.NDArray[np.bool_]:
    """Return which rows :func:`check` has to look at: all that it finds something in without tolerance, and a few more.

    Args:
        values: ``(N,)`` for each of :data:`VALUES`, NaN where there is none.
        floors: ``(N,)``.
    """
    near = 1e-12  # Sums in another order may differ by less.
    mean = np.mean([values[key] for key in SEVEN], axis=0)
    iou, f1 = values["p_ioumax"], values["p_f1max"]
    found: npt.NDArray[np.bool_] = np.abs(mean - values["mad"]) > near
    found |= (iou + near < np.maximum(0.0, f1 / (2 - f1))) | (iou > f1 + near)
    for ap, best in (("p_ap", "p_f1max"), ("i_ap", "i_f1max")):
        bound = np.array([ap_bound(value) for value in values[best]])
        found |= values[ap] > bound - near
    found |= values["i_f1max"] < floors + near
    return found


def add(path: Path, run: Path | str | None = None) -> tuple[pd.DataFrame, list[str]]:
    """Import the rows of a CSV; existing rows are not added twice.

    Args:
        path: The CSV.
        run: Store the rows in this run; by default in the user's file.

    Returns:
        The rows added, and one warning for each contradiction. A row with a warning is added, and its note says so.

    Raises:
        UserError: A row contradicts one of the same source, method, dataset, setting and budget.
    """
    table = read_table(path)
    warnings = []
    for index, row in zip(table.index, records(table)):
        problems = check_published(row)
        warnings += [f"{row['method']} on {row['dataset']}: {problem}" for problem in problems]
        if problems:
            table.loc[index, "note"] = "; ".join(filter(None, [row["note"], *(f"CHECK: {p}" for p in problems)]))
    every = records(load_published([run] if run else []))
    known = {_identity(row): row for row in every}
    fresh = []
    for position, (index, row) in enumerate(zip(table.index, records(table)), 2):
        other = known.setdefault(_identity(row), row)
        if other is row:
            fresh.append(index)
        elif _figures(other) != _figures(row):
            raise _contradicting(f"{path} line {position}", row, other)
    table = table.loc[fresh]
    if len(table):
        kept = file_of(run)
        old = read_table(kept) if kept.is_file() else table.iloc[:0]
        _write(pd.concat([old, table]), kept)
    return table, warnings


def remove(source: str, method: str = "", dataset: str = "", run: Path | str | None = None) -> pd.DataFrame:
    """Remove rows that were added. Shipped rows are kept.

    Args:
        source: Source of the rows.
        method: Only rows of this method.
        dataset: Only rows of this dataset.
        run: Rows of this run; by default those in the user's file.

    Returns:
        The rows that were removed.

    Raises:
        UserError: No added row matches.
    """
    kept = file_of(run)
    table = read_table(kept) if kept.is_file() else pd.DataFrame(columns=list(COLUMNS))
    gone = table["source"].map(squeeze) == squeeze(source)
    gone &= (table["method"].map(squeeze) == squeeze(method)) | (not method)
    gone &= (table["dataset"].map(dataset_key) == dataset_key(dataset)) | (not dataset)
    if not gone.any():
        raise unknown_name("source of added rows", source, table["source"].unique(), where=str(kept))
    _write(table[~gone], kept)
    return table[gone]


def _write(table: pd.DataFrame, path: Path) -> None:
    write_text(path, table[list(COLUMNS)].to_csv(index=False, quoting=csv.QUOTE_MINIMAL))


def _identity(row: Mapping[str, object]) -> tuple[str, ...]:
    """Return the values that identify the result of a row."""
    names = ("source", "method", "setting", "resolution", "epochs")
    return (dataset_key(str(row["dataset"])), *("" if row[n] != row[n] else squeeze(str(row[n])) for n in names))


def _figures(row: Mapping[str, object]) -> tuple[str, ...]:
    return tuple("" if row[name] != row[name] else str(row[name]) for name in VALUES)


def _contradicting(where: str, row: Mapping[str, object], other: Mapping[str, object]) -> UserError:
    name = next(name for name, a, b in zip(VALUES, _figures(row), _figures(other)) if a != b)
    return UserError(
        f"{where}: {row['method']} on {row['dataset']} by {row['source']} is there already with {name} {other[name]}, "
        f"here it is {row[name]}; correct one of the two, or give the row another source"
    )


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
    """Return ``3 of 15 classes`` for each (dataset, method) with that note; published means go over all classes."""
    found = {}
    for dataset, method, flags in results[["dataset", "method", "flags"]].drop_duplicates().itertuples(index=False):
        part = re.search(r"\b\d+ of \d+ classes\b", str(flags))
        if part:
            found[dataset, method] = part[0]
    return found
