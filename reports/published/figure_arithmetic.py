"""Arithmetic checks of figures: what metrics of one result can't be together."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import pandas as pd

from diadbench.reports.published.comparable import dataset_key
from diadbench.reports.published.published_files import VALUES
from diadbench.reports.tables.labels import SEVEN

Floats = npt.NDArray[np.float64]

#: F1-max of calling every test image anomalous, in percent: the class mean of 2b / (2b + g). MAD_Sim is missing,
#: because its published tables were made from masks that lost a few labels, and lie 0.1 below the files' value.
FLOORS = {
    "mvtecad": 83.43, "visa": 71.93, "mvtec3d": 88.17, "realiad": 61.13, "unimedical": 70.45, "cocoad": 61.59,
    "mpdd": 72.49, "mvtecloco": 77.33, "madreal": 89.61, "btad": 64.13,
}  # fmt: skip


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
