"""What to tell of data that aren't found where they are looked for, or that lie there and are not read."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

from diadbench.common.wording import some
from diadbench.datasets.decoding.lookalikes import ARCHIVE as ARCHIVE
from diadbench.datasets.decoding.lookalikes import shown
from diadbench.datasets.layouts.folder_scan import MASK_FOLDERS, entries, is_dir, subfolders
from diadbench.datasets.layouts.folders import NORMAL_NAMES
from diadbench.datasets.layouts.list_files import LIST_SUFFIXES, head_of, list_file
from diadbench.datasets.layouts.list_places import image_base, slashed
from diadbench.datasets.layouts.list_tables import IMAGE_NAME
from diadbench.datasets.layouts.lists import PLACES

#: Folders of a level that are looked into for a hint where the data are.
MOST_FOLDERS = 100
#: Words for the folders of splits, in lower case.
_SPLITS = {"train": "train", "training": "train", "test": "test", "testing": "test"}
#: A file names images if it names at least this many, and does so in this share of its lines, unless it is JSON.
_FEWEST, _SHARE = 3, 0.7
#: Files of a folder, and names of a file, that are examined.
_MOST_FILES, _MOST_NAMES = 100, 12


def named_by_options(root: Path) -> str:
    """Return the options for folders of normal and anomalous images without splits, as in anomalib's ``Folder``."""
    for base in ["", *subfolders(root, "")[:MOST_FOLDERS]]:
        there = subfolders(root, base)
        normal = [name for name in there if name.lower() in NORMAL_NAMES]
        others = [name for name in there if name not in normal and name.lower() not in MASK_FOLDERS]
        if normal and others and not {"train", "test"} & set(there):
            return f"name the folders by options: normal_dir={normal[0]}, abnormal_dir=[{some(others, most=3)}]"
    return ""


def not_there(folder: Path, classes: Sequence[str]) -> list[str]:
    """Return a line for each of these classes that lies in a folder as an archive, or as a link that leads nowhere.

    Without classes, any such link or archive may be one, unless a folder of the archive's name is there.
    """
    lines = []
    cases = {name.casefold(): name for name in classes}
    for entry in entries(folder):
        right = cases.get(entry.name.casefold(), entry.name)
        if right != entry.name and is_dir(entry):
            lines.append(f"{shown(entry.name)} is {right} in another case, and was not read")
        elif (entry.name in classes or not classes) and entry.is_symlink() and not os.path.exists(entry.path):
            lines.append(f"{shown(entry.name)} is a link that leads nowhere, and was not read")
        elif ARCHIVE.search(entry.name) and _may_be_class(folder, ARCHIVE.sub("", entry.name), classes):
            lines.append(f"{shown(entry.name)} is not unpacked, and was not read")
    return lines


def _may_be_class(folder: Path, name: str, classes: Sequence[str]) -> bool:
    return name.casefold() in map(str.casefold, classes) or not (classes or (folder / name).exists())


def doubled(root: Path, names: Sequence[str]) -> str:
    """Return advice if folders hold one of their own name, as programs unpack archives; ``""`` if none does."""
    twice = [f"{name}/{name.rpartition('/')[2]}" for name in names[:MOST_FOLDERS] if name and _is_doubled(root, name)]
    return f"{some(map(shown, twice), most=3)}: doubled when unpacked? Move the inner folders one up" if twice else ""


def _is_doubled(root: Path, name: str) -> bool:
    within = subfolders(root, f"{name}/{name.rpartition('/')[2]}")
    return bool(within) and subfolders(root, name) == [name.rpartition("/")[2]]


def other_names(root: Path, classes: Sequence[str]) -> str:
    """Return advice if folders of classes or splits are there in another case or word; ``""`` if none is."""
    known = {name.casefold(): name for name in classes}
    for name in ["", *subfolders(root, "")[:MOST_FOLDERS]]:
        right = known.get(name.casefold(), name)
        if right != name:
            return f"{shown(name)} is {right} in another case: rename it"
        for inner in subfolders(root, name):
            split = _SPLITS.get(inner.casefold(), inner)
            if split != inner:
                return f"expected {split} for {shown(os.path.join(name, inner))}: rename it"
    return ""


def passed_over(root: Path, folder: Path) -> list[str]:
    """Return a line for each file that names images of a data set in a form that isn't read, or that can't be read.

    A list with columns or keys of other names (``img``, ``target``) is no list for the readers of lists, and would be
    ignored although its author means it to decide.

    Args:
        root: The dataset's root.
        folder: Folder of the data, in which and in whose usual places of lists files are examined.
    """
    lines = []
    for path in islice(_files(folder), _MOST_FILES):
        name = shown(os.path.relpath(path, folder))
        if not path.is_file() or list_file(path).form != "other":
            continue
        try:
            text = head_of(path)
        except OSError as error:
            lines.append(f"{name} can't be read ({error.strerror}): it may be a list")
            continue
        if _names_images(text, root, path):
            lines.append(f"{name} names images, and was not read as a list: {_found(text, path)}")
    return lines


def _files(folder: Path) -> Iterator[Path]:
    for place in ("", *(name for name in subfolders(folder, "") if name.lower() in PLACES)):
        for entry in entries(folder / place):
            about = entry.name.upper().startswith(("README", "LICENSE", "LICENCE"))
            if os.path.splitext(entry.name)[1].lower() in LIST_SUFFIXES and not about and not is_dir(entry):
                yield folder / place / entry.name


def _names_images(text: str, root: Path, path: Path) -> bool:
    """Whether a text names files that are there, often enough to be a list and not a text about the data."""
    names = [slashed(name) for name in dict.fromkeys(IMAGE_NAME.findall(text))]
    lines = [bool(IMAGE_NAME.search(line)) for line in text.splitlines() if line.strip()]
    often = _is_json(text) or sum(lines) >= _SHARE * len(lines)
    return len(names) >= _FEWEST and often and image_base(names[:_MOST_NAMES], root, path.parent) is not None


def _is_json(text: str) -> bool:
    return text.lstrip()[:1] in ("{", "[")


def _found(text: str, path: Path) -> str:
    if not _is_json(text):
        header = next((line.strip() for line in text.splitlines() if line.strip()), "")
        return f"expected the columns path,class,split,label,mask; found {shown(header[:80])}"
    keys = list(dict.fromkeys(re.findall(r"\"([^\"\n]{1,40})\"\s*:", text)))
    found = shown(some(keys, most=6, room=80)) or "none"
    return f"expected the keys filename, label, clsname, split (or meta.json of ADer); found {found}"
