"""Pack a run into one archive. Another machine can make reports from it, predict with it and resume it."""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from pathlib import Path

from diadbench.benchmark.records.store import RunDirectory
from diadbench.common.errors import UserError
from diadbench.common.files import write_with
from diadbench.common.wording import counted

#: Files that are created again where the archive is unpacked.
DERIVED = ("results", "moving")


def pack(run: Path, out: Path | None = None) -> Path:
    """Write a run directory as one tar archive: grid, plan, code, cells with their models and half-trained ones.

    Owners and permissions of this machine are left out, and so are files that can be built from the rest; an existing
    report is included.

    Args:
        run: The run directory.
        out: The archive; ``RUN.tar`` by default. ``.tar.gz`` and ``.tar.xz`` are compressed.

    Returns:
        The archive.

    Raises:
        UserError: Not a run directory, a cell runs there, or ``out`` has another ending.
    """
    source = RunDirectory(run)
    name = source.path.resolve().name
    target = out or source.path.resolve().with_name(f"{name}.tar")
    running = [cell for cell in source.cells() if cell.state == "running"]
    if running:
        raise UserError(f"{run}: {counted(len(running), 'cell runs', 'cells run')} there; pack it when all have ended")
    mode = _mode(target)
    files = list(_files(source.path, target.resolve()))
    write_with(target, lambda temporary: _write(Path(temporary), mode, source.path, name, files))
    return target


def _mode(target: Path) -> str:
    for ending, mode in ((".tar", "w"), (".tar.gz", "w:gz"), (".tgz", "w:gz"), (".tar.xz", "w:xz")):
        if target.name.endswith(ending):
            return mode
    raise UserError(f"{target}: expected an archive's name that ends with .tar, .tar.gz or .tar.xz")


def _files(run: Path, target: Path) -> Iterator[Path]:
    for path in sorted(run.rglob("*")):
        inside = path.relative_to(run)
        hidden = any(part.endswith((".lock", ".tmp")) for part in inside.parts)
        if inside.parts[0] not in DERIVED and not hidden and path.resolve() != target:
            yield path


def _write(archive: Path, mode: str, run: Path, name: str, files: list[Path]) -> None:
    with tarfile.open(archive, mode, format=tarfile.PAX_FORMAT, dereference=True) as tar:  # type: ignore[call-overload]
        for path in files:
            tar.add(path, f"{name}/{path.relative_to(run).as_posix()}", recursive=False, filter=_anonymous)


def _anonymous(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = ""
    entry.mode = 0o755 if entry.isdir() or entry.mode & 0o100 else 0o644
    return entry
