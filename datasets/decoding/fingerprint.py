"""Digests of a dataset's files: a cache or a result is valid for contents, not for names or dates."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pandas as pd
from filelock import FileLock

from diadbench.common.cache.disk_space import writing
from diadbench.common.errors import UserError
from diadbench.common.files import cache_dir, write_with
from diadbench.datasets.decoding.deep_pixels import bits_used, traits_of
from diadbench.datasets.decoding.images import SEVERAL, inside, is_union, mask_files, placed, read_bytes
from diadbench.datasets.decoding.reading import HALF, depth_for
from diadbench.datasets.decoding.workers import Problems, Progress, cores, partial_progress, run_all
from diadbench.datasets.table import COLUMNS

if TYPE_CHECKING:
    from diadbench.datasets.base import Dataset

#: A file that changed less than this long ago may change again unnoticed within the same tick of the file system's
#: clock; its digest is used once and not remembered (git calls this "racily clean").
SETTLED_NS = 2_000_000_000
#: Suffixes of masks whose values are blurred by compression.
_JPEG = (".jpg", ".jpeg")


class Stat(NamedTuple):
    """Values that change when a file changes."""

    size: int
    mtime_ns: int
    ctime_ns: int
    inode: int


#: Columns of the file of digests.
_COLUMNS = ["path", *Stat._fields, "digest", "bits", "traits"]


class Known(NamedTuple):
    """Remembered facts of a file: its state then, its content's digest, the bits that its values use, its traits."""

    stat: Stat
    digest: str
    bits: int
    traits: str


class Contents(NamedTuple):
    """The contents of a dataset's files.

    Attributes:
        digests: For each column of paths, the digests of its files, row by row; ``None`` for an unreadable file.
        bits: Number of images by the bits that the greatest value of each needs; only images of 16-bit files.
        traits: Traits (:func:`traits_of`) of the images and masks that have some, by their paths in the table.
    """

    digests: dict[str, list[str | None]]
    bits: Mapping[int, int]
    traits: Mapping[str, str]


def digest_of(content: bytes) -> str:
    """Return the digest of a file's content (32 hexadecimal digits)."""
    return hashlib.blake2b(content, digest_size=16).hexdigest()


def digest_parts(parts: Iterable[object]) -> str:
    """Return one digest of a sequence of plain values, which changes when any of them or their order changes."""
    return digest_of(json.dumps(list(parts), ensure_ascii=True).encode())


class Digests:
    """Digests of files below a root, each computed once while the file's size, dates and inode stay the same.

    Args:
        root: Directory that paths are relative to.
        cache: Cache directory; digests are kept in ``<cache>/digests``.
        workers: Threads that read.
        place_of: Where a path is listed, for the error of a missing file.
    """

    def __init__(
        self, root: Path, cache: Path, workers: int = 1, place_of: Callable[[str], str] = lambda path: ""
    ) -> None:
        self._place_of = place_of
        self._root = root
        self._cache = cache
        self._workers = workers
        name = digest_of(os.path.realpath(root).encode())
        self._path = cache / "digests" / f"{name}.parquet"
        #: Bits that each image file of wide values uses, see :func:`bits_used`; filled by :meth:`of`.
        self.bits: dict[str, int] = {}
        #: Traits of each file that has some, see :func:`traits_of`; filled by :meth:`of`.
        self.traits: dict[str, str] = {}

    def of(self, relatives: Sequence[str], problems: Problems, progress: Progress | None = None) -> list[str | None]:
        """Return the digest of each file; ``None`` for a file that can't be read, which is added to ``problems``.

        The digest of a directory (masks of one image) is made from the names and contents in it.

        Raises:
            UserError: The cache directory can't be written.
        """
        known = self._load()
        fresh: dict[str, Known] = {}
        expanded = {name: self._files(name, problems) for name in dict.fromkeys(relatives)}
        files = list(dict.fromkeys(file for parts in expanded.values() for file in parts or ()))
        found: dict[str, str] = {}
        todo: list[str] = []
        for file in files:
            stat = self._stat(file)
            if stat is not None and file in known and known[file].stat == stat:
                found[file] = known[file].digest
                self._remember(file, known[file].bits, known[file].traits)
            else:
                todo.append(file)

        def read(i: int) -> None:
            before = self._stat(todo[i])
            with placed(self._place_of, todo[i]):
                content = read_bytes(inside(self._root, todo[i]))
            found[todo[i]] = digest = digest_of(content)
            bits, traits = bits_used(content, todo[i]), traits_of(content)
            self._remember(todo[i], bits, traits)
            if before is not None and before == self._stat(todo[i]) and is_settled(before):
                fresh[todo[i]] = Known(before, digest, bits, traits)

        run_all(read, len(todo), self._workers, problems, progress)
        if fresh:
            self._save(fresh)
        return [_joined(name, parts, found) for name, parts in ((name, expanded[name]) for name in relatives)]

    def _remember(self, file: str, bits: int, traits: str) -> None:
        self.bits[file] = bits
        if traits:
            self.traits[file] = traits

    def _files(self, relative: str, problems: Problems) -> list[str] | None:
        try:
            path = inside(self._root, relative)
            if not is_union(path):
                return [relative]
            folder, _, _ = relative.partition(SEVERAL)
            return [os.path.join(folder, os.path.relpath(file, Path(self._root, folder))) for file in mask_files(path)]
        except (UserError, OSError) as error:
            problems.add(error)
            return None

    def _stat(self, relative: str) -> Stat | None:
        return stat_of(os.path.join(self._root, relative))

    def _load(self) -> dict[str, Known]:
        try:
            table = pd.read_parquet(self._path)
            columns = [table[name].tolist() for name in _COLUMNS]
        except (OSError, ValueError, KeyError):  # missing, of an earlier version, or written by another user
            return {}
        return {path: Known(Stat(*stat), digest, bits, traits) for path, *stat, digest, bits, traits in zip(*columns)}

    def _save(self, fresh: dict[str, Known]) -> None:
        with writing(self._cache), _locked(self._path):
            merged = {**self._load(), **fresh}  # Another process may have written since.
            rows = [(path, *one.stat, one.digest, one.bits, one.traits) for path, one in merged.items()]
            table = pd.DataFrame(rows, columns=_COLUMNS)
            write_with(self._path, lambda name: table.to_parquet(name, index=False))


