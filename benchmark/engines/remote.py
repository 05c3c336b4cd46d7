"""What the engines for other machines share: waiting for a cell's process there, and copying its directory."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from diadbench.benchmark.engines.base import Job, Outcome
from diadbench.benchmark.engines.process import CellProcess
from diadbench.benchmark.records.store import CellRecord
from diadbench.common.code import code_of_file
from diadbench.common.files import write_text
from diadbench.common.processes.held import is_held

#: Files that are not copied with a cell's directory: the lock, progress, and files that can be computed again.
LEFT_BEHIND = (".lock", "progress.json", "spill")
#: Size of a copied piece in bytes. Only one piece of a cell is in memory at a time, however large the cell is.
PIECE = 8 * 2**20
#: Age in seconds from which a copied cell's unused folder counts as abandoned by its runner.
LEFT_AFTER = 24 * 3600.0


def wait(process: CellProcess, asked: Callable[[], bool] = lambda: False, interval: float = 0.1) -> Outcome:
    """Wait for the end of a cell's process. An exception that interrupts the wait ends the process too.

    Args:
        process: The process.
        asked: Returns whether the process has to end.
        interval: Seconds between two checks.

    Raises:
        KeyboardInterrupt: ``asked`` returned true, and the process has ended.
    """
    try:
        while (outcome := process.poll()) is None:
            if asked():
                raise KeyboardInterrupt
            time.sleep(interval)
    except BaseException:
        process.end()
        raise
    return outcome


@dataclass(frozen=True)
class Piece:
    """A part of a file that is copied between machines.

    Attributes:
        name: The file's path, relative to the cell's directory.
        offset: Offset of the piece in the file; pieces of a file come in order.
        data: At most :data:`PIECE` bytes.
    """

    name: str
    offset: int
    data: bytes


def head(cell: Path) -> Piece:
    """Return the text of ``cell.yaml`` for another machine.

    Its paths are absolute, because the other machine has no run directory that they could be relative to.
    """
    text = yaml.safe_dump(CellRecord(cell).config, sort_keys=False, allow_unicode=True)
    return Piece("cell.yaml", 0, text.encode())


def listing(cell: Path) -> list[tuple[str, int]]:
    """Return ``(name, bytes)`` of a cell's files that are copied, without ``cell.yaml``; ``status.json`` comes last."""
    found = []
    for path in sorted(cell.rglob("*")):
        name = path.relative_to(cell)
        if path.is_file() and name.parts[0] not in (*LEFT_BEHIND, "cell.yaml") and path.suffix != ".tmp":
            found.append((name.as_posix(), path.stat().st_size))
    return sorted(found, key=lambda entry: entry[0] == "status.json")


def parts(files: Iterable[tuple[str, int]], size: int = PIECE) -> Iterator[tuple[str, int]]:
    """Yield ``(name, offset)`` of the pieces that files are cut into; one for an empty file."""
    for name, length in files:
        for offset in range(0, max(length, 1), size):
            yield name, offset


def read_piece(cell: Path, name: str, offset: int, size: int = PIECE) -> Piece:
    """Return one piece of a file of a cell's directory."""
    with open(cell / name, "rb") as file:
        file.seek(offset)
        return Piece(name, offset, file.read(size))


def write_piece(folder: Path, piece: Piece) -> None:
    """Append a piece to its file below ``folder``."""
    path = folder / piece.name
    if not path.resolve().is_relative_to(folder.resolve()):
        raise ValueError(f"{piece.name}: leads out of the cell's directory")
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "ab" if piece.offset else "wb") as file:
        file.write(piece.data)


class Arrival:
    """Results of a cell that arrive piece by piece and count once complete. The caller holds the cell's lock.

    Args:
        cell: Directory of the cell, whose results are replaced.
    """

    def __init__(self, cell: Path) -> None:
        self._cell = cell
        self._folder = cell / f".arriving-{os.getpid()}"
        self.forget()
        self._folder.mkdir()

    def take(self, piece: Piece) -> None:
        """Write a piece to the disk."""
        write_piece(self._folder, piece)

    def finish(self) -> None:
        """Replace the cell's results by those that arrived. ``status.json`` comes last, because it makes them count."""
        for path in sorted(self._cell.iterdir(), key=lambda path: path.name != "status.json"):
            if path.name not in (".lock", "cell.yaml", self._folder.name):
                _remove(path)
        for path in sorted(self._folder.iterdir(), key=lambda path: path.name == "status.json"):
            os.replace(path, self._cell / path.name)
        self.forget()

    def forget(self) -> None:
        """Discard the pieces that arrived and leave the cell unchanged."""
        shutil.rmtree(self._folder, ignore_errors=True)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def user_files(cell: Path) -> dict[str, dict[str, str]]:
    """Return the Python files of a cell's method and dataset, each with the neighbouring modules that it imports.

    ``{"/a/mine.py": {"mine.py": text, "helper.py": text}}``: the inner paths are relative to the file's folder.
    """
    config = CellRecord(cell).config
    named = (str(config.get(key, "")).rpartition(":")[0] for key in ("method", "dataset"))
    return {name: _beside(Path(name).resolve()) for name in named if name.endswith(".py")}


def _beside(main: Path) -> dict[str, str]:
    files = [path for path in code_of_file(main).files.values() if path.is_relative_to(main.parent)]
    return {
        path.relative_to(main.parent).as_posix(): path.read_text(encoding="utf-8")
        for path in files
        if path.suffix == ".py"
    }


def settle(job: Job, pieces: Iterable[Piece], files: dict[str, dict[str, str]], home: Path) -> Job:
    """Write a copied cell into ``home``, on a machine without its run directory; return the job to run there."""
    for piece in pieces:
        write_piece(home / "cell", piece)
    path = home / "cell" / "cell.yaml"
    config: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    config["run_directory"] = str(home / "cell")
    for place, (name, texts) in enumerate(files.items()):
        if not Path(name).is_file():
            here = home / f"files{place}" / Path(name).resolve().name
            for relative, text in texts.items():
                write_text(here.parent / relative, text)
            for key in ("method", "dataset"):
                config[key] = str(config[key]).replace(f"{name}:", f"{here}:")
    path.write_text(yaml.safe_dump(config, sort_keys=False, allow_unicode=True), encoding="utf-8")
    return dataclasses.replace(job, cell=home / "cell")


def new_home() -> Path:
    """Return a new folder for a copied cell; remove folders that other runners abandoned here at least a day ago.

    A runner fetches the results and has the folder removed, which a killed runner can't do.
    """
    home = Path(tempfile.mkdtemp(prefix="diadbench-cell-"))
    for path in home.parent.glob("diadbench-cell-*"):
        with contextlib.suppress(OSError):
            old = time.time() - path.stat().st_mtime > LEFT_AFTER
            if old and not is_held(path / "cell" / ".lock") and path.stat().st_uid == os.getuid():
                shutil.rmtree(path, ignore_errors=True)
    return home


def last_line(error: BaseException) -> str:
    """Return the last line of an error's text; the lines before it are usually a traceback."""
    lines = [line for line in str(error).splitlines() if line.strip(" -")]
    return lines[-1].strip()[:400] if lines else type(error).__name__


def in_batches(jobs: list[Job], size: int) -> Iterator[list[Job]]:
    """Yield runs of at most ``size`` jobs that ask for the same resources."""
    needs = {(job.time_limit, job.memory_limit, job.threads, job.gpus): None for job in jobs}
    for need in needs:
        alike = [job for job in jobs if (job.time_limit, job.memory_limit, job.threads, job.gpus) == need]
        for start in range(0, len(alike), size):
            yield alike[start : start + size]
