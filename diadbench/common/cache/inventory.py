"""Inventory of the cache directory: kind, size, last use, and whether a process uses an entry now.

Only files with this program's names are considered, so other files there are never listed or removed.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from diadbench.common.cache.usage import FOLDER, usage_lock, used_entries
from diadbench.common.errors import unknown_name
from diadbench.common.files import read_json
from diadbench.common.wording import counted

_KEY = "[0-9a-f]{32}"


@dataclass(frozen=True)
class Kind:
    """One directory of the cache.

    Attributes:
        pattern: Names of entries in it.
        about: Description of an entry that has none of its own.
        small: Whether the files are small notes, which are listed as one entry and made again if needed.
    """

    pattern: str
    about: str
    small: bool = False


KINDS = {
    "images": Kind(_KEY, "decoded images or masks"),
    "features": Kind(rf"{_KEY}(\.f16|\.json)?", "features of training images"),
    "latents": Kind(rf"{_KEY}(\.safetensors)?", "latents of training images"),
    "coco_ad": Kind(_KEY, "COCO-AD's lists and masks"),
    "toy": Kind("[0-9a-f]{16}", "a drawn toy set"),
    "masks": Kind(r"whole", "masks that are whole images, for lists that name none"),
    "samples": Kind(r"[a-z0-9_]+-[a-z0-9_]+-\d+", "a small synthetic data set"),
    "anomalib": Kind("dtd|imagenette2?", "a download of anomalib's"),
    "digests": Kind(rf"{_KEY}\.parquet", "digests of data sets' files", small=True),
    "resolved": Kind(rf"{_KEY}\.json", "options of methods", small=True),
    "costs": Kind(rf"{_KEY}\.json", "what cells have cost", small=True),
}


@dataclass(frozen=True)
class Entry:
    """An entry of the cache directory that can be removed as a whole.

    Attributes:
        kind: Key of :data:`KINDS`.
        paths: Its files and directories.
        about: What it belongs to.
        size: Bytes.
        last_used: Seconds since the epoch at which it was last opened, read or written.
        in_use: Whether a living process uses or builds it.
    """

    kind: str
    paths: tuple[Path, ...]
    about: str
    size: int
    last_used: float
    in_use: bool

    @property
    def name(self) -> str:
        """Return ``kind/name``, the mark that processes use."""
        return f"{self.kind}/{self.paths[0].name}"


def entries(root: Path, kind: str | None = None) -> list[Entry]:
    """Return the entries of a cache directory, by kind and the largest first.

    Args:
        root: The cache directory; it need not exist.
        kind: Return only this kind.

    Raises:
        UserError: Unknown kind.
    """
    check_kind(kind)
    used = living_use(root)
    found = [entry for name in KINDS if kind in (None, name) for entry in _of_kind(root, name, used)]
    return sorted(found, key=lambda entry: (list(KINDS).index(entry.kind), -entry.size))


def check_kind(kind: str | None) -> None:
    """Raise UserError for a kind that the cache doesn't have."""
    if kind is not None and kind not in KINDS:
        raise unknown_name("kind", kind, KINDS, where="--kind")


def living_use(root: Path) -> set[str]:
    """Return the entries in use by living processes; none if there are no marks or this user can't read them."""
    if not (root / FOLDER).is_dir():
        return set()
    try:
        with usage_lock(root):
            return used_entries(root)
    except PermissionError:
        return used_entries(root)


def hold_locks(path: Path, stack: ExitStack) -> bool:
    """Hold the locks of processes that would build ``path`` until ``stack`` ends; ``False`` if one is held."""
    for lock in (path / "lock", path.with_name(f"{path.name}.lock"), path.with_name(f".{path.name}.lock")):
        if lock.is_file():
            try:
                stack.enter_context(FileLock(str(lock), timeout=0))
            except Timeout:
                return False
            except PermissionError:
                continue  # The entry of another user, who marks what he uses.
    return True


def files_below(path: Path) -> Iterator[tuple[Path, os.stat_result]]:
    """Yield a file, or a directory with its content; files that vanish meanwhile are left out."""
    for one in [path, *(path.rglob("*") if path.is_dir() and not path.is_symlink() else ())]:
        try:
            yield one, one.lstat()
        except FileNotFoundError:
            continue


def _of_kind(root: Path, name: str, used: set[str]) -> Iterator[Entry]:
    kind = KINDS[name]
    home = root / name
    paths = sorted(path for path in home.glob("*") if re.fullmatch(kind.pattern, path.name))
    if kind.small:
        if paths:
            yield _entry(name, tuple(paths), f"{kind.about} ({counted(len(paths), 'file')})", used)
        return
    for stem in dict.fromkeys(path.name.split(".")[0] for path in paths):
        together = tuple(path for path in paths if path.name.split(".")[0] == stem)
        yield _entry(name, together, _about(together[0]) or kind.about, used)


def _entry(kind: str, paths: tuple[Path, ...], about: str, used: set[str]) -> Entry:
    found = [one for path in paths for one in files_below(path)]
    size = sum(status.st_size for path, status in found if not path.is_dir())
    last = max((_last_used(path, status) for path, status in found), default=0.0)
    with ExitStack() as stack:
        free = KINDS[kind].small or hold_locks(paths[0], stack)
    return Entry(kind, paths, about, size, last, not free or f"{kind}/{paths[0].name}" in used)


def _last_used(path: Path, status: os.stat_result) -> float:
    """Return the time of last use. Reading notes and listing directories for the inventory doesn't count as use."""
    looked_at = path.suffix in (".json", ".lock") or path.name == "lock" or path.is_dir()
    return status.st_mtime if looked_at else max(status.st_mtime, status.st_atime)


def _about(path: Path) -> str:
    """Return the description in an entry of what it belongs to; ``""`` if it has none."""
    said = read_json(path / "array.json") if path.is_dir() else None
    if isinstance(said, dict) and said.get("about"):
        return str(said["about"])
    meta = read_json(path / "meta.json") if path.is_dir() else None
    if isinstance(meta, dict) and isinstance(meta.get("shape"), list):
        return f"{meta.get('dtype')} {'x'.join(map(str, meta['shape']))}"
    return path.name if path.parent.name in ("samples", "anomalib") else ""
