"""Find the lists of samples in a folder, and their dataset. An existing list decides, or is refused."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Literal

import pandas as pd

from diadbench.common.errors import UserError
from diadbench.common.wording import some
from diadbench.datasets.layouts.folder_scan import entries, is_dir, subfolders
from diadbench.datasets.layouts.list_files import LIST_SUFFIXES, ListFile, list_file
from diadbench.datasets.layouts.list_places import below_root, image_base, slashed
from diadbench.datasets.layouts.list_records import USUAL_NAMES, Entry, rest_of_name, split_of_name, value_of
from diadbench.datasets.layouts.list_rows import check_masks, class_of_path, firsts, rows_of, table_of

#: Usual folders of lists, beside the folders of images.
PLACES = ("split_csv", "splits", "split", "lists", "list", "meta", "jsons", "json")
#: Published lists for another setting, which lie beside the right one (their training parts contain anomalies), and
#: VisA's labels of one class.
_OTHER_SETTINGS = ("2cls_fewshot.csv", "2cls_highshot.csv", "image_anno.csv")
#: Maximum number of files of a folder that are examined; those with usual names come first.
_MOST = 500
#: Formats of tables and lists that aren't read, and words in the names of lists.
_FOREIGN = ("xlsx", "xls", "ods", "parquet", "feather", "pkl", "pickle", "npy", "npz", "mat", "yaml", "yml", "xml")
_PACKED = re.compile(r"(?:.*\.)?(?:csv|tsv|json|jsonl|txt)\.(?:gz|zip|xz|bz2)")
_LIST_WORDS = frozenset(
    (
        *("train", "test", "split", "splits", "list", "lists", "meta", "samples", "labels", "annotations", "fold"),
        *("data", "dataset", "images", "index", "files", "annotation", "label"),
    )
)
FORMS = {"meta": "ADer's meta.json form", "lines": "JSON records", "csv": "table"}


@dataclass(frozen=True)
class ListSet:
    """A list of samples: one file with both splits, or a pair.

    Attributes:
        files: The files, training first.
        form: ``meta``, ``lines`` or ``csv``; for a broken file, the form that its name suggests.
        problem: Why the list can't be used (its pair is missing); ``""`` for none.
        aside: Whether it states no split and lies beside a complete list: it never decides, and is reported as unread.
    """

    files: tuple[ListFile, ...]
    form: str
    problem: str = ""
    aside: bool = False

    @property
    def folder(self) -> Path:
        """Return the folder of the files."""
        return self.files[0].path.parent

    @property
    def names(self) -> str:
        """Return the names of the files, for texts."""
        names = [file.path.name for file in self.files]
        return " and ".join(names) if len(names) < 3 else some(names, most=1)

    @property
    def classes(self) -> frozenset[str]:
        """Return the classes that its records state, directly or in their paths; empty for a broken list."""
        return frozenset(_class_of(entry) for file in self.files for entry in file.entries)

    @property
    def rank(self) -> tuple[bool, bool, str]:
        """Return a sort key with the best list first: complete and with a usual name."""
        return self.aside or not all(file.usual for file in self.files), bool(self.problem), self.names

    @property
    def readable(self) -> bool:
        """Whether no fault of its files is known."""
        return not self.problem and not any(file.error for file in self.files)

    @property
    def words(self) -> frozenset[str]:
        """Return its classes and the folders in its paths; empty if it is too broken to tell."""
        return frozenset[str]().union(*(file.words for file in self.files))

    def is_of(self, names: Sequence[str]) -> bool:
        """Whether it states one of these classes, or folders of such names; always true without names.

        A broken file without readable paths belongs to every dataset, so that it is never ignored.
        """
        return not names or not self.words or bool(self.words & set(names))

    def names_no_masks(self) -> bool:
        """Whether it has complete JSON records and anomalous samples, but no mask for any of them (UniAD)."""
        if self.form != "lines" or not self.readable:
            return False
        try:
            bad = [row for row in rows_of(self.files) if row.label]
        except UserError:
            return False  # reported where it is read
        return bool(bad) and not any(row.masks for row in bad)

    def read(
        self, root: Path, train: Sequence[str] = ("train",), *, masks: bool = False, only: Sequence[str] | None = None
    ) -> pd.DataFrame:
        """Return its samples, with paths relative to ``root``.

        Args:
            root: The dataset's root.
            train: Top keys of ADer's ``meta.json`` that are trained on.
            masks: Refuse anomalous samples without a mask.
            only: Classes that are wanted, for ``masks``.

        Raises:
            UserError: The list has a fault; the message states file and line.
        """
        if self.problem:
            raise UserError(self.problem)
        rows = rows_of(self.files, train)
        if masks:
            check_masks(rows, only)
        return table_of(rows, root, self.folder)

    def places(self, root: Path, train: Sequence[str] = ("train",)) -> dict[str, str]:
        """Return where each image and mask is listed, ``<file>: line 3``, by its path relative to ``root``.

        Raises:
            UserError: As :meth:`read`.
        """
        rows = rows_of(self.files, train)
        table = table_of(rows, root, self.folder)
        found: dict[str, str] = {}
        for row, image, mask in zip(rows, table["image"], table["mask"], strict=True):
            found[image] = row.place
            found.setdefault(mask, row.place)
        return found

    def share_in(self, root: Path) -> Literal["all", "some", "none"]:
        """Return how many of its images lie in ``root``, for a list above the root.

        A few of each class are tried. For a broken list, the folders that can be read count.
        """
        try:
            some = [row.image for row in firsts(rows_of(self.files))]
        except UserError:
            if not self.words:
                return "some" if all(file.usual for file in self.files) else "none"
            return "all" if self.words & set(subfolders(root, "")) else "none"
        base = image_base(some, root, self.folder)
        if base is None:
            return "none"
        try:
            for path in some:
                below_root(path, root, base, "", "image", climbs=base == self.folder)
        except UserError:
            return "some"
        return "all"


def list_sets(folder: Path) -> list[ListSet]:
    """Return the lists in a folder and in the usual places below it (:data:`PLACES`), the best first."""
    found: list[ListSet] = []
    for place in ("", *(name for name in subfolders(folder, "") if name.lower() in PLACES)):
        found += sorted(_in_folder(folder / place), key=lambda one: one.rank)
    return found


def foreign_lists(folder: Path) -> list[str]:
    """Return the files of a folder that are lists by their names, in a format that isn't read (``split.xlsx``)."""
    found = []
    for entry in entries(folder):
        words, _, suffix = entry.name.lower().partition(".")
        named = suffix in _FOREIGN and bool(_LIST_WORDS & set(re.split(r"[^a-z]+", words)))
        if (named or _PACKED.fullmatch(suffix)) and not is_dir(entry):
            found.append(entry.name)
    return found


