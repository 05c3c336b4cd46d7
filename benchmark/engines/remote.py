"""What engines share that run a cell on another machine: wait for its process there, carry its directory."""

from __future__ import annotations

import dataclasses
import io
import os
import shutil
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from diadbench.benchmark.engines.base import Job, Outcome
from diadbench.benchmark.engines.process import CellProcess
from diadbench.benchmark.records.store import CellRecord
from diadbench.common.code import code_of_file
from diadbench.common.files import write_text

#: What stays behind when a cell's directory travels: the lock, progress, and what can be made again.
LEFT_BEHIND = (".lock", "progress.json", "spill")


def wait(process: CellProcess, interval: float = 0.1) -> Outcome:
    """Wait for the end of a cell's process. Whatever interrupts the wait ends the process too."""
    try:
        while (outcome := process.poll()) is None:
            time.sleep(interval)
    except BaseException:
        process.end()
        raise
    return outcome


def pack(cell: Path, *, everything: bool) -> bytes:
    """Return a cell's directory as a tar archive; only ``cell.yaml`` unless ``everything`` is asked for.

    Paths in ``cell.yaml`` are absolute: where it travels to, there is no run directory for them to be relative to.
    """
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        text = yaml.safe_dump(CellRecord(cell).config, sort_keys=False, allow_unicode=True).encode()
        entry = tarfile.TarInfo("cell.yaml")
        entry.size = len(text)
        archive.addfile(entry, io.BytesIO(text))
        for path in sorted(cell.iterdir()) if everything else ():
            if path.name not in (*LEFT_BEHIND, "cell.yaml") and not path.name.endswith(".tmp"):
                archive.add(path, path.name)
    return buffer.getvalue()


def unpack(parcel: bytes, cell: Path) -> None:
    """Replace a cell's results by an archive's. ``status.json`` comes last: with it they count.

    The caller holds the cell's lock.
    """
    CellRecord(cell).clear()
    arrived = cell / f".arriving-{os.getpid()}"
    shutil.rmtree(arrived, ignore_errors=True)
    with tarfile.open(fileobj=io.BytesIO(parcel)) as archive:
        archive.extractall(arrived, filter="data")
    for path in sorted(arrived.iterdir(), key=lambda path: path.name == "status.json"):
        if path.name == "cell.yaml":
            continue  # ours knows our paths
        target = cell / path.name
        if path.is_dir():
            shutil.rmtree(target, ignore_errors=True)
        os.replace(path, target)
    shutil.rmtree(arrived)


def user_files(cell: Path) -> dict[str, dict[str, str]]:
    """Return the Python files that a cell's method and dataset are in, each with the modules beside it that it imports.

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


def settle(job: Job, parcel: bytes, files: dict[str, dict[str, str]], home: Path) -> Job:
    """Unpack a travelling cell into ``home``, on a machine without its run directory; return the job to run there."""
    with tarfile.open(fileobj=io.BytesIO(parcel)) as archive:
        archive.extractall(home / "cell", filter="data")
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


def last_line(error: BaseException) -> str:
    """Return the last line of an error's text; the lines before it are somebody's traceback."""
    lines = [line for line in str(error).splitlines() if line.strip(" -")]
    return lines[-1].strip()[:400] if lines else type(error).__name__


def in_batches(jobs: list[Job], size: int) -> Iterator[list[Job]]:
    """Yield runs of at most ``size`` jobs that ask for the same resources."""
    needs = {(job.time_limit, job.memory_limit, job.threads, job.gpus): None for job in jobs}
    for need in needs:
        alike = [job for job in jobs if (job.time_limit, job.memory_limit, job.threads, job.gpus) == need]
        for start in range(0, len(alike), size):
            yield alike[start : start + size]
