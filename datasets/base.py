"""What a dataset is to the rest of the house: a table of samples, a root, and a few facts about itself."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

import pandas as pd

from diadbench.common.errors import Missing, UserError
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
    """A share of a dataset that gets one model of its own.

    ``multi-class``: one part with all classes. ``one-per-class``: a part for each class. COCO-AD's four
    splits have different training images, so it has four parts in either setting.

    Attributes:
        name: Name of the part; ``all`` for the whole.
        classes: Classes that it holds.
    """

    name: str
    classes: tuple[str, ...] = field(default_factory=tuple)


class Dataset(ABC):
    """Base of all dataset adapters. A subclass writes :attr:`info` and :meth:`index`, and no more if it can.

    Args:
        root: Directory of the data. ``None``: the adapter finds or makes it (ELPV, toy), else it is an error.
        classes: Keep these classes only, in this order; ``None`` keeps all, in canonical order.

    Further keyword arguments of a subclass are its options in a grid. They are plain YAML values.

    Raises:
        UserError: The root is missing, or a class is unknown.
    """

    info: ClassVar[DatasetInfo]
    #: At most so many training and test samples of each class; ``None``: all. See :meth:`limit_to`.
    limit: int | None = None

    def __init__(self, root: Path | str | None = None, *, classes: Sequence[str] | None = None) -> None:
        self._root = Path(root).expanduser() if root is not None else None
        if isinstance(classes, str):
            raise UserError(f"dataset {self.info.name!r}: classes must be a list, as in [{classes}]")
        self._wanted = tuple(classes) if classes is not None else None

    # -- what an adapter writes ---------------------------------------------------------------------------

    @abstractmethod
    def index(self) -> pd.DataFrame:
        """Build the sample table from the disk (columns of :mod:`diadbench.datasets.table`), unfiltered."""

    @property
    def root(self) -> Path:
        """Directory that ``image`` paths are relative to. An adapter that makes its data overrides this."""
        if self._root is None:
            raise Missing(
                f"dataset {self.info.name!r}: no data root; set `root` for it or `data_root` in the grid, "
                "or the environment variable DIADBENCH_DATA"
            )
        if not self._root.is_dir():
            raise Missing(
                f"dataset {self.info.name!r}: {self._root} is not a directory; "
                f"expected the data there ({self.info.homepage or 'see diadbench datasets info'})"
            )
        return self._root

    @property
    def mask_root(self) -> Path:
        """Directory that ``mask`` paths are relative to; differs from :attr:`root` where masks are made by us."""
        return self.root

    @property
    def reading(self) -> Reading:
        """How masks become binary and 16-bit images 8 bits; an adapter with options for it overrides this."""
        return Reading()

    @property
    def masks_made_whole(self) -> bool:
        """Whether each mask is the whole image, as UniAD has it where a list names none; a flag says so."""
        return False

    @property
    def has_published_split(self) -> bool:
        """Whether numbers of images are to be compared with the published ones: not so for another split (an option).

        A flag then says which split it is.
        """
        return True

    def groups(self) -> list[Part]:
        """Shares of the data that never train together. One, unless the protocol says otherwise (COCO-AD)."""
        return [Part("all", self.classes)]

    # -- what the rest of the house calls -------------------------------------------------------------------

    @cached_property
    def samples(self) -> pd.DataFrame:
        """The checked sample table: wanted classes in order, train before test, index ``0..n-1``."""
        from diadbench.datasets.table import checked, limited

        table = checked(self.index(), self.info, wanted=self._wanted, where=str(self._root or self.info.name))
        return table if self.limit is None else limited(table, self.limit)

    def limit_to(self, count: int | None) -> None:
        """Keep at most so many training and test samples of each class (:func:`~diadbench.datasets.table.limited`).

        A flag says so in every table. ``None`` keeps all.
        """
        self.limit = count
        self.__dict__.pop("samples", None)

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names, in the order of all tables. A class id is a position in this tuple."""
        return tuple(self.samples["class"].drop_duplicates())

    def parts(self, setting: str) -> list[Part]:
        """Return the shares that get one model each in ``setting``; few-shot settings have one for all classes."""
        if setting != "one-per-class":
            return self.groups()
        return [Part(name, (name,)) for group in self.groups() for name in group.classes]

    def validation_images(self, name: str) -> list[str]:
        """List normal images of a class that are neither trained on nor tested: thresholds are set on them.

        Paths relative to :attr:`root`; nothing where the set has no validation split.
        """
        return []

    @property
    def set_aside(self) -> frozenset[str]:
        """Files below the root that belong to the set and to no sample, by design. Known once :meth:`index` ran."""
        return frozenset()

    def own_checks(self, report: CheckReport) -> None:
        """Add to a report what only this dataset's adapter can check; called once the table was made."""
        return

    @property
    def source(self) -> str:
        """What the samples were read from, in a few words. Lists and folders are told apart where there are both."""
        return f"files of {self._root}" if self._root is not None else "made or installed with the program"

    @property
    def unread(self) -> tuple[str, ...]:
        """What lies in the data and was not read: other lists, folders with images. :attr:`flags` has these too."""
        return ()

    @property
    def flags(self) -> tuple[str, ...]:
        """Notes that every table with this dataset must carry; an adapter adds what its options change.

        A mean over some of the classes is not comparable with one over all, so this says ``3 of 15 classes``.
        """
        own = [name for name in self.classes if name in self.info.classes]
        known, there, more = len(self.info.classes), len(own), len(self.classes) - len(own)
        subset: tuple[str, ...] = (f"{there} of {known} classes",) if there < known else ()
        subset += (f"{more} classes that the published set has not",) if known and more else ()
        synthetic = self._root is not None and (self._root / SAMPLE_MARKER).is_file()
        few = (
            "" if self.limit is None else f"a quick look: at most {self.limit} training and test samples of each class"
        )
        notes = ("synthetic sample data" if synthetic else "", few)
        return (*self.info.flags, *self.reading.flags, *subset, *filter(None, notes))
