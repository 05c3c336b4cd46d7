"""A run to look at, whether it is a directory or a pack."""

from __future__ import annotations

import contextlib
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path

from diadbench.benchmark.records.store import RunDirectory
from diadbench.common.errors import UserError
from diadbench.common.wording import counted


@contextlib.contextmanager
def opened(path: Path) -> Iterator[RunDirectory]:
    """Open a run directory, or unpack an archive of :mod:`diadbench.benchmark.sharing.pack` into a temporary folder.

    Raises:
        UserError: Neither of both; an archive that is broken, or that holds anything but one run's files and folders.
    """
    if path.is_dir() or not path.exists():
        yield RunDirectory(path)
        return
    with tempfile.TemporaryDirectory(prefix="diadbench-pack-") as place:
        yield RunDirectory(_unpacked(path, Path(place)))


def _unpacked(archive: Path, place: Path) -> Path:
    try:
        with tarfile.open(archive) as tar:
            tops = {_checked(archive, member) for member in tar}
            if len(tops) != 1:
                raise UserError(f"{archive}: expected one run in it, found {counted(len(tops), 'folder')} at its top")
            tar.extractall(place, filter="data")
    except (tarfile.TarError, OSError, EOFError) as error:
        several = "\n" in str(error)  # one line for each compression that it isn't
        why = str(error) if not several else "it is no tar archive" if archive.stat().st_size else "the file is empty"
        raise UserError(f"{archive}: can't be read as a pack of a run ({why})") from error
    top = place / tops.pop()
    if not (top / "grid.yaml").is_file():
        raise UserError(f"{archive}: holds no run (no grid.yaml in its folder {top.name})")
    return top


def _checked(archive: Path, member: tarfile.TarInfo) -> str:
    """Return the top folder of a member; what was sent by others may hold links and paths that lead elsewhere."""
    parts = member.name.split("/")
    if not (member.isfile() or member.isdir()) or member.name.startswith("/") or ".." in parts:
        raise UserError(f"{archive}: {member.name} is no plain file or folder inside the run; a pack has none of these")
    return parts[0]
