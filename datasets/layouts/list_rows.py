"""Convert records of lists to rows of the sample table; faults are reported with file and line."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from diadbench.common.errors import UserError
from diadbench.common.wording import counted, some
from diadbench.datasets.decoding.images import SEVERAL
from diadbench.datasets.layouts.list_files import ListFile
from diadbench.datasets.layouts.list_places import (
    Row,
    below_root,
    check_pairs,
    image_base,
    nowhere,
    refuse_leaving,
    slashed,
    united,
    without_empty_masks,
)
from diadbench.datasets.layouts.list_records import KEYS, Entry, split_of_name, value_of

#: Texts of a label, in lower case.
NORMAL = ("0", "0.0", "false", "normal", "good", "ok")
ANOMALOUS = ("1", "1.0", "true", "anomaly", "anomalous", "abnormal", "defective", "defect", "bad", "ng", "nok", "ko")
#: Texts of a split, in lower case.
_SPLITS = {"train": "train", "training": "train", "test": "test", "testing": "test"}
#: How many images of a class are tried to find the folder that a list's paths are relative to.
_FIRSTS = 3


def rows_of(files: Sequence[ListFile], train: Sequence[str] = ("train",)) -> list[Row]:
    """Return the samples of one list, or of a pair.

    Args:
        files: The list's files; each file's error is raised.
        train: Top keys whose samples are training samples (``("train", "validation")``), for ADer's ``meta.json``.

    Raises:
        UserError: A file is broken, or a record lacks a value or has one of a wrong type: with file and line.
    """
    rows = []
    for file in files:
        if file.error:
            raise UserError(file.error)
        if file.form == "meta":
            _has_splits(file, (*train, "test"))
        wanted = [entry for entry in file.entries if entry.split in ("", "test", *train)]
        rows += [_row(entry, file) for entry in wanted]
    if not rows:
        raise UserError(f"{files[0].path}: the list holds no samples; get it again, or remove it")
    _check_twice(rows)
    return rows


def _has_splits(file: ListFile, wanted: Iterable[str]) -> None:
    there = {entry.split for entry in file.entries}
    for split in wanted:
        if split not in there:
            raise UserError(f"{file.path}: no records below the key {split!r}; found {some(sorted(there)) or 'none'}")


def _row(entry: Entry, file: ListFile) -> Row:
    place = f"{file.path}: {entry.place}"
    image = _text(entry, "image", place)
    split = _split(entry, file, place)
    label = _label(entry, place)
    if split == "train" and label:
        raise UserError(
            f"{place}: {image} is anomalous and in the training split; training images must be normal (a list for "
            "another setting, such as VisA's 2cls?)"
        )
    image = slashed(image)
    return Row(
        image, _masks(entry, place), _class(entry, image, place), split, label, _defect(entry, image, label), place
    )


def _missing(entry: Entry, what: str, place: str) -> UserError:
    return UserError(f"{place}: no key {KEYS[what][0]!r} ({', '.join(KEYS[what])}); found {some(entry.values)}")


def _text(entry: Entry, what: str, place: str) -> str:
    key, value = value_of(entry.values, what)
    if not key:
        raise _missing(entry, what, place)
    if not isinstance(value, str):
        raise UserError(f"{place}: {what} {_written(value)}; expected text (key {key!r})")
    if not value.strip() or "\0" in value:
        raise UserError(f"{place}: {what} {value!r} (key {key!r}); expected a name")
    if re.match(r"[A-Za-z][\w+.-]+://", value):
        raise UserError(f"{place}: {what} {value[:80]!r} is a web address; download the files and list their paths")
    return value


def _written(value: Any) -> str:
    """Return a value as a list would write it (``null``, not ``None``), shortened."""
    return "null" if value is None else repr(value)[:60]


def _split(entry: Entry, file: ListFile, place: str) -> str:
    if entry.split:
        return "test" if entry.split == "test" else "train"
    key, value = value_of(entry.values, "split")
    if not key:
        split = split_of_name(file.path)
        if split:
            return split
        raise UserError(f"{place}: no split; expected a key 'split', or train or test in the name of the list")
    named = _SPLITS.get(str(value).strip().lower())
    if named is None:
        raise UserError(f"{place}: split {value!r}; expected train or test")
    return named


def _label(entry: Entry, place: str) -> int:
    key, value = value_of(entry.values, "label")
    name_key, name = value_of(entry.values, "label_name")
    if not key and not name_key:
        wanted = "anomaly" if value_of(entry.values, "image")[0] == "img_path" else "label"
        raise UserError(f"{place}: no key {wanted!r}; found {some(entry.values)}")
    label, named = label_of(value), label_of(name)
    if key and label is None:
        raise UserError(f"{place}: label {_written(value)}; expected 0 or 1, normal or anomaly")
    if label is None:
        if named is None:
            raise UserError(f"{place}: label_name {name!r}; expected good or defective")
        return named
    if named is not None and named != label:
        raise UserError(f"{place}: label {value!r} and label_name {name!r} contradict each other; mend one")
    return label


def label_of(value: Any) -> int | None:
    """Return 0 or 1 for a label in any usual form; ``None`` for anything else."""
    word = str(value).strip().lower()
    return 0 if word in NORMAL else 1 if word in ANOMALOUS else None


def _class(entry: Entry, image: str, place: str) -> str:
    key, value = value_of(entry.values, "class")
    if key:
        if not isinstance(value, str) or not value.strip():
            raise UserError(f"{place}: class {_written(value)}; expected text (key {key!r})")
        return value.strip()
    if entry.cls:
        return entry.cls
    name = class_of_path(image)
    if not name:
        raise UserError(f"{place}: no key 'clsname', and {image} names no class; expected <class>/train/good/000.png")
    return name


def class_of_path(image: str) -> str:
    """Return the class that a path states, as UniAD does if ``clsname`` is left out; ``""`` if it states none.

    It is the folder before ``train`` or ``test``; in a path without them, the fourth part from the end.
    """
    parts = image.split("/")
    for word in ("train", "test"):
        if word in parts[1:-1]:
            return parts[parts.index(word, 1) - 1]
    return parts[-4] if len(parts) >= 4 else ""


def _masks(entry: Entry, place: str) -> tuple[str, ...]:
    key, value = value_of(entry.values, "mask")
    if not key or value is None or value == "" or (isinstance(value, float) and math.isnan(value)):
        return ()
    several = value if isinstance(value, list) else [value]
    for one in several:
        if not isinstance(one, str) or not one.strip() or "\0" in one or SEVERAL in one:
            raise UserError(f"{place}: mask {_written(one)}; expected text (key {key!r})")
    return tuple(slashed(one) for one in several)


def _defect(entry: Entry, image: str, label: int) -> str:
    if not label:
        return "good"
    value = value_of(entry.values, "defect")[1]
    if isinstance(value, str) and value.strip():
        return value
    if entry.split:  # ADer names it if there is one.
        return "defect"
    parts = image.split("/")  # <class>/test/<defect>/000.png, or <class>/test/<defect>/rgb/000.png
    if "test" in parts[:-2]:
        return parts[parts.index("test") + 1]
    return "defect"


def _check_twice(rows: Sequence[Row]) -> None:
    seen: dict[tuple[str, str], Row] = {}
    for row in rows:
        first = seen.setdefault((row.cls, row.image), row)
        if first is not row:
            advice = "remove one" if "/" in row.image else "remove one, or write paths with their folders"
            raise UserError(
                f"{row.place}: {row.image} is listed twice in class {row.cls!r}, first in {first.place}; {advice}"
            )


def _check_same(classes: Iterable[str], images: Iterable[str], places: Sequence[str]) -> None:
    """Refuse an image that is listed twice in a class under two spellings of one path (``a/../a/000.png``)."""
    seen: dict[tuple[str, str], str] = {}
    for cls, image, place in zip(classes, images, places, strict=True):
        first = seen.setdefault((cls, image), place)
        if first is not place:
            raise UserError(f"{place}: {image} is listed twice in class {cls!r}, first in {first}; remove one")


def firsts(rows: Sequence[Row]) -> list[Row]:
    """Return a few samples of each class and split, enough to find the folder that the paths are relative to."""
    found: dict[tuple[str, str], int] = {}
    kept = []
    for row in rows:
        key = (row.cls, row.split)
        found[key] = found.get(key, 0) + 1
        if found[key] <= _FIRSTS:
            kept.append(row)
    return kept


def check_masks(rows: Sequence[Row], only: Sequence[str] | None = None) -> None:
    """Refuse anomalous samples without a mask, with file and line, in the classes that are wanted. Raises UserError."""
    bare = [row for row in rows if row.label and not row.masks and (only is None or row.cls in only)]
    if bare:
        raise UserError(
            f"{bare[0].place}: {bare[0].image}: anomalous test image without a mask "
            f"({counted(len(bare), 'such image')}); add maskname (mask_path, mask), or, for image metrics only, "
            "set masks=false (dataset folder)"
        )


def table_of(rows: Sequence[Row], root: Path, folder: Path) -> pd.DataFrame:
    """Return the samples as rows of the sample table, with paths relative to ``root``.

    Args:
        rows: Samples of a list.
        root: The dataset's root.
        folder: Folder of the list. Paths are relative to it, to a folder below it, or to one above it within the root.

    Raises:
        UserError: A path leaves the root, no image is found, or a mask is another image's: with file and line.
    """
    some = firsts(rows)
    base = image_base([row.image for row in some], root, folder)
    if base is None:
        refuse_leaving([(row.place, "image", row.image) for row in rows], root, folder)
        raise nowhere(some[0], root, folder)
    mask_base = image_base([mask for row in some for mask in row.masks[:1]], root, folder, first=base)
    mask_base = base if mask_base is None else mask_base
    made = []
    for row in rows:
        image = below_root(row.image, root, base, row.place, "image", climbs=base == folder)
        masks = [below_root(mask, root, mask_base, row.place, "mask", climbs=mask_base == folder) for mask in row.masks]
        made.append((image, united(masks, root), row.cls, row.split, row.label, row.defect))
    table = pd.DataFrame(made, columns=["image", "mask", "class", "split", "label", "defect"])
    table["label"] = table["label"].astype("int8")
    _check_same(table["class"], table["image"], [row.place for row in rows])
    check_pairs(table, [row.place for row in rows])
    return without_empty_masks(table, root)
