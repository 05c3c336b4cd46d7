"""The sample table with one row per sample, which every dataset has to provide.

Columns (all strings, but for ``label``):

=============  =====================================================================================
``image``      path of the image, relative to the dataset's root, with ``/``
``mask``       path of the mask, relative to the dataset's ``mask_root``; ``""`` when there is none.
               A directory stands for the union of the masks in it
``class``      object category
``split``      ``train`` or ``test``
``label``      int8: 0 normal, 1 anomalous. From the dataset's own index, never from the mask
``defect``     name of the defect; ``good`` for normal samples
``sample_id``  physical sample. Equal to ``image`` where each sample has one view
``view``       camera view (``C1``); ``""`` where there is one
=============  =====================================================================================

A dataset may add its own columns (``xyz`` in MVTec-3D), which only code for that dataset uses.
"""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from diadbench.common.errors import UserError, unknown_name
from diadbench.common.wording import counted, some

if TYPE_CHECKING:
    from diadbench.datasets.dataset_info import DatasetInfo

COLUMNS = ("image", "mask", "class", "split", "label", "defect", "sample_id", "view")
SPLITS = ("train", "test")
#: Columns that hold paths, which must not leave the root. ``xyz`` is the only one that some datasets lack.
PATHS = ("image", "mask", "xyz")
_REQUIRED = ("image", "class", "split", "label")
_LEAVES_ROOT = r"^(?:[/\\]|[A-Za-z]:[/\\])|(?:^|[/\\])\.\.(?:[/\\]|$)|\x00"


def checked(
    table: pd.DataFrame, info: DatasetInfo, *, wanted: Sequence[str] | None = None, where: str = ""
) -> pd.DataFrame:
    """Return the table in its canonical form, or raise an error that states the fault.

    Missing optional columns are filled: ``mask`` and ``view`` with ``""``, ``defect`` with ``good`` or ``defect``,
    ``sample_id`` with ``image``. Rows keep their order inside a class and split.

    Args:
        table: Rows in any order, with the columns named in this module.
        info: Facts of the dataset; its ``classes`` give the order and the allowed names.
        wanted: Keep these classes only, in this order, whether or not ``info.classes`` has them. ``None`` keeps all, in
            the order of ``info.classes``, or alphabetically if that is empty.
        where: Root or file for the error texts.

    Returns:
        A new table: classes in order, train before test, index ``0..n-1``.

    Raises:
        UserError: A column, class, split, label or path is wrong, an image is listed twice in a class, a class has no
            training or no test images, or an anomalous test sample has no mask in a dataset with masks.
    """
    place = f"dataset {info.name!r}" + (f" ({where})" if where else "")
    table = _typed(table, place)
    _check_values(table, place)
    order = _class_order(set(table["class"].unique()), info, wanted, place)
    table = table[table["class"].isin(order)]
    _check_paths(table, place)
    _check_duplicates(table, place)
    _check_splits(table, order, place)
    _check_samples(table, place)
    if info.has_masks:
        _check_masks(table, place)
    rank = table["class"].map({name: i for i, name in enumerate(order)})
    position = rank.to_numpy() * 2 + (table["split"] == "test").to_numpy()
    return table.iloc[np.argsort(position, kind="stable")].reset_index(drop=True)


def count(table: pd.DataFrame) -> pd.DataFrame:
    """Count samples a class: columns ``train``, ``test_good``, ``test_bad``; index ``class``, in the table's order."""
    kind = np.where(table["split"] == "train", "train", np.where(table["label"] == 1, "test_bad", "test_good"))
    found = Counter(zip(table["class"], kind))
    classes, kinds = table["class"].drop_duplicates(), ["train", "test_good", "test_bad"]
    rows = [[found[name, one] for one in kinds] for name in classes]
    return pd.DataFrame(rows, columns=kinds, index=pd.Index(classes, name="class"), dtype="int64")


def _typed(table: pd.DataFrame, place: str) -> pd.DataFrame:
    missing = [name for name in _REQUIRED if name not in table.columns]
    if missing:
        raise UserError(f"{place}: the sample table has no column {some(missing)}; found {some(table.columns)}")
    if table.empty:
        raise UserError(f"{place}: no samples found")
    filled = table.copy()
    for name in _REQUIRED:
        if filled[name].isna().any():
            row = int(np.flatnonzero(filled[name].isna())[0])
            raise UserError(f"{place}: row {row} of the sample table has no {name}")
    labels = filled["label"]
    if not labels.isin([0, 1]).all():
        wrong = labels[~labels.isin([0, 1])].iloc[0]
        raise UserError(f"{place}: label {wrong!r}; expected 0 (normal) or 1 (anomalous)")
    filled["label"] = labels.astype(np.int8)
    defaults: dict[str, pd.Series[str]] = {
        "mask": pd.Series("", index=filled.index),
        "view": pd.Series("", index=filled.index),
        "defect": filled["label"].map({0: "good", 1: "defect"}),
        "sample_id": filled["image"],
    }
    for name, default in defaults.items():
        filled[name] = filled[name].where(filled[name].notna(), default) if name in filled.columns else default
    for name in (*COLUMNS, "xyz"):
        if name != "label" and name in filled.columns:
            filled[name] = filled[name].fillna("").astype(str)
    rest = [name for name in filled.columns if name not in COLUMNS]
    return filled[[*COLUMNS, *rest]]


