"""Detect the layout of a dataset on disk: its owner's, or that of a framework.

Lists come first and are recognised by their content: an existing list decides, or is refused. See
:mod:`diadbench.datasets.layouts.lists`.
"""

from __future__ import annotations

import os
from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cached_property, partial
from pathlib import Path
from typing import ClassVar

import pandas as pd

from diadbench.common.errors import UserError, unknown_name
from diadbench.datasets.base import Dataset
from diadbench.datasets.decoding.lookalikes import shown
from diadbench.datasets.decoding.reading import VALUED, MaskOptions, Reading, reading_of
from diadbench.datasets.layouts.folders import MvtecLayout, mvtec_layout, subfolders, unread_folders
from diadbench.datasets.layouts.indices import below
from diadbench.datasets.layouts.lists import FORMS, ListSet, list_sets

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


class LayoutDataset(Dataset):
    """A dataset with several layouts. A subclass tells them by :meth:`layouts`, the preferred one first.

    Args:
        root: Directory of the data; it may lie up to two folders deeper. Lists may lie one level above.
        classes: Keep these classes only, in this order; ``None`` keeps all, in ADer's order. Classes that the published
            set has not may be named too, where they are there.
        layout: ``auto`` finds out which layout is there; a name takes that one.
        masks: ``{threshold: 127}``: mask values above it are anomalous (0 to 254); ``{invert: true}``: masks show what
            is normal. ``None``: whatever is not 0 is anomalous, but JPEG and resized masks are thresholded at half.
        bit_depth: Bits that 16-bit images use, 8 to 16; ``None`` finds it over the whole set, and tables say it.
    """

    #: Maximum depth of the data below the root.
    depth: ClassVar[int] = DEPTH
    #: Error text if no layout is found; ``""`` names the dataset.
    nothing: ClassVar[str] = ""

    def __init__(
        self,
        root: Path | str | None = None,
        *,
        classes: Sequence[str] | None = None,
        layout: str = "auto",
        masks: MaskOptions | None = None,
        bit_depth: int | None = None,
    ) -> None:
        super().__init__(root, classes=classes)
        own = self.info.name
        self._reading = reading_of(masks, bit_depth, valued=own in VALUED, where=f"dataset {own!r}")
        for name in self._wanted or ():
            if self.info.classes and name not in self.info.classes and not self._is_named(str(name)):
                known = (*self.info.classes, *get_close_matches(str(name), self._folders_there()))
                raise unknown_name("class", str(name), known, where=f"dataset {self.info.name!r}")
        self._layout = layout
        names = list(dict.fromkeys(found.name for found in self.accepted))
        if layout != "auto" and layout not in names:
            raise unknown_name("layout", layout, ["auto", *names], where=f"dataset {self.info.name!r}")

    @property
    def reading(self) -> Reading:
        """Return how masks and 16-bit images are read: the options ``masks`` and ``bit_depth``."""
        return self._reading

    @abstractmethod
    def layouts(self) -> list[Layout]:
        """Return the layouts that are accepted, the preferred one first."""

    @property
    def accepted(self) -> list[Layout]:
        """Return the layouts with all forms of lists: a dataset that accepts one form accepts all."""
        own = self.layouts()
        forms = [layout.form for layout in own if layout.form]
        if not forms:
            return own
        more = [one for one in (ader(), lines(("train.json", "test.json")), table()) if one.form not in forms]
        last = max(i for i, layout in enumerate(own) if layout.form)
        return [*own[: last + 1], *more, *own[last + 1 :]]

    @property
    def class_names(self) -> tuple[str, ...]:
        """Return the published classes, and those that the option ``classes`` adds; empty if any name is allowed."""
        own = self.info.classes
        return (*own, *(name for name in self._wanted or () if name not in own)) if own else ()

    def _folders_there(self) -> list[str]:
        if self._root is None or not self._root.is_dir():
            return []
        return [os.path.basename(base) for depth in (1, 2) for base in _bases(self._root, depth)]

    def _is_named(self, name: str) -> bool:
        """Whether a folder below the root has this name, or a list there has a class of this name."""
        if self._root is None or not self._root.is_dir():
            return False
        bases = [base for depth in range(self.depth + 1) for base in _bases(self._root, depth)]
        if any(os.path.basename(base) == name for base in bases):
            return True
        if not any(layout.form for layout in self.accepted):
            return False
        sets = [one for base in bases for one in list_sets(self._root / base)]
        return any(one.words and one.is_of([name]) for one in [*sets, *(one for one, _ in above(self._root))])

    @cached_property
    def found(self) -> Found:
        """Return the layout found. Raises UserError if there is none, or several at the same depth."""
        wanted = [one for one in self.accepted if self._layout in ("auto", one.name)]
        missing = self.nothing or f"not {self.info.title} in a known layout"
        return find_layout(self.root, wanted, self.info.title, self.class_names, self.depth, missing)

    def index(self) -> pd.DataFrame:
        """Build the sample table with the layout found."""
        found = self.found
        if found.lists is not None:
            return found.lists.read(self.root, found.layout.train, masks=self.info.has_masks, only=self._wanted)
        return found.layout.read(self.root, found.base)

    @property
    def source(self) -> str:
        """Return what the samples were read from: the list with its path, or folders."""
        found = self.found
        if found.lists is None:
            return f"folders of {shown(self.root / found.base)} (layout {found.layout.name})"
        paths = " and ".join(shown(file.path) for file in found.lists.files)
        where = "" if _is_below(found.lists.folder, self.root) else ", one level above the root"
        return f"list {paths} ({FORMS[found.lists.form]}, layout {found.layout.name}{where})"

    @property
    def unread(self) -> tuple[str, ...]:
        """Return a line for each part of the data that was not read: other lists, folders with images."""
        found = self.found
        lines = [f"list {one.names} {_where(one.folder, self.root)} was not read" for one in self._different()]
        if found.lists is None:
            lines += found.layout.unread(self.root / found.base)
        return tuple(lines)

    def _different(self) -> Iterator[ListSet]:
        """Yield the other lists whose samples differ from those read."""
        read = _said(self.samples)
        for one in self.found.others:
            try:
                same = one.readable and _said(one.read(self.root, self.found.layout.train)) == read
            except UserError:
                same = False
            if not same:
                yield one

    @property
    def flags(self) -> tuple[str, ...]:
        """Return the notes of the dataset and of the layout, and what was not read."""
        flag = self.found.layout.flag
        return (*super().flags, *((flag,) if flag else ()), *self.unread)


