"""A dataset whose layout on disk is detected: its owner's, or that of a framework.

Lists come first and are recognised by their content: an existing list decides, or is refused. See
:mod:`diadbench.datasets.layouts.lists`.
"""

from __future__ import annotations

import os
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from functools import cached_property
from pathlib import Path
from typing import ClassVar

import pandas as pd

from diadbench.common.errors import UserError, told_of_files, unknown_name
from diadbench.datasets.base import Dataset
from diadbench.datasets.decoding.lookalikes import shown
from diadbench.datasets.decoding.reading import VALUED, MaskOptions, Reading, reading_of
from diadbench.datasets.layouts.advice import not_there, passed_over
from diadbench.datasets.layouts.layout_search import (
    DEPTH,
    Found,
    Layout,
    above,
    ader,
    find_layout,
    folders_below,
    lines,
    table,
)
from diadbench.datasets.layouts.layout_search import joined as joined
from diadbench.datasets.layouts.layout_search import mvtec_like as mvtec_like
from diadbench.datasets.layouts.layout_search import rebased as rebased
from diadbench.datasets.layouts.lists import FORMS, ListSet, foreign_lists, list_sets


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
        return [os.path.basename(base) for depth in (1, 2) for base in folders_below(self._root, depth)]

    def _is_named(self, name: str) -> bool:
        """Whether a folder below the root has this name, or a list there has a class of this name."""
        if self._root is None or not self._root.is_dir():
            return False
        bases = [base for depth in range(self.depth + 1) for base in folders_below(self._root, depth)]
        if any(os.path.basename(base) == name for base in bases):
            return True
        if not any(layout.form for layout in self.accepted):
            return False
        sets = [one for base in bases for one in list_sets(self._root / base)]
        return any(one.words and one.is_of([name]) for one in [*sets, *(one for one, _ in above(self._root))])

    @cached_property
    @told_of_files()
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

    def place_of(self, path: str) -> str:
        """Return the list and the line that name a path of the sample table; ``""`` where no list does."""
        return self._places.get(path, "")

    @cached_property
    def _places(self) -> dict[str, str]:
        found = self.found
        return {} if found.lists is None else found.lists.places(self.root, found.layout.train)

    @property
    @told_of_files()
    def unread(self) -> tuple[str, ...]:
        """Return a line for each part of the data that was not read: other lists, folders with images."""
        found = self.found
        lines = [f"list {one.names} {_where(one.folder, self.root)} was not read" for one in self._different()]
        if found.lists is None:
            lines += found.layout.unread(self.root / found.base)
        missing = [name for name in self.wanted if name not in self.classes]
        if self.wanted or found.lists is None:
            lines += not_there(self.root / found.base, missing)
        for name in foreign_lists(self.root / found.base):
            lines.append(f"{shown(name)}, by its name a list, is of a format that isn't read (CSV and JSON are)")
        if any(layout.form for layout in self.accepted):
            lines += passed_over(self.root, self.root / found.base)
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


class ValidationDataset(LayoutDataset):
    """A dataset whose owner has validation images, which methods here may train on.

    See :class:`LayoutDataset` for the other options.

    Args:
        validation: Train with the validation images too. Tables say which images were trained on.
    """

    def __init__(
        self,
        root: Path | str | None = None,
        *,
        classes: Sequence[str] | None = None,
        layout: str = "auto",
        masks: MaskOptions | None = None,
        bit_depth: int | None = None,
        validation: bool = False,
    ) -> None:
        if not isinstance(validation, bool):
            raise UserError(f"dataset {self.info.name!r}: validation {validation!r}; expected true or false")
        self._validation = validation
        super().__init__(root, classes=classes, layout=layout, masks=masks, bit_depth=bit_depth)

    @property
    def train_splits(self) -> tuple[str, ...]:
        """Return the owner's splits that are trained on."""
        return ("train", "validation") if self._validation else ("train",)

    def index(self) -> pd.DataFrame:
        """Build the sample table. Raises UserError if validation images are asked for and the list has none."""
        if self._validation and self.found.lists is not None and self.found.layout.form != "meta":
            raise UserError(f"{self.root}: the list has no validation images; set validation: false, or layout: owner")
        return super().index()

    @property
    def flags(self) -> tuple[str, ...]:
        """Return the dataset's notes, and which images the training set holds."""
        return (*super().flags, "trained on train + validation" if self._validation else "trained without validation")


def _where(folder: Path, root: Path) -> str:
    """Return the place of a list as seen from the root."""
    relative = os.path.relpath(folder, root)
    return {".": "in the root", "..": "one level above the root"}.get(relative, f"in {shown(relative)}")


def _said(table: pd.DataFrame) -> set[tuple[object, ...]]:
    return set(zip(table["image"], table["split"], table["label"].astype(int), table["mask"].fillna("")))


def _is_below(folder: Path, root: Path) -> bool:
    return folder == root or root in folder.parents