def _locked(path: Path) -> FileLock:
    path.parent.mkdir(parents=True, exist_ok=True)
    return FileLock(f"{path}.lock")


def stat_of(path: Path | str) -> Stat | None:
    """Return the values that change when the file does; ``None`` if unknown, as reading the file gives the reason."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return Stat(found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino)


def is_settled(stat: Stat) -> bool:
    """Whether a file's last change is old enough for another change to show in its dates."""
    return time.time_ns() - max(stat.mtime_ns, stat.ctime_ns) > SETTLED_NS


def _joined(name: str, parts: list[str] | None, found: dict[str, str]) -> str | None:
    if parts is None or any(part not in found for part in parts):
        return None
    if parts == [name]:
        return found[name]
    return digest_parts([[os.path.basename(part), found[part]] for part in parts])


def table_digest(
    table: pd.DataFrame, digests: Mapping[str, Sequence[str | None]], reading: Sequence[object] = ()
) -> str:
    """Return the digest of a sample table and of its files' contents, without absolute paths and dates.

    Args:
        table: A checked sample table.
        digests: For each column of paths, the digests of its files, row by row.
        reading: The settings that decide how they are read, see :func:`decided_reading`; empty for the defaults.
    """
    columns = [[name, table[name].tolist()] for name in COLUMNS]
    return digest_parts([*columns, *([name, list(found)] for name, found in sorted(digests.items())), *reading])


def decided_reading(dataset: Dataset, bits: Mapping[int, int]) -> list[object]:
    """Return the settings that decide how a dataset's files are read; empty for 8-bit images and PNG masks.

    Args:
        dataset: The dataset, with its options.
        bits: See :class:`Contents`.
    """
    depth = dataset.reading.bit_depth or depth_for(max(bits, default=0))
    decided: list[object] = [["bit_depth", depth]] if depth < 16 and bits else []
    decided += [dataset.reading.mask_key] if dataset.reading.mask_key else []
    suffixes = {os.path.splitext(str(path))[1].lower() for path in dataset.samples["mask"]}
    decided += [["masks", "jpeg", HALF]] if suffixes & set(_JPEG) else []
    return [*decided, *([["masks", "webp", HALF]] if ".webp" in suffixes else [])]


def read_contents(
    dataset: Dataset, channels: Sequence[str], cache: Path, workers: int, problems: Problems, progress: Progress | None
) -> Contents:
    """Return the contents of the files of each column of paths that ``channels`` need.

    Unreadable files are added to ``problems``.

    Raises:
        UserError: The dataset has no such channel.
    """
    columns = {"image": dataset.root, "mask": dataset.mask_root}
    if "xyz" in channels:
        if "xyz" not in dataset.samples.columns:
            raise UserError(f"dataset {dataset.info.name!r} has no channel xyz; it has rgb")
        columns["xyz"] = dataset.root
    found: dict[str, list[str | None]] = {}
    bits: dict[str, int] = {}
    traits: dict[str, str] = {}
    for name, root in columns.items():
        paths = dataset.samples[name].tolist()
        reader = Digests(root, cache, workers, dataset.place_of)
        digests = iter(reader.of([path for path in paths if path], problems, progress))
        found[name] = [next(digests) if path else "" for path in paths]
        bits = reader.bits if name == "image" else bits
        traits |= reader.traits if name != "xyz" else {}
    return Contents(found, Counter(used for used in bits.values() if used), traits)


def fingerprint(dataset: Dataset, channels: Sequence[str] = ("rgb",), progress: Progress | None = None) -> str:
    """Return the digest of a dataset's table and of the contents of its files. Imports no torch.

    It is :attr:`diadbench.datasets.decoding.data_module.DataModule.fingerprint`. Only images with alpha or with 16 bits
    are decoded, for what is told of them.

    Raises:
        UserError: Files are missing, empty or unreadable: the first few by name, and how many.
    """
    problems = Problems()
    reported = partial_progress(progress, f"reading {dataset.info.name}")
    contents = read_contents(dataset, channels, cache_dir(), cores(), problems, reported)
    problems.raise_any(f"dataset {dataset.info.name!r}")
    return table_digest(dataset.samples, contents.digests, decided_reading(dataset, contents.bits))
