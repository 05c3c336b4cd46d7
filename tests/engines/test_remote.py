"""A cell that travels to a machine without its run directory: its files and their paths."""

from __future__ import annotations

import os
import shutil
import tempfile
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import yaml

from diadbench.benchmark.engines.base import Job
from diadbench.benchmark.engines.remote import (
    PIECE,
    Arrival,
    Piece,
    head,
    listing,
    new_home,
    parts,
    read_piece,
    settle,
    user_files,
    write_piece,
)
from diadbench.benchmark.records.store import CellRecord


def test_a_users_file_travels_with_the_modules_beside_it(tmp_path: Path) -> None:
    run = tmp_path / "run"
    cell = run / "cells" / "toy" / "mine" / "multi-class" / "seed0"
    (run / "code" / "lone_parts").mkdir(parents=True)
    (run / "code" / "mine.py").write_text("import lone_parts.one\nimport json\n")
    (run / "code" / "lone_parts" / "one.py").write_text("X = 1\n")
    cell.mkdir(parents=True)
    config = {"method": "./code/mine.py:Mine", "dataset": "toy", "run_directory": ".", "root": None}
    (cell / "cell.yaml").write_text(yaml.safe_dump(config))
    sent, files = [head(cell)], user_files(cell)
    shutil.rmtree(run)
    home = tmp_path / "node"
    job = settle(Job(cell), sent, files, home)
    found = CellRecord(job.cell).config
    path = Path(found["method"].rpartition(":")[0])
    assert path.read_text() == "import lone_parts.one\nimport json\n"
    assert (path.parent / "lone_parts" / "one.py").read_text() == "X = 1\n"
    assert path.is_relative_to(home)
    assert found["run_directory"] == str(home / "cell")


@pytest.fixture
def cells(tmp_path: Path) -> tuple[Path, Path]:
    """A cell with results, one of them large, and the cell that they travel to."""
    there, here = (tmp_path / place / "cells" / "toy" / "mine" / "multi-class" / "seed0" for place in ("a", "b"))
    for cell in (there, here):
        (cell / "checkpoint").mkdir(parents=True)
        (cell / "cell.yaml").write_text(f"run_directory: {cell}\n", encoding="utf-8")
        (cell / ".lock").touch()
    rng = np.random.default_rng(0)
    (there / "checkpoint" / "weights").write_bytes(rng.bytes(5 * PIECE + 17))
    (there / "maps" / "deep").mkdir(parents=True)
    (there / "maps" / "deep" / "empty").touch()
    (there / "maps" / "exact").write_bytes(rng.bytes(PIECE))
    (there / "progress.json").write_text("{}", encoding="utf-8")
    CellRecord(there).write_status(state="done", reason="", identity="new")
    (here / "checkpoint" / "of-an-earlier-try").touch()
    CellRecord(here).write_status(state="error", reason="", identity="old")
    return there, here


def test_a_cell_of_any_size_travels_in_pieces(cells: tuple[Path, Path]) -> None:
    there, here = cells
    tracemalloc.start()
    arrival = Arrival(here)
    for part in parts(listing(there)):
        arrival.take(read_piece(there, *part))
        assert CellRecord(here).status["identity"] == "old", "half of the results count for nothing"
    arrival.finish()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2.5 * PIECE, f"{peak / PIECE:.1f} pieces were in memory"
    for name in ("checkpoint/weights", "maps/deep/empty", "maps/exact", "status.json"):
        assert (here / name).read_bytes() == (there / name).read_bytes()
    assert sorted(path.name for path in here.iterdir()) == [".lock", "cell.yaml", "checkpoint", "maps", "status.json"]
    assert not (here / "checkpoint" / "of-an-earlier-try").exists()
    assert str(here) in (here / "cell.yaml").read_text(encoding="utf-8"), "ours knows our paths"


def test_status_comes_last_and_what_is_made_again_stays_behind(cells: tuple[Path, Path]) -> None:
    names = [name for name, _ in listing(cells[0])]
    assert names[-1] == "status.json"
    assert not {".lock", "progress.json", "cell.yaml"} & set(names)


def test_results_that_do_not_come_whole_change_nothing(cells: tuple[Path, Path]) -> None:
    there, here = cells
    before = sorted(here.rglob("*"))
    arrival = Arrival(here)
    arrival.take(read_piece(there, "checkpoint/weights", 0))
    arrival.forget()
    assert sorted(here.rglob("*")) == before


def test_a_piece_stays_below_its_folder(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="leads out"):
        write_piece(tmp_path / "home", Piece("../other", 0, b"x"))


def test_folders_that_a_killed_runner_left_are_removed_a_day_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    left, at_work, new = new_home(), new_home(), new_home()
    (at_work / "cell").mkdir()
    for path in (left, at_work):
        os.utime(path, (0, 0))
    with CellRecord(at_work / "cell").hold():
        os.utime(at_work, (0, 0))
        fresh = new_home()
    assert not left.exists()
    assert at_work.is_dir()
    assert new.is_dir()
    assert fresh.is_dir()
