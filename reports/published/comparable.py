"""Find published rows of the same experiment that state different figures."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from diadbench.reports.tables.escape import squeeze
from diadbench.reports.tables.labels import SEVEN, Metric

Row = Mapping[str, Any]
#: Maximum difference in points of percent between two printed figures that may be equal before rounding.
ROUNDING = 0.051
#: our registered names of datasets -> their names in the tables
ALIASES = {"mvtec": "mvtecad", "mvtec3dad": "mvtec3d", "coco": "cocoad"}


def dataset_key(name: str) -> str:
    """Return the same key for a dataset's label here and its name in papers: ``mvtec``, ``MVTec AD`` -> ``mvtecad``."""
    key = squeeze(name)
    return ALIASES.get(key, key)


def unknown_dataset(name: str, known: Iterable[str]) -> str:
    """Return a warning for a dataset's name in a published row that is not known, with the closest; else ``""``.

    Args:
        name: The name. Several datasets stand between ``+``.
        known: Names of datasets.
    """
    names = {dataset_key(text): text for text in known}
    for part in str(name).split(" + "):
        if dataset_key(part) not in names:
            close = difflib.get_close_matches(dataset_key(part), names, n=2, cutoff=0.7)
            meant = f"did you mean {' or '.join(names[key] for key in close)}? " if close else ""
            return f"no dataset {part!r} is known; {meant}reports show the row beside cells whose dataset has that name"
    return ""


def setting_of(text: str) -> str:
    """Return a published row's setting as one of a few keywords.

    Returns:
        ``multi-class`` (one model for the classes of one dataset), ``one-per-class``, ``few-shot-4`` (one model, four
        images of each class), ``few-shot`` (other few-shot settings), ``zero-shot``, or the text itself for another
        setting (one model over several datasets, several views at once).
    """
    plain = str(text).strip().lower()
    if re.fullmatch(r"multi-class( \(\d+ classes\))?", plain):
        return "multi-class"
    if plain.startswith(("single-class", "one-per-class")):
        return "one-per-class"
    shots = re.match(r"few-shot multi-class, (\d+) per class", plain)
    if shots:
        return f"few-shot-{shots[1]}"
    return next((word for word in ("few-shot", "zero-shot") if plain.startswith(word)), plain)


def same_setting(text: str, wanted: str) -> bool:
    """Whether a published setting is the wanted one, which is given as a keyword or as its full text."""
    word = setting_of(text)
    return squeeze(wanted) in (squeeze(word), squeeze(text), squeeze(re.sub(r"-\d+$", "", word)))


def disagreements(rows: Sequence[Row]) -> dict[int, str]:
    """Find sources that print different figures for the same method, dataset and setting.

    Args:
        rows: Published rows.

    Returns:
        Position of a row -> the figures of the others, for rows with others. Figures of equal size and budget
        contradict each other; other figures merely differ.
    """
    groups: dict[tuple[str, ...], list[int]] = {}
    for place, row in enumerate(rows):
        key = (squeeze(_bare(str(row["method"]))), dataset_key(str(row["dataset"])), squeeze(str(row["setting"])))
        groups.setdefault(key, []).append(place)
    found: dict[int, str] = {}
    for places in groups.values():
        if len({str(rows[place]["source"]) for place in places}) > 1:
            found |= {place: told for place in places if (told := _told(rows[place], [rows[i] for i in places]))}
    return found


def _bare(method: str) -> str:
    """Return a method's name without the remark on who ran it: ``Dinomaly (rerun by CostFilter-AD)``."""
    return re.sub(r"\s*\((re-?run|retrained|released|called|third-party|two decimals|early)[^)]*\)", "", method)


def _told(row: Row, others: Sequence[Row]) -> str:
    parts = []
    for metric in SEVEN:
        own = float(row[metric])
        rest = {float(each[metric]): each for each in others if each["source"] != row["source"]}
        values = [value for value in rest if abs(value - own) > ROUNDING]
        if values:
            word = "contradicted by" if any(_same_budget(row, rest[value]) for value in values) else "elsewhere"
            name = Metric(metric, mean=False)
            parts.append(f"{name.base}_{name.level} {word} {_range(values)}")
    return f"other sources print other figures: {', '.join(parts)}" if parts else ""


def _same_budget(one: Row, other: Row) -> bool:
    """Whether both rows state the same size and epochs."""
    known = [str(row[name]) for row in (one, other) for name in ("resolution", "epochs")]
    return "nan" not in known and "" not in known and known[:2] == known[2:]


def _range(values: Sequence[float]) -> str:
    low, high = min(values), max(values)
    return f"{low:g}" if low == high else f"{low:g} to {high:g}"