def _check_values(table: pd.DataFrame, place: str) -> None:
    wrong = table[~table["split"].isin(SPLITS)]
    if len(wrong):
        raise UserError(f"{place}: {wrong['image'].iloc[0]}: split {wrong['split'].iloc[0]!r}; expected train or test")
    for name in ("image", "class"):
        if (table[name] == "").any():
            raise UserError(f"{place}: row {int((table[name] == '').to_numpy().argmax())} has an empty {name}")
    wrong = table[(table["split"] == "train") & (table["label"] == 1)]
    if len(wrong):
        raise UserError(
            f"{place}: {wrong['image'].iloc[0]}: an anomalous sample in the training split ({len(wrong)} of them); "
            "training images must be normal"
        )


def _class_order(found: set[str], info: DatasetInfo, wanted: Sequence[str] | None, place: str) -> list[str]:
    known = info.classes or tuple(sorted(found))
    if wanted is None:
        for name in sorted(found - set(known)):
            raise unknown_name("class", name, known, where=place)
        return [name for name in known if name in found]
    if not wanted:
        raise UserError(f"{place}: classes is an empty list; name classes, or leave it out for all")
    for i, name in enumerate(wanted):
        if name not in known and name not in found:
            raise unknown_name("class", str(name), {*known, *found}, where=place)
        if name not in found:
            raise UserError(f"{place}: class {name!r} is not there; found {some(sorted(found))}")
        if name in wanted[:i]:
            raise UserError(f"{place}: class {name!r} is listed twice in classes")
    return list(wanted)


def _check_paths(table: pd.DataFrame, place: str) -> None:
    for name in PATHS:
        if name in table.columns:
            wrong = table[name].str.contains(_LEAVES_ROOT, regex=True)
            if wrong.any():
                raise UserError(f"{place}: {name} path {table[name][wrong].iloc[0]!r} leaves the data root; refused")


def _check_duplicates(table: pd.DataFrame, place: str) -> None:
    # COCO-AD's splits share images, as classes that never train together; only a repetition in ONE class is an error.
    twice = table[table.duplicated(["class", "image"])]
    if len(twice):
        row = twice.iloc[0]
        raise UserError(f"{place}: {row['image']} is listed twice in class {row['class']!r}; remove one entry")


def _check_splits(table: pd.DataFrame, order: Sequence[str], place: str) -> None:
    there = set(zip(table["class"], table["split"]))
    for name in order:
        for split, what in (("train", "training"), ("test", "test")):
            if (name, split) not in there:
                like = [one for one in order if one != name and _plain(one) == _plain(name)]
                hint = f"; there is {like[0]!r} too: two spellings of one class?" if like else ""
                raise UserError(
                    f"{place}: class {name!r} has no {what} images{hint}; add them or leave it out of classes"
                )


def _plain(name: str) -> str:
    return "".join(unicodedata.normalize("NFC", name).casefold().split())


def _check_samples(table: pd.DataFrame, place: str) -> None:
    viewed = table[table["view"] != ""]
    mixed = viewed.groupby(["class", "sample_id"], sort=False)["split"].nunique()
    if (mixed > 1).any():
        sample = mixed.index[mixed > 1][0][1]
        raise UserError(f"{place}: {sample}: views of one sample are in train and in test; get the list again")


def _check_masks(table: pd.DataFrame, place: str) -> None:
    bare = table[(table["split"] == "test") & (table["label"] == 1) & (table["mask"] == "")]
    if len(bare):
        more = f" ({counted(len(bare), 'such image')})" if len(bare) > 1 else ""
        raise UserError(
            f"{place}: {bare['image'].iloc[0]}: anomalous test image without a mask{more}; add its mask, or, for image "
            "metrics only, set masks=false (dataset folder)"
        )


# -- a few samples ----------------------------------------------------------------------------------------------


def limited(table: pd.DataFrame, count: int) -> pd.DataFrame:
    """Return a sample table with at most ``count`` training and ``count`` test samples of each class.

    Samples are taken at even steps through their order. Half of the test samples are normal and half anomalous, if
    there are enough of both, and at least one of each if there is one. Anomalous ones are spread over the defects. All
    views of a physical sample stay together, so there may be more images than samples.

    Args:
        table: A checked sample table.
        count: At least 2.

    Returns:
        The rows that stay, in their order, index ``0..n-1``.
    """
    firsts = table.drop_duplicates(["class", "split", "sample_id"])
    kept: set[tuple[str, str, str]] = set()
    for (name, split), rows in firsts.groupby(["class", "split"], sort=False):
        chosen = _even(rows, count) if split == "train" else _few_tests(rows, table, count)
        kept |= {(str(name), str(split), sample) for sample in chosen["sample_id"]}
    keys = zip(table["class"], table["split"], table["sample_id"], strict=True)
    return table[[key in kept for key in keys]].reset_index(drop=True)


def _few_tests(rows: pd.DataFrame, table: pd.DataFrame, count: int) -> pd.DataFrame:
    """Choose test samples of a class; a physical sample is anomalous if one of its views is."""
    views = table[(table["class"] == rows["class"].iloc[0]) & (table["split"] == "test")]
    bad = rows["sample_id"].isin(views.loc[views["label"] == 1, "sample_id"])
    wanted = min(int(bad.sum()), max(count - int((~bad).sum()), count - count // 2))
    anomalous = _even(rows[bad].sort_values("defect", kind="stable"), wanted)
    return pd.concat([_even(rows[~bad], count - wanted), anomalous])


def _even(rows: pd.DataFrame, count: int) -> pd.DataFrame:
    places = np.linspace(0, len(rows) - 1, min(count, len(rows))).round().astype(int)
    return rows.iloc[places]
