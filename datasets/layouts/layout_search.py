"""Find the layout of a dataset below a root: what a layout is, those that several datasets share, and the search."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path

import pandas as pd

from diadbench.common.errors import UserError
from diadbench.common.wording import some
from diadbench.datasets.decoding.lookalikes import shown
from diadbench.datasets.layouts.advice import ARCHIVE, MOST_FOLDERS, doubled, named_by_options, other_names
from diadbench.datasets.layouts.folder_scan import entries, subfolders
from diadbench.datasets.layouts.folders import NORMAL_NAMES, MvtecLayout, mvtec_layout, unread_folders
from diadbench.datasets.layouts.indices import below
from diadbench.datasets.layouts.lists import ListSet, list_sets

#: Maximum depth of the data below the root, because archives and users add folders.
DEPTH = 2


def _nothing(folder: Path) -> list[str]:
    return []


@dataclass(frozen=True)
class Layout:
    """One layout of a dataset on disk.

    Attributes:
        name: ``owner``, ``ader``, ``lines`` ...; the value of the option ``layout``.
        about: What must be there, for texts: ``<class>/train/good/*.png``.
        matches: Whether a directory has this layout. It looks, and reads no more than it must.
        read: Make the sample table from the dataset's root and the directory below it that matched.
        flag: Note that tables must carry when this layout was used.
        form: For lists: which form (``meta``, ``lines``, ``csv``). ``matches`` and ``read`` are not asked then.
        train: For lists: top keys of ADer's ``meta.json`` that are trained on.
        unread: What lies in the directory and is not read: a line for each folder that holds images.
    """

    name: str
    about: str
    matches: Callable[[Path], bool]
    read: Callable[[Path, str], pd.DataFrame]
    flag: str = ""
    form: str = ""
    train: tuple[str, ...] = ("train",)
    unread: Callable[[Path], list[str]] = _nothing


@dataclass(frozen=True)
class Found:
    """A layout, and the place where it was found.

    Attributes:
        layout: The layout.
        base: Directory relative to the root (``""`` is the root).
        lists: The list that decides, for a layout of lists.
        others: Lists of this dataset that are there and were not read.
    """

    layout: Layout
    base: str
    lists: ListSet | None = None
    others: tuple[ListSet, ...] = ()


def find_layout(
    root: Path,
    layouts: Sequence[Layout],
    title: str,
    names: Sequence[str] = (),
    depth: int = DEPTH,
    missing: str = "no known layout",
) -> Found:
    """Return the first layout that matches, at the root or else as close below it as possible.

    Args:
        root: The dataset's root.
        layouts: The accepted layouts, the preferred one first.
        title: Title of the dataset, for texts.
        names: Classes of the dataset; a list that names none of them is another set's. Empty: every list counts.
        depth: How many folders below the root are looked into.
        missing: Error text if none matches.

    Raises:
        UserError: None matches, or two folders at the same depth do.
    """
    for level in range(depth + 1):
        found = [one for base in folders_below(root, level) if (one := _match(root, base, layouts, names)) is not None]
        found = _without_folders_of_the_list(root, found)
        if len(found) > 1:
            twice = doubled(root, [one.base for one in found])
            if twice:
                raise UserError(f"{root}: {title} lies in folders of its classes: {twice}")
            raise UserError(
                f"{root}: {title} lies in more than one folder, {found[0].base} and {found[1].base}; "
                "give one of them as root"
            )
        if found:
            base, listed = found[0].base, found[0].lists is not None
            inner = [joined(base, name) for name in subfolders(root, base) if listed and name in names]
            if twice := doubled(root, inner):  # All listed files would be missing; folders are told as unread.
                raise UserError(f"{root}: {title}: {twice}")
            return found[0]
    expected = " or ".join(dict.fromkeys(layout.about for layout in layouts))
    there = some(sorted(shown(entry.name) for entry in root.iterdir()), most=6, room=80) or "nothing"
    hint = _hint(root, layouts, names, depth)
    raise UserError(f"{root}: {missing}; expected {expected}; found {there}{hint and f'; {hint}'}")


def _hint(root: Path, layouts: Sequence[Layout], names: Sequence[str], depth: int) -> str:
    """Return where the data seem to be: above the root, deeper below it, or in an archive; ``""`` if unknown."""
    here = Path(os.path.abspath(root))
    packed = [entry.name for entry in entries(root) if ARCHIVE.search(entry.name)]
    if packed:
        return f"unpack {shown(packed[0])}"
    for up in list(here.parents)[:3]:
        inner = here.relative_to(up)
        below = subfolders(here, "")
        known = {inner.parts[0], *below} & set(names) if names else {"train", "test"} & {*inner.parts, *below}
        if known and any(layout.matches(up) for layout in layouts if not layout.form):
            return f"this is a folder within the data: give {up} as root"
    if near := doubled(root, subfolders(root, "")) or other_names(root, names):
        return near
    if not names and (option := named_by_options(root)):
        return option
    for level in range(depth + 1, depth + 4):
        for base in islice(folders_below(root, level), MOST_FOLDERS):
            if _match(root, base, layouts, names) is not None:
                return f"the data lie in {root / base}: give this as root"
    return ""


def _without_folders_of_the_list(root: Path, found: list[Found]) -> list[Found]:
    """Keep only the list if a list and the folder of its images were both found."""
    listed = [one for one in found if one.lists is not None]
    if len(found) != 2 or len(listed) != 1:
        return found
    folder = next(one.base for one in found if one.lists is None)
    try:
        images = _read(root, listed[0])["image"]
    except UserError:
        return found
    return listed if images.str.startswith(f"{folder}/").all() else found


def _read(root: Path, found: Found) -> pd.DataFrame:
    if found.lists is not None:
        return found.lists.read(root, found.layout.train)
    return found.layout.read(root, found.base)


def _match(root: Path, base: str, layouts: Sequence[Layout], names: Sequence[str]) -> Found | None:
    folder = root / base
    sets, others = _own_lists(root, base, names) if any(layout.form for layout in layouts) else ([], [])
    if base and not all(one.words for one in sets):  # A list without words can't be assigned to a dataset.
        there = any(layout.matches(folder) for layout in layouts if not layout.form)
        sets = [one for one in sets if one.words or there]
    for layout in layouts:
        if not layout.form and layout.matches(folder):
            return Found(layout, base, None, (*sets, *others))
        fitting = [one for one in sets if one.form == layout.form and not one.aside]
        if fitting:
            return Found(layout, base, fitting[0], (*(one for one in sets if one is not fitting[0]), *others))
    return None


def _own_lists(root: Path, base: str, names: Sequence[str]) -> tuple[list[ListSet], list[ListSet]]:
    """Return the lists of a dataset with these classes in a folder, and those above the root that can't be used."""
    sets = [one for one in list_sets(root / base) if one.is_of(names)]
    upper = [] if base else [(one, whole) for one, whole in above(root) if one.is_of(names)]
    usual = {one.folder for one in sets}
    lower = [one for name in subfolders(root / base, "") for one in list_sets(root / base / name)]
    others = [one for one in lower if one.readable and one.words and one.is_of(names) and one.folder not in usual]
    others += [one for one, whole in upper if not whole]
    return [*sets, *(one for one, whole in upper if whole)], others


def above(root: Path) -> list[tuple[ListSet, bool]]:
    """Return the lists one level above the root that name images in the root, as in DiAD and UniAD.

    Each is returned with whether all its images lie in the root; a list of other images is not used, but reported.
    """
    here = Path(os.path.abspath(root))
    if here.parent == here or not os.access(here.parent, os.R_OK | os.X_OK):
        return []  # Data often lie below a folder that others may enter and not list.
    shares = [(one, one.share_in(here)) for one in list_sets(here.parent)]
    return [(one, share == "all") for one, share in shares if share != "none"]


def mvtec_like(
    name: str, classes: Sequence[str], wanted: Sequence[str] | None, layout: MvtecLayout, flag: str = ""
) -> Layout:
    """Return the layout of MVTec-AD with other folder names."""
    known = (*classes, *(one for one in wanted or () if one not in classes))

    def read(root: Path, base: str) -> pd.DataFrame:
        table = mvtec_layout(root / base, known=classes, only=wanted, layout=layout)
        return rebased(table, base)

    def matches(folder: Path) -> bool:
        places = [f"{split}/{normal}" for split in (layout.train[0], layout.test) for normal in layout.normal]
        if any((folder / one / place).is_dir() for one in known for place in places):
            return True
        return any(_has_normal(folder / one / split) for one in known for split in (layout.train[0], layout.test))

    about = f"<class>/{layout.train[0]}/{layout.normal[0]}, <class>/{layout.test}, <class>/{layout.masks}"
    return Layout(name, about, matches, read, flag, unread=partial(unread_folders, layout=layout, only=wanted))


def _has_normal(folder: Path) -> bool:
    """Whether a folder has one with a usual name of normal images, which reading it then refuses or accepts."""
    return folder.is_dir() and any(name.lower() in NORMAL_NAMES for name in subfolders(folder, ""))


def ader(train: Sequence[str] = ("train",)) -> Layout:
    """Return ADer's layout: a ``meta.json`` beside the class folders."""
    return _listed("ader", "meta", "meta.json", train=tuple(train))


def lines(*pairs: tuple[str, str], flag: str = "samples listed by DiAD's or UniAD's JSON lines") -> Layout:
    """Return the layout of DiAD and UniAD: JSON lines beside, or above, the folder of images."""
    return _listed("lines", "lines", " or ".join(f"{train} with {test}" for train, test in pairs), flag)


def table(name: str = "csv", about: str = "a CSV file with path,class,split,label,mask", flag: str = "") -> Layout:
    """Return the layout of a CSV list with a header."""
    return _listed(name, "csv", about, flag)


def _listed(name: str, form: str, about: str, flag: str = "", train: tuple[str, ...] = ("train",)) -> Layout:
    def read(root: Path, base: str) -> pd.DataFrame:
        found = [one for one in list_sets(root / base) if one.form == form]
        if not found:
            raise UserError(f"{root / base}: no list in the form of {about}")
        return found[0].read(root, train)

    return Layout(
        name, about, lambda folder: any(one.form == form for one in list_sets(folder)), read, flag, form, train
    )


def rebased(table: pd.DataFrame, base: str) -> pd.DataFrame:
    """Return the table with ``base`` prepended to all its paths."""
    if not base:
        return table
    paths = {name: below(table[name], base) for name in ("image", "mask", "xyz") if name in table.columns}
    return table.assign(**paths)


def joined(*parts: str) -> str:
    """Join relative folders, ignoring empty ones."""
    return "/".join(part for part in parts if part)


def folders_below(root: Path, depth: int) -> Iterator[str]:
    """Yield the folders ``depth`` levels below the root, relative to it; ``""`` at depth 0."""
    if depth == 0:
        yield ""
        return
    for base in folders_below(root, depth - 1):
        yield from map(partial(joined, base), subfolders(root, base))
