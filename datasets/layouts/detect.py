"""Find out which of a dataset's layouts lies on the disk: its owner's, or one that a framework made of it."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import ClassVar

import pandas as pd

from diadbench.common.errors import UserError, unknown_name
from diadbench.datasets.base import Dataset
from diadbench.datasets.layouts.folders import MvtecLayout, mvtec_layout, subfolders
from diadbench.datasets.layouts.indices import META, below, is_json_lines, read_lines, read_meta

#: How deep below the root the data may lie: archives and people add folders.
DEPTH = 2


@dataclass(frozen=True)
class Layout:
    """One way in which a dataset lies on the disk.

    Attributes:
        name: ``owner``, ``ader``, ``lines`` ...; the value of the option ``layout``.
        about: What must be there, for texts: ``<class>/train/good/*.png``.
        matches: Whether a directory has this layout. It looks, and reads no more than it must.
        read: Make the sample table from the dataset's root and the directory below it that matched.
        flag: Note that tables must carry when this layout was used.
    """

    name: str
    about: str
    matches: Callable[[Path], bool]
    read: Callable[[Path, str], pd.DataFrame]
    flag: str = ""


@dataclass(frozen=True)
class Found:
    """A layout, and the directory where it was found, relative to the root (``""`` is the root)."""

    layout: Layout
    base: str


class LayoutDataset(Dataset):
    """A dataset with several layouts. A subclass tells them by :meth:`layouts`, the preferred one first.

    Args:
        root: Directory of the data; it may lie up to two folders deeper.
        classes: Keep these classes only, in this order; ``None`` keeps all, in ADer's order.
        layout: ``auto`` finds out which layout is there; a name takes that one.
    """

    #: Names for ``layout``.
    layout_names: ClassVar[tuple[str, ...]] = ()

    def __init__(
        self, root: Path | str | None = None, *, classes: Sequence[str] | None = None, layout: str = "auto"
    ) -> None:
        super().__init__(root, classes=classes)
        for name in self._wanted or ():
            if name not in self.info.classes:
                raise unknown_name("class", str(name), self.info.classes, where=f"dataset {self.info.name!r}")
        self._layout = layout
        names = [found.name for found in self.layouts()]
        if layout != "auto" and layout not in names:
            raise unknown_name("layout", layout, ["auto", *names], where=f"dataset {self.info.name!r}")

    @abstractmethod
    def layouts(self) -> list[Layout]:
        """Return the layouts that are accepted, the preferred one first."""

    @cached_property
    def found(self) -> Found:
        """The layout that is there. Raises UserError when there is none, or several at the same depth."""
        wanted = [one for one in self.layouts() if self._layout in ("auto", one.name)]
        return find_layout(self.root, wanted, self.info.title)

    def index(self) -> pd.DataFrame:
        """Build the sample table from the layout that is there."""
        return self.found.layout.read(self.root, self.found.base)

    @property
    def flags(self) -> tuple[str, ...]:
        """The dataset's notes, and the layout's."""
        flag = self.found.layout.flag
        return (*super().flags, *((flag,) if flag else ()))


def find_layout(root: Path, layouts: Sequence[Layout], title: str) -> Found:
    """Return the first layout that matches, at the root or else as near below it as possible.

    Raises:
        UserError: None matches, or two folders at the same depth do.
    """
    for depth in range(DEPTH + 1):
        found = [
            Found(layout, base) for base in _bases(root, depth) for layout in layouts if layout.matches(root / base)
        ]
        if found:
            first = found[0]
            others = [one.base for one in found if one.base != first.base]
            if others:
                raise UserError(
                    f"{root}: {title} lies in more than one folder, {first.base} and {others[0]}; "
                    "give one of them as root"
                )
            return first
    expected = " or ".join(layout.about for layout in layouts)
    there = ", ".join(sorted(entry.name for entry in root.iterdir())[:6]) or "nothing"
    raise UserError(f"{root}: not {title} in a known layout; expected {expected}; found {there}")


def mvtec_like(
    name: str, classes: Sequence[str], wanted: Sequence[str] | None, layout: MvtecLayout, flag: str = ""
) -> Layout:
    """Return the layout of MVTec-AD with other folder names."""

    def read(root: Path, base: str) -> pd.DataFrame:
        table = mvtec_layout(root / base, known=classes, only=wanted, layout=layout)
        return rebased(table, base)

    def matches(folder: Path) -> bool:
        places = [f"{split}/{normal}" for split in (layout.train[0], layout.test) for normal in layout.normal]
        return any((folder / one / place).is_dir() for one in classes for place in places)

    about = f"<class>/{layout.train[0]}/{layout.normal[0]}, <class>/{layout.test}, <class>/{layout.masks}"
    return Layout(name, about, matches, read, flag)


def ader(train: Sequence[str] = ("train",)) -> Layout:
    """Return ADer's layout: a ``meta.json`` beside the class folders."""

    def read(root: Path, base: str) -> pd.DataFrame:
        return read_meta(root / base / META, base, train=train)

    return Layout("ader", META, lambda folder: (folder / META).is_file(), read)


def lines(*pairs: tuple[str, str], flag: str = "samples listed by DiAD's or UniAD's JSON lines") -> Layout:
    """Return the layout of DiAD and UniAD: JSON lines beside, or above, the folder of images."""

    def matches(folder: Path) -> bool:
        return any(is_json_lines(folder / train) and is_json_lines(folder / test) for train, test in pairs)

    def read(root: Path, base: str) -> pd.DataFrame:
        for train, test in pairs:
            if (root / base / train).is_file() and (root / base / test).is_file():
                table = read_lines(root / base / train, root / base / test)
                return rebased(table, joined(base, image_base(root / base, table)))
        raise UserError(f"{root / base}: {pairs[0][0]} is gone")

    about = " or ".join(f"{train} with {test}" for train, test in pairs)
    return Layout("lines", about, matches, read, flag)


def image_base(folder: Path, table: pd.DataFrame) -> str:
    """Return the subfolder of ``folder`` (or ``""``) in which the listed images lie.

    Raises:
        UserError: The first images of the list are nowhere.
    """
    firsts = table.groupby("class", sort=False)["image"].head(3)  # some classes may not be there
    listed = [path for path in firsts if not path.startswith("/") and ".." not in path.split("/")]
    for base in ("", *subfolders(folder, "")):
        if any((folder / base / path).is_file() for path in listed):
            return base
    if not listed:
        return ""  # every path leaves the root; the table's check names the first
    raise UserError(f"{folder}: {listed[0]} is listed, and not found there or in a folder below")


def rebased(table: pd.DataFrame, base: str) -> pd.DataFrame:
    """Return the table with ``base`` before all its paths."""
    if not base:
        return table
    paths = {name: below(table[name], base) for name in ("image", "mask", "xyz") if name in table.columns}
    return table.assign(**paths)


def joined(*parts: str) -> str:
    """Join relative folders, passing over empty ones."""
    return "/".join(part for part in parts if part)


def _bases(root: Path, depth: int) -> Iterator[str]:
    if depth == 0:
        yield ""
        return
    for base in _bases(root, depth - 1):
        yield from map(partial(joined, base), subfolders(root, base))
