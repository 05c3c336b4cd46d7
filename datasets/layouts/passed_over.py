"""Find files that name images of a data set in no form of a list that is known: none is passed over in silence."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from diadbench.common.wording import some
from diadbench.datasets.decoding.lookalikes import shown
from diadbench.datasets.layouts.folder_scan import entries, is_dir, subfolders
from diadbench.datasets.layouts.list_files import LIST_SUFFIXES, head_of, list_file
from diadbench.datasets.layouts.list_places import image_base, slashed
from diadbench.datasets.layouts.list_tables import IMAGE_NAME
from diadbench.datasets.layouts.lists import PLACES

#: A file names images if it names at least this many, and does so in this share of its lines, unless it is JSON.
_FEWEST, _SHARE = 3, 0.7
#: Files of a folder, and names of a file, that are examined.
_MOST_FILES, _MOST_NAMES = 100, 12


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
