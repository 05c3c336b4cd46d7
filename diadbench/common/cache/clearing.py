"""Clear the cache directory without removing anything that a process builds or reads."""

from __future__ import annotations

import contextlib
import os
import re
import time
import uuid
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from diadbench.common.cache.disk_space import writing
from diadbench.common.cache.inventory import KINDS, Entry, check_kind, entries, files_below, hold_locks
from diadbench.common.cache.usage import usage_lock, used_entries
from diadbench.common.errors import UserError

#: Prefix of entries that are being removed.
_DOOMED = ".cleared-"
_SECONDS = {"m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}


@dataclass(frozen=True)
class Cleared:
    """The entries that were removed, and those that were kept because a process uses them."""

    removed: list[Entry]
    kept: list[Entry]

    @property
    def freed(self) -> int:
        """Return the freed bytes."""
        return sum(entry.size for entry in self.removed)


def clear(
    root: Path,
    *,
    kind: str | None = None,
    unused_for: str | None = None,
    dry_run: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Cleared:
    """Remove entries that no process uses.

    Entries are first renamed, while no process can start to use them, and then removed. A process that needs one of
    them later builds it again. Leftovers of a killed call are removed too.

    Args:
        root: The cache directory.
        kind: Remove only this kind.
        unused_for: Remove only what was not used for this long: ``90m``, ``12h``, ``30d``, ``2w``.
        dry_run: Remove nothing; return what would be removed.
        progress: Called with (bytes removed, bytes).

    Raises:
        UserError: Unknown kind, unknown period, or the directory can't be written.
    """
    check_kind(kind)
    before = time.time() - seconds(unused_for) if unused_for is not None else float("inf")
    found = [entry for entry in entries(root, kind) if entry.last_used <= before]
    free, kept = [e for e in found if not e.in_use], [e for e in found if e.in_use]
    if dry_run or not root.is_dir():
        return Cleared(free, kept)
    with writing(root):
        taken = _take_away(root, free)
        _remove(_doomed(root, taken), progress)
    return Cleared(taken, kept + [entry for entry in free if entry not in taken])


def seconds(period: str) -> float:
    """Return a period such as ``30d`` in seconds. Raises UserError."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([mhdw])", period.strip())
    if match is None:
        raise UserError(f"--unused-for: expected a number and m, h, d or w, such as 30d, found {period!r}")
    return float(match[1]) * _SECONDS[match[2]]


def _take_away(root: Path, free: Iterable[Entry]) -> list[Entry]:
    """Rename the entries that are still free; return them."""
    taken = []
    with usage_lock(root):
        used = used_entries(root)
        for entry in free:
            with ExitStack() as stack:
                if entry.name not in used and (KINDS[entry.kind].small or hold_locks(entry.paths[0], stack)):
                    for path in entry.paths:
                        with contextlib.suppress(FileNotFoundError):  # Another process has cleared it.
                            os.replace(path, path.with_name(f"{_DOOMED}{uuid.uuid4().hex}"))
                    taken.append(entry)
    return taken


def _doomed(root: Path, taken: Iterable[Entry]) -> list[Path]:
    kinds = {entry.kind for entry in taken} | {name for name in KINDS if (root / name).is_dir()}
    return [path for name in sorted(kinds) for path in (root / name).glob(f"{_DOOMED}*")]


def _remove(paths: Iterable[Path], progress: Callable[[int, int], None] | None) -> None:
    found = [one for path in paths for one in files_below(path)]
    total = sum(status.st_size for _, status in found)
    done = 0
    for path, status in reversed(found):  # the content of a directory comes after the directory
        with contextlib.suppress(FileNotFoundError):
            if path.is_dir() and not path.is_symlink():
                path.rmdir()
            else:
                path.unlink()
        done += status.st_size
        if progress is not None:
            progress(done, total)
