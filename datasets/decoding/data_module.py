"""Convert a dataset to tensors: every file is opened once, decoded into the cache, and read from there."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from diadbench.common.errors import UserError, unknown_name
from diadbench.common.files import cache_dir as default_cache_dir
from diadbench.datasets.base import Dataset, Part
from diadbench.datasets.decoding.data import TestData, TrainData
from diadbench.datasets.decoding.decoder import CACHE_VERSION, Decoder, Digest, groups_of
from diadbench.datasets.decoding.decoder import MASK_VERSION as MASK_VERSION
from diadbench.datasets.decoding.fingerprint import (
    Contents,
    decided_reading,
    digest_parts,
    read_contents,
    table_digest,
)
from diadbench.datasets.decoding.images import (
    FILTERS,
    inside,
    read_image,
)
from diadbench.datasets.decoding.mask_files import read_mask
from diadbench.datasets.decoding.mask_signs import Signs
from diadbench.datasets.decoding.masks import RULES, MaskFacts, MaskRule
from diadbench.datasets.decoding.reading import depth_for
from diadbench.datasets.decoding.rows import ImageStore, MaskStore, Rows
from diadbench.datasets.decoding.train_subset import TrainSubset
from diadbench.datasets.decoding.workers import Problems, Progress, cores, partial_progress

CHANNELS = ("rgb", "xyz")


class DataModule:
    """The data of one dataset, for all its parts, with images at one size and masks at the same or another one.

    Images are resized to ``image_size`` without keeping the aspect ratio (as ADer, DiAD and UniAD do), with
    antialiasing, and stored as uint8 in ``<cache>/images/<key>``, an array for each class. All cells and processes
    share it.

    Args:
        dataset: The dataset of the samples.
        image_size: Side, or ``(H, W)``.
        mask_size: Side, or ``(H, W)``, of the masks of test data, each resized from its native file; ``None`` is that
            of the images.
        mask_rule: How masks are resized, see :mod:`diadbench.datasets.decoding.masks`.
        resize: Filter for images: ``bilinear``, ``bicubic`` or ``nearest``.
        cache_dir: Cache directory; ``None`` is the user's (``$DIADBENCH_CACHE``).
        progress: Called as ``progress(done, total, what)`` while files are read.
        channels: ``("rgb",)``, or ``("rgb", "xyz")`` for a dataset with a column ``xyz``.
        workers: Threads that decode; ``None`` is one for each core.
        subset: Which training images a method gets; ``None``: all. The cache holds all images whatever this says.

    Raises:
        UserError: A size, filter, rule or channel that is not known.
    """

    def __init__(
        self,
        dataset: Dataset,
        image_size: int | tuple[int, int],
        *,
        mask_size: int | tuple[int, int] | None = None,
        mask_rule: str = "nearest",
        resize: str = "bilinear",
        cache_dir: Path | str | None = None,
        progress: Progress | None = None,
        channels: Sequence[str] = ("rgb",),
        workers: int | None = None,
        subset: TrainSubset | None = None,
    ) -> None:
        self.dataset = dataset
        self.image_size = _checked_size(image_size, "image_size")
        self.mask_size = self.image_size if mask_size is None else _checked_size(mask_size, "mask_size")
        if resize not in FILTERS:
            raise unknown_name("resize filter", resize, FILTERS)
        if mask_rule not in RULES:
            raise unknown_name("mask rule", mask_rule, RULES)
        for name in channels:
            if name not in CHANNELS:
                raise unknown_name("channel", name, CHANNELS)
        self.mask_rule: MaskRule = mask_rule
        self.resize = resize
        self.channels = tuple(channels)
        self.cache = Path(cache_dir) if cache_dir is not None else default_cache_dir()
        self._progress = progress
        self._workers = workers or cores()
        self._subset = subset

    # -- used by the rest of the project ----------------------------------------------------------------------

    @cached_property
    def samples(self) -> pd.DataFrame:
        """Return the dataset's checked sample table."""
        return self.dataset.samples

    @cached_property
    def used(self) -> pd.DataFrame:
        """Return the rows of :attr:`samples` that are trained on and tested, with their splits."""
        return self.samples if self._subset is None else self._subset.apply(self.samples)

    @cached_property
    def fingerprint(self) -> str:
        """Return the digest of the sample table and of the contents of all its files.

        It is the same on another machine, below another root, and for recreated files. Only images with alpha or with
        16 bits are decoded for it, and files that were read before and haven't changed are not read again.

        Raises:
            UserError: Files are missing, empty or unreadable: the first few by name, and how many.
        """
        problems = Problems()
        contents = self._contents(problems)
        problems.raise_any(f"dataset {self.dataset.info.name!r}")
        return table_digest(self.samples, contents.digests, decided_reading(self.dataset, contents.bits))

    @property
    def bit_depth(self) -> int:
        """Return the bits that the 16-bit images use, found over all of them or set by an option; 16 if there are none.

        Raises:
            UserError: As :attr:`fingerprint`.
        """
        bits = self._contents(Problems()).bits
        return (self.dataset.reading.bit_depth or depth_for(max(bits))) if bits else 16

    @property
    def n_train(self) -> int:
        """Return the number of training images, over all parts."""
        return int((self.used["split"] == "train").sum())

    @property
    def n_test(self) -> int:
        """Return the number of test images, over all parts."""
        return len(self.used) - self.n_train

    def prepare(self) -> None:
        """Build the missing arrays of the cache. Every file that is needed is opened once, before any training.

        Raises:
            UserError: Files can't be read, or a mask has another size than its image: the first few by name, and how
                many; or the disk is full, or the cache directory can't be written.
        """
        _ = self._stores

    def part(self, part: Part) -> tuple[TrainData, TestData]:
        """Return training and test data of one part; class ids are positions in ``part.classes``.

        Raises:
            UserError: As :meth:`prepare`; the part has a class that the dataset has not.
        """
        images, masks = self._stores
        for name in part.classes:
            if name not in self.dataset.classes:
                raise unknown_name("class", name, self.dataset.classes, where=f"part {part.name!r}")
        table = self.used[self.used["class"].isin(part.classes)]
        train = table[table["split"] == "train"]
        ids = {name: i for i, name in enumerate(part.classes)}
        rows = train.index.to_numpy(dtype=np.int64)
        digests = self._digests(Problems())
        contents = [[digests[name][row] for name in sorted(digests) if name != "mask"] for row in rows]
        depth = [self.bit_depth] if self.bit_depth < 16 else []
        train_data = TrainData(
            images,
            class_names=part.classes,
            class_ids=np.array([ids[name] for name in train["class"]], dtype=np.int64),
            index=rows,
            fingerprint=digest_parts([CACHE_VERSION, *self.image_size, self.resize, self.channels, contents, *depth]),
        )
        test_data = TestData(
            images,
            masks,
            class_names=part.classes,
            table=table[table["split"] == "test"],
            native_image=lambda path: read_image(inside(self.dataset.root, path), self.bit_depth),
            native_mask=lambda path: read_mask(inside(self.dataset.mask_root, path), self.dataset.reading),
        )
        return train_data, test_data

    @property
    def vanished(self) -> dict[str, int]:
        """Return the number of anomalous masks of each class that have pixels at native size but none after resizing.

        Classes without such masks are left out. Image labels are those of the dataset in any case.
        """
        return self._count_masks(lambda facts: bool(facts.vanishes))

    @property
    def empty_masks(self) -> dict[str, int]:
        """Return the number of anomalous samples of each class whose mask file has no positive pixel at all."""
        return self._count_masks(lambda facts: not facts.positive)

    @property
    def notes(self) -> tuple[str, ...]:
        """Return the notes on the files for tables with results on these data: the findings of ``datasets check``.

        No file is opened, because digests and facts about masks are in the cache already.

        Raises:
            UserError: As :meth:`prepare`.
        """
        from diadbench.datasets.checking.check import data_notes
        from diadbench.datasets.checking.copies import with_copies

        paths = self.samples["mask"].to_numpy()
        masks = {str(paths[row]): facts for row, facts in self._mask_facts()}
        contents, images = self._contents(Problems()), self._stores[0].rgb
        digests = dict(zip(self.samples["image"], with_copies(contents.digests["image"], images), strict=True))
        native = images.values(np.arange(len(self.samples), dtype=np.int64))
        sizes = {path: (size[0], size[1]) for path, size in zip(self.samples["image"], native, strict=True)}
        return data_notes(self.dataset, digests, masks, self.mask_size, contents.bits, contents.traits, sizes)

    # -- plans: the content of each array ---------------------------------------------------------------------

    def _digests(self, problems: Problems) -> dict[str, list[Digest]]:
        return self._contents(problems).digests

    def _contents(self, problems: Problems) -> Contents:
        if self._known is None:
            progress = partial_progress(self._progress, f"reading {self.dataset.info.name}")
            found = read_contents(self.dataset, self.channels, self.cache, self._workers, problems, progress)
            if problems.messages:
                return found
            self._known = found
        return self._known

    _known: Contents | None = None

    @cached_property
    def _stores(self) -> tuple[ImageStore, MaskStore | None]:
        problems = Problems()
        digests = self._digests(problems)
        groups = list(groups_of(self.samples))
        decoder = self._decoder()
        rgb = decoder.images("image", groups, digests, problems)
        self._masks = decoder.masks(groups, digests, rgb, problems) if self.dataset.info.has_masks else None
        xyz = decoder.images("xyz", groups, digests, problems) if "xyz" in self.channels else None
        problems.raise_any(f"dataset {self.dataset.info.name!r}")
        masks = MaskStore(self._masks, self.mask_size) if self._masks is not None else None
        return ImageStore(rgb, self.image_size, xyz), masks

    _masks: Rows | None = None

    def _decoder(self) -> Decoder:
        return Decoder(
            self.dataset,
            self.image_size,
            self.mask_size,
            self.mask_rule,
            self.resize,
            self.bit_depth,
            self.cache,
            self._workers,
            self._progress,
        )

    def _mask_facts(self) -> Iterator[tuple[int, MaskFacts]]:
        """Yield the rows with a mask file, and the facts of the mask. ``vanishes`` is for this module's rule only."""
        _ = self._stores
        if self._masks is None:
            return
        rows = np.flatnonzero(self._masks.array_of >= 0)
        for row, (positive, resized, *signs) in zip(rows.tolist(), self._masks.values(rows)):
            yield row, MaskFacts(positive, Signs(*signs), (self.mask_rule,) if positive and not resized else ())

    def _count_masks(self, wanted: Callable[[MaskFacts], bool]) -> dict[str, int]:
        labels, classes = self.samples["label"].to_numpy(), self.samples["class"].to_numpy()
        counts: dict[str, int] = {}
        for row, facts in self._mask_facts():
            if labels[row] == 1 and wanted(facts):
                name = str(classes[row])
                counts[name] = counts.get(name, 0) + 1
        return counts


def _checked_size(size: int | tuple[int, int], name: str) -> tuple[int, int]:
    pair = (size, size) if isinstance(size, int) else tuple(size)
    if len(pair) != 2 or any(not isinstance(side, int) or isinstance(side, bool) or side < 1 for side in pair):
        raise UserError(f"{name} {size!r}; expected a side in pixels, or [height, width]")
    return pair[0], pair[1]