def _where(folder: Path, root: Path) -> str:
    """Return the place of a list as seen from the root."""
    relative = os.path.relpath(folder, root)
    return {".": "in the root", "..": "one level above the root"}.get(relative, f"in {shown(relative)}")


def _said(table: pd.DataFrame) -> set[tuple[object, ...]]:
    return set(zip(table["image"], table["split"], table["label"].astype(int), table["mask"].fillna("")))


def _is_below(folder: Path, root: Path) -> bool:
    return folder == root or root in folder.parents


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
        found = [one for base in _bases(root, level) if (one := _match(root, base, layouts, names)) is not None]
        found = _without_folders_of_the_list(root, found)
        if len(found) > 1:
            raise UserError(
                f"{root}: {title} lies in more than one folder, {found[0].base} and {found[1].base}; "
                "give one of them as root"
            )
        if found:
            return found[0]
    expected = " or ".join(dict.fromkeys(layout.about for layout in layouts))
    there = ", ".join(sorted(shown(entry.name) for entry in root.iterdir())[:6]) or "nothing"
    raise UserError(f"{root}: {missing}; expected {expected}; found {there}")


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
        fitting = [one for one in sets if one.form == layout.form]
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
    shares = [(one, one.share_in(here)) for one in list_sets(here.parent)] if here.parent != here else []
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
        return any((folder / one / place).is_dir() for one in known for place in places)

    about = f"<class>/{layout.train[0]}/{layout.normal[0]}, <class>/{layout.test}, <class>/{layout.masks}"
    return Layout(name, about, matches, read, flag, unread=partial(unread_folders, layout=layout, only=wanted))


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


def _bases(root: Path, depth: int) -> Iterator[str]:
    if depth == 0:
        yield ""
        return
    for base in _bases(root, depth - 1):
        yield from map(partial(joined, base), subfolders(root, base))
