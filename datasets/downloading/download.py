"""Download a published dataset: fetch its archives, verify, unpack beside the target, count, move into place."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from diadbench.common.errors import UserError, unknown_name
from diadbench.common.wording import counted, some
from diadbench.datasets.decoding.workers import Progress
from diadbench.datasets.downloading.fetch import Say, fetch, need_space, readable, storing
from diadbench.datasets.downloading.links import RemoteFile, Source, sources
from diadbench.datasets.downloading.unpack import unpack
from diadbench.datasets.facts.counts import Counts, published
from diadbench.datasets.facts.known_sets import CATALOG, info
from diadbench.datasets.layouts.roots import find_root, home_for
from diadbench.datasets.lookup import get
from diadbench.datasets.table import count


@dataclass(frozen=True)
class Downloaded:
    """The result of a download.

    Attributes:
        root: Directory of the data.
        new: Whether anything was downloaded; ``False`` if the data existed already.
        verdict: One line on the comparison of checksums and counts.
    """

    root: Path
    new: bool
    verdict: str


def download(
    name: str, root: Path | str | None = None, *, progress: Progress | None = None, say: Say | None = None
) -> Downloaded:
    """Download a dataset from its owner's server, unless it exists already.

    Archives are kept in ``.<folder>.download`` beside the target until everything is done, so that an interrupted
    call is resumed by the next one. The target appears as a whole or not at all.

    Args:
        name: Registered name.
        root: Directory to make; ``None`` is the dataset's folder below the data root (``DIADBENCH_DATA`` or the user's
            config file).
        progress: Called as ``progress(bytes, total, what)``.
        say: Called with lines for people: sizes before the download, then the result of the comparison.

    Returns:
        The place of the data, and the result of the comparison.

    Raises:
        UserError: Unknown name; the owner gives no direct link (the page and what to do are named); no connection; the
            disk is full; a file is not what it should be.
    """
    tell = say or (lambda line: None)
    source = _source(name)
    place, there = _place(name, root)
    if there is not None:
        return Downloaded(there, False, f"{there} is there already: nothing downloaded")
    target = _direct(name, source, place)
    tell(_plan(name, source, target))
    work = target.parent / f".{target.name}.download"
    with storing(target.parent):
        work.mkdir(parents=True, exist_ok=True)
        with _alone(work):
            need_space(work, _missing(source, work), "the archives")
            archives = [fetch(file, work, progress, say) for file in source.files]
            unpacked = _unpacked(source, archives, work / "unpacked", progress)
            verdict = _verdict(name, source, unpacked, work)
            if target.is_dir():
                target.rmdir()  # The folder is empty, since _target would otherwise have reported the data.
            os.replace(unpacked, target)
        shutil.rmtree(work, ignore_errors=True)
    tell(verdict)
    return Downloaded(target, True, verdict)


def about(name: str) -> str:
    """Describe a download in one line: size, server, comparison; ``""`` without a direct link."""
    source = sources().get(name)
    if source is None or not source.files:
        return ""
    size = readable(source.size) if source.size is not None else "size told by the server"
    by_sum = all(file.sha256 for file in source.files)
    return f"{size} from {source.files[0].host}; {'checksum and counts' if by_sum else 'counts'} are compared"


def _source(name: str) -> Source:
    if name not in CATALOG:
        raise unknown_name("dataset", name, CATALOG)
    if name not in sources():
        raise UserError(f"dataset {name!r}: there is nothing to download; see `diadbench datasets info {name}`")
    return sources()[name]


def _place(name: str, root: Path | str | None) -> tuple[Path | None, Path | None]:
    """Return the place for the data, and where they exist already; ``None`` if unknown or missing."""
    if root is not None:
        place = Path(root).expanduser()
        if place.exists() and not place.is_dir():
            raise UserError(f"{place}: not a directory; give a new directory as --root")
        return place, place if place.is_dir() and any(place.iterdir()) else None
    try:
        found = find_root(name)
    except UserError:
        found = None  # a data root without this dataset
    if found is not None and found.is_dir() and any(found.iterdir()):
        return found, found
    return found or home_for(name), None


def _direct(name: str, source: Source, place: Path | None) -> Path:
    """Return the target of the download. Raises UserError without a direct link, or without a place."""
    if not source.files:
        where = f" into {place}" if place is not None else ", and give its directory as --root"
        raise UserError(f"{info(name).title}: its owner gives no direct link; on {source.page}: {source.how}{where}")
    if place is None:
        raise UserError(f"dataset {name!r}: no place to download to; give --root DIRECTORY, or set DIADBENCH_DATA")
    return place


def _missing(source: Source, work: Path) -> int:
    """Return the number of bytes that remain to be fetched, as far as it is known."""
    there = sum(path.stat().st_size for path in work.iterdir() if path.is_file())
    return max(0, (source.size or 0) - there)


def _plan(name: str, source: Source, target: Path) -> str:
    number = f"{counted(len(source.files), 'file')}" if len(source.files) > 1 else source.files[0].name
    size = readable(source.size) if source.size is not None else "size told by the server"
    return f"{info(name).title}: {number}, {size}, licence {info(name).licence}, into {target}"


@contextlib.contextmanager
def _alone(work: Path) -> Iterator[None]:
    """Lock the working directory for this process. Raises UserError if another process has it."""
    lock = FileLock(work / "lock", timeout=0)
    try:
        lock.acquire()
    except Timeout as error:
        raise UserError(f"{work}: another process is downloading there; wait for it") from error
    try:
        yield
    finally:
        lock.release()
        if {path.name for path in work.iterdir()} <= {"lock"}:
            shutil.rmtree(work, ignore_errors=True)  # nothing to resume


def _unpacked(source: Source, archives: list[Path], into: Path, progress: Progress | None) -> Path:
    shutil.rmtree(into, ignore_errors=True)
    for file, archive in zip(source.files, archives):
        try:
            unpack(archive, into, progress)
        except UserError:
            shutil.rmtree(into, ignore_errors=True)
            _forget(file, archive)
            raise
    return into


def _forget(file: RemoteFile, archive: Path) -> None:
    """Remove an archive that can't be unpacked. One with the right checksum is kept, as another download won't help."""
    if not file.sha256:
        archive.unlink(missing_ok=True)


def _verdict(name: str, source: Source, unpacked: Path, work: Path) -> str:
    """Compare the counts with the published ones. Raises UserError if they differ and no checksum confirms the data."""
    table = count(get(name, unpacked).samples)
    found = {str(cls): Counts(*map(int, row)) for cls, row in zip(table.index, table.to_numpy())}
    known = published(name)
    wrong = [cls for cls, row in (known[0][1] if known else {}).items() if found.get(cls) != row]
    by_sum = all(file.sha256 for file in source.files)
    images = f"{counted(sum(row.total for row in found.values()), 'image')}"
    if wrong and not by_sum:
        raise UserError(
            f"{unpacked}: {images}; other counts than the published ones in {some(wrong, most=4)}: the archive is not "
            f"the published set, or not whole; remove {work} to get it again"
        )
    counts = f"; other counts than the published ones in {some(wrong, most=4)}" if wrong else ", as published"
    return f"verified: {'checksum, ' if by_sum else ''}{images}{counts if known else ''}"
