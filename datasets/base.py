"""The interface of a dataset: a table of samples, a root, and a few facts."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

import pandas as pd

from diadbench.common.errors import Missing, UserError, told_of_files
from diadbench.common.wording import counted
from diadbench.datasets.dataset_info import DatasetInfo
from diadbench.datasets.decoding.reading import Reading

if TYPE_CHECKING:
    from diadbench.datasets.findings import CheckReport

Setting = Literal["multi-class", "one-per-class"]
SETTINGS: tuple[Setting, ...] = ("multi-class", "one-per-class")

#: File that marks a synthetic sample of a dataset, see :mod:`diadbench.datasets.samples`.
SAMPLE_MARKER = ".diadbench-sample"

__all__ = ["SAMPLE_MARKER", "SETTINGS", "Dataset", "DatasetInfo", "Part", "Setting"]


@dataclass(frozen=True)
class Part:
    """A share of a dataset that gets its own model.

    ``multi-class``: one part with all classes. ``one-per-class``: a part for each class. COCO-AD's four
    splits have different training images, so it has four parts in either setting.

    Attributes:
        name: Name of the part; ``all`` for the whole.
        classes: Classes of the part.
    """

    name: str
    classes: tuple[str, ...] = field(default_factory=tuple)


class Dataset(ABC):
    """Base of all dataset adapters. A subclass must define :attr:`info` and :meth:`index`; more is rarely needed.

    Args:
        root: Directory of the data. ``None``: the adapter finds or makes it (ELPV, toy), else it is an error.
        classes: Keep these classes only, in this order; ``None`` keeps all, in canonical order.

    Further keyword arguments of a subclass are its options in a grid. They are plain YAML values.

    Raises:
        UserError: The root is missing, or a class is unknown.
    """

    info: ClassVar[DatasetInfo]
    #: Maximum number of training and of test samples of each class; ``None``: all. See :meth:`limit_to`.
    limit: int | None = None

    def __init__(self, root: Path | str | None = None, *, classes: Sequence[str] | None = None) -> None:
        self._root = Path(root).expanduser() if root is not None else None
        if isinstance(classes, str):
            raise UserError(f"dataset {self.info.name!r}: classes must be a list, as in [{classes}]")
        self._wanted = tuple(classes) if classes is not None else None

    # -- defined by an adapter ------------------------------------------------------------------------------

    @abstractmethod
    def index(self) -> pd.DataFrame:
        """Build the unfiltered sample table from the disk (columns of :mod:`diadbench.datasets.table`)."""

    @property
    @told_of_files()
    def root(self) -> Path:
        """Return the directory that ``image`` paths are relative to. An adapter that makes its data overrides this."""
        if self._root is None:
            raise Missing(
                f"dataset {self.info.name!r}: no data root; set `root` for it or `data_root` in the grid, "
                "or the environment variable DIADBENCH_DATA"
            )
        if not self._root.is_dir():
            raise Missing(
                f"dataset {self.info.name!r}: {self._root} is {_what_is(self._root)}; "
                f"expected the data there ({self.info.homepage or 'see diadbench datasets info'})"
            )
        return self._root

    @property
    def mask_root(self) -> Path:
        """Return the directory that ``mask`` paths are relative to; generated masks have their own."""
        return self.root

    @property
    def reading(self) -> Reading:
        """Return how masks become binary and 16-bit images 8 bits; an adapter with such options overrides this."""
        return Reading()

    @property
    def masks_made_whole(self) -> bool:
        """Whether each mask is the whole image, as in UniAD for a list without masks; a flag states it."""
        return False

    @property
    def has_published_split(self) -> bool:
        """Whether numbers of images are compared with the published ones, which is not done for another split.

        A flag then states the split.
        """
        return True

    def groups(self) -> list[Part]:
        """Return the shares of the data that never train together: one, unless the protocol defines more (COCO-AD)."""
        return [Part("all", self.classes)]

    # -- used by the rest of the project ----------------------------------------------------------------------

    @cached_property
    @told_of_files()
    def samples(self) -> pd.DataFrame:
        """Return the checked sample table: wanted classes in order, train before test, index ``0..n-1``."""
        from diadbench.datasets.table import limited

        table = self.checked(self.index())
        return table if self.limit is None else limited(table, self.limit)

    def checked(self, table: pd.DataFrame) -> pd.DataFrame:
        """Return a table of :meth:`index` in its canonical form, with the wanted classes. Raises UserError."""
        from diadbench.datasets.table import checked

        return checked(table, self.info, wanted=self._wanted, where=str(self._root or self.info.name))

    @property
    def wanted(self) -> tuple[str, ...]:
        """Return the classes that are kept: the option ``classes``, else those of the published set; empty for all."""
        return self._wanted if self._wanted is not None else self.info.classes

    def limit_to(self, count: int | None) -> None:
        """Keep at most this many training and test samples of each class (:func:`~diadbench.datasets.table.limited`).

        A flag in every table states it. ``None`` keeps all.
        """
        self.limit = count
        self.__dict__.pop("samples", None)

    @property
    def classes(self) -> tuple[str, ...]:
        """Return the class names, in the order of all tables. A class id is a position in this tuple."""
        return tuple(self.samples["class"].drop_duplicates())

    def parts(self, setting: str) -> list[Part]:
        """Return the shares that get one model each in ``setting``; few-shot settings use one model for all classes."""
        if setting != "one-per-class":
            return self.groups()
        return [Part(name, (name,)) for group in self.groups() for name in group.classes]

    def validation_images(self, name: str) -> list[str]:
        """Return normal images of a class that are neither trained on nor tested, from which thresholds are set.

        Paths are relative to :attr:`root`; empty if the dataset has no validation split.
        """
        return []

    @property
    def set_aside(self) -> frozenset[str]:
        """Return files of the dataset that by design belong to no sample. Known after :meth:`index` has run."""
        return frozenset()

    def place_of(self, path: str) -> str:
        """Return the list and the line that name a path of the sample table; ``""`` where no list does."""
        return ""

    def own_checks(self, report: CheckReport) -> None:
        """Add findings that only this dataset's adapter can make to a report; called after the table is made."""
        return

    @property
    def source(self) -> str:
        """Return a short description of what the samples were read from, which distinguishes lists from folders."""
        return f"files of {self._root}" if self._root is not None else "made or installed with the program"

    @property
    def unread(self) -> tuple[str, ...]:
        """Return the parts of the data that were not read: other lists, folders with images. See also :attr:`flags`."""
        return ()

    @property
    def flags(self) -> tuple[str, ...]:
        """Return the notes that every table with this dataset must carry; an adapter adds those of its options.

        For example ``3 of 15 classes``, because a mean over some classes is not comparable with one over all.
        """
        own = [name for name in self.classes if name in self.info.classes]
        known, there, more = len(self.info.classes), len(own), len(self.classes) - len(own)
        subset: tuple[str, ...] = (f"{there} of {known} classes",) if there < known else ()
        extra = counted(more, "class", "classes")
        subset += (f"{extra} that the published set has not",) if known and more else ()
        synthetic = self._root is not None and (self._root / SAMPLE_MARKER).is_file()
        few = (
            "" if self.limit is None else f"a quick look: at most {self.limit} training and test samples of each class"
        )
        notes = ("synthetic sample data" if synthetic else "", few)
        return (*self.info.flags, *self.reading.flags, *subset, *filter(None, notes))


def _what_is(path: Path) -> str:
    return "a file, not a directory: unpack it if it is an archive" if path.is_file() else "not a directory"
