"""Move results finished under another label to where the grid expects them; a label is no part of a cell's identity.

Cells are moved through ``RUN/moving/``, so that labels can be swapped. The next plan finds what a kill left there.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import yaml
from filelock import Timeout

from diadbench.benchmark.records.identity import Wanted, difference
from diadbench.benchmark.records.store import CellRecord, RunDirectory
from diadbench.common.files import write_json, write_text

if TYPE_CHECKING:
    from diadbench.benchmark.planning.planned import PlannedCell

_PLACE = "moving"


class Finished:
    """The finished cells of a run directory that are not where the grid expects them, by identity.

    Args:
        directory: The run directory.
        in_place: Directories of cells that already are what the grid asks for; they stay.
    """

    def __init__(self, directory: RunDirectory, in_place: set[Path]) -> None:
        self._found: dict[str, list[CellRecord]] = {}
        on_the_way = [CellRecord(path.parent) for path in sorted((directory.path / _PLACE).glob("*/cell.yaml"))]
        for record in [*on_the_way, *directory.on_disk()]:
            if record.directory not in in_place and record.state == "done":
                self._found.setdefault(str(record.status.get("identity", "")), []).append(record)

    def take(self, wanted: Wanted) -> CellRecord | None:
        """Return a finished cell with the wanted identity, each only once; ``None`` if there is none."""
        for identity in (wanted.identity, wanted.earlier):
            for record in self._found.get(identity, []):
                if not difference(record.status, record.config, wanted):
                    self._found[identity].remove(record)
                    return record
        return None


def take_over(cells: list[PlannedCell], run: Path) -> list[PlannedCell]:
    """Move finished cells to the directories that the grid expects, with its labels.

    Args:
        cells: Planned cells with a source.
        run: The run directory.

    Returns:
        Cells that could not be moved, because another process holds the source or the target.
    """
    moved = [(planned, _lift(planned, run)) for planned in cells]
    left = [planned for planned, place in moved if place is None or not _put_down(planned, place)]
    with contextlib.suppress(OSError):  # The folder isn't empty if another runner moves cells too.
        (run / _PLACE).rmdir()
    return left


def _lift(planned: PlannedCell, run: Path) -> Path | None:
    """Move a cell out of its old directory and give it its new labels."""
    source = planned.source
    assert source is not None
    place = run / _PLACE / str(planned.config["identity"])
    if source.directory == place:
        _relabel(place, planned)
        return place
    with _held(source) as free:
        if not free or CellRecord(source.directory).state != "done" or place.exists():
            return None
        place.parent.mkdir(exist_ok=True)
        os.rename(source.directory, place)
    _relabel(place, planned)
    _remove_empty(source.directory.parent, run / "cells")
    return place


def _put_down(planned: PlannedCell, place: Path) -> bool:
    """Move a cell to its new directory. An existing cell there is replaced, as by a run."""
    target = planned.record
    target.directory.mkdir(parents=True, exist_ok=True)
    with _held(target) as free:
        if not free:
            return False
        old = place.with_name(f"{place.name}.replaced")
        os.rename(target.directory, old)
        os.rename(place, target.directory)
    shutil.rmtree(old, ignore_errors=True)
    return True


def _relabel(place: Path, planned: PlannedCell) -> None:
    record = CellRecord(place)
    before = str(record.config.get("method_label", ""))
    labels = {key: planned.config[key] for key in ("dataset_label", "method_label")}
    text = yaml.safe_dump({**record.config, **labels}, sort_keys=False, allow_unicode=True)
    write_text(place / "cell.yaml", text)
    notes = [_renamed(note, before, labels["method_label"]) for note in record.status.get("notes", [])]
    if notes != record.status.get("notes", []):
        write_json(place / "status.json", {**record.status, "notes": notes})


def _renamed(note: str, before: str, after: str) -> str:
    """Return a note with the method's new label, if it begins with the old one."""
    return f"{after} {note.removeprefix(f'{before} ')}" if before and note.startswith(f"{before} ") else note


@contextlib.contextmanager
def _held(record: CellRecord) -> Iterator[bool]:
    """Hold a cell's lock; yield whether it was free."""
    try:
        with record.hold():
            yield True
    except Timeout:
        yield False


def _remove_empty(folder: Path, top: Path) -> None:
    """Remove the directories of a label without cells."""
    with contextlib.suppress(OSError):
        while folder != top:
            folder.rmdir()
            folder = folder.parent
