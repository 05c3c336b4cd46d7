"""Find files below a dataset's root that belong to no sample."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from diadbench.common.wording import counted, some
from diadbench.datasets.base import Dataset
from diadbench.datasets.decoding.images import SEVERAL, has_image_suffix, is_hidden
from diadbench.datasets.findings import CheckReport

#: Datasets whose folders by design hold images that no list names (COCO's images without annotations).
_LOOSE = ("coco_ad",)
#: Suffixes of lists, texts and other files that accompany images.
_BESIDE = (
    ".json",
    ".jsonl",
    ".ndjson",
    ".csv",
    ".tsv",
    ".txt",
    ".md",
    ".xml",
    ".pdf",
    ".zip",
    ".tar",
    ".xz",
    ".gz",
    ".yaml",
    ".yml",
    ".html",
)


def check_extras(dataset: Dataset, table: pd.DataFrame, report: CheckReport) -> None:
    """Add a finding for every folder with files that are not in the sample table, and for links that leave the root.

    An unlisted image in a folder of listed ones is a warning: the list omits it, or it isn't part of the dataset.
    """
    named = {path for name in ("image", "mask", "xyz") if name in table.columns for path in table[name] if path}
    used = {file for path in named for file in _files_of(path)}
    homes = {path.rpartition("/")[0] for path in used}
    used |= dataset.set_aside
    found: dict[str, list[str]] = {}
    for relative in _files(dataset.root, report):
        folder, _, name = relative.rpartition("/")
        if relative in used or folder in used or _is_beside(name):
            continue
        found.setdefault(folder, []).append(name)
    loose: dict[str, int] = {}
    for folder, names in sorted(found.items()):
        pictures = [name for name in names if has_image_suffix(name)]
        if folder in homes and pictures and dataset.info.name not in _LOOSE:
            report.add(
                "warning",
                "extra",
                f"{counted(len(pictures), 'file that belongs', 'files that belong')} to no sample: "
                f"{some(sorted(pictures), most=3)}",
                dataset.root / folder,
                "remove them, or mend the list that should name them",
                note="",  # No run reads them.
            )
        else:
            top = "/".join(folder.split("/")[:2])
            loose[top] = loose.get(top, 0) + len(names)
    if loose:
        shown = some((f"{top or '.'} ({number:,})" for top, number in loose.items()), most=4)
        report.add(
            "note",
            "extra",
            f"{counted(sum(loose.values()), 'file belongs', 'files belong')} to no sample: in {shown}",
            note="",
        )


def _files_of(path: str) -> list[str]:
    folder, *names = path.split(SEVERAL)
    return [folder + name for name in names] or [path]


def _is_beside(name: str) -> bool:
    return os.path.splitext(name)[1].lower() in _BESIDE or name.upper().startswith(("LICENSE", "LICENCE", "README"))


def _files(root: Path, report: CheckReport) -> Iterator[str]:
    """Yield the visible files below the root. Links to folders aren't followed; links that leave it are reported."""
    real = os.path.realpath(root)

    def closed(error: OSError) -> None:
        text = f"can't be listed ({error.strerror}): whether files in it belong to no sample isn't known"
        report.add("warning", "extra", text, error.filename, "get the right to read it", note="")

    for folder, folders, files in os.walk(root, onerror=closed):
        folders[:] = sorted(name for name in folders if not is_hidden(name))
        for name in [*folders, *files]:
            path = os.path.join(folder, name)
            if os.path.islink(path) and not _stays(path, real):
                text = "a link that leaves the data root, or leads nowhere"
                report.add("warning", "symlink", text, path, "remove it", note="")  # A run refuses it, if it is read.
        place = os.path.relpath(folder, root).replace(os.sep, "/")
        for name in files:
            if not is_hidden(name):
                yield name if place == "." else f"{place}/{name}"


def _stays(path: str, real_root: str) -> bool:
    target = os.path.realpath(path)
    return os.path.exists(target) and (target + os.sep).startswith(real_root + os.sep)