def _in_folder(folder: Path) -> list[ListSet]:
    files = [list_file(path) for path in islice(_paths(folder), _MOST)]
    files = [file for file in files if file.form != "other"]
    whole = [ListSet((file,), _form(file)) for file in files if _is_whole(file)]
    sets = [*whole, *_pairs([file for file in files if not _is_whole(file)], bool(whole))]
    return [*_joined([one for one in sets if not one.aside]), *(one for one in sets if one.aside)]


def _joined(sets: list[ListSet]) -> list[ListSet]:
    """Join lists of one form with own names and different classes: one list per class counts as one list."""
    made = [one for one in sets if one.rank[0] is False]
    for form in FORMS:
        own = [one for one in sets if one.rank[0] and one.form == form]
        classes = [name for one in own for name in one.classes]
        if len(own) > 1 and all(one.readable and one.classes for one in own) and len(classes) == len(set(classes)):
            own = [ListSet(tuple(file for one in own for file in one.files), form)]
        made += own
    return made


def _class_of(entry: Entry) -> str:
    image, name = value_of(entry.values, "image")[1], value_of(entry.values, "class")[1]
    return str(name or entry.cls or (class_of_path(slashed(image)) if isinstance(image, str) else ""))


def _paths(folder: Path) -> Iterator[Path]:
    for entry in sorted(entries(folder), key=lambda entry: entry.name.lower() not in USUAL_NAMES):
        name = entry.name.lower()
        if os.path.splitext(name)[1] in LIST_SUFFIXES and name not in _OTHER_SETTINGS and not entry.is_dir():
            yield folder / entry.name


def _is_whole(file: ListFile) -> bool:
    return file.has_splits or (file.form == "broken" and not split_of_name(file.path))


def _form(file: ListFile) -> str:
    if file.form != "broken":
        return file.form
    name = file.path.name.lower()
    return "csv" if name.endswith((".csv", ".tsv")) else "meta" if "meta" in name else "lines"


def _pairs(files: Sequence[ListFile], has_whole: bool) -> Iterator[ListSet]:
    groups: dict[str, dict[str, list[ListFile]]] = {}
    single: list[ListFile] = []
    for file in files:
        split = split_of_name(file.path)
        if split:
            groups.setdefault(rest_of_name(file.path), {}).setdefault(split, []).append(file)
        else:
            single.append(file)
    complete = has_whole
    for group in groups.values():
        complete = complete or len(group) == 2
        yield _pair(group)
    for file in single:
        problem = f"{file.path}: a list of samples without splits; expected a key or column `split` (train, test)"
        advice = "add it, or name the layout to read the folders: layout=..."
        yield ListSet((file,), _form(file), f"{problem}; {advice}", aside=complete)


def _pair(group: dict[str, list[ListFile]]) -> ListSet:
    chosen = tuple(group[split][0] for split in ("train", "test") if split in group)
    problem = ""
    for split, files in group.items():
        if len(files) > 1 and not _alike(files[0], files[1]):
            names = " and ".join(file.path.name for file in files)
            problem = f"{files[0].path}: two different lists of {split} samples, {names}; keep one"
    if len(chosen) == 1:
        there, missing = ("train", "test") if "train" in group else ("test", "train")
        name = chosen[0].path.name
        expected = name.replace(there, missing).replace(there.title(), missing.title())
        problem = f"{chosen[0].path}: lists the {there} samples, and no list of {missing} samples lies beside it; "
        problem += f"expected {expected}: add it, or name the layout to read the folders: layout=..."
        problem = chosen[0].error or problem
    return ListSet(chosen, _form(chosen[0]), problem)


def _alike(first: ListFile, second: ListFile) -> bool:
    return not first.error and not second.error and _images(first) == _images(second)


def _images(file: ListFile) -> list[object]:
    return [(value_of(one.values, "image")[1], value_of(one.values, "label")[1]) for one in file.entries]
