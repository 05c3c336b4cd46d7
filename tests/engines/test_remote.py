"""A cell that travels to a machine without its run directory: its files and their paths."""

from __future__ import annotations

import shutil
from pathlib import Path

import yaml

from diadbench.benchmark.engines.base import Job
from diadbench.benchmark.engines.remote import pack, settle, user_files
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
    parcel, files = pack(cell, everything=False), user_files(cell)
    shutil.rmtree(run)
    home = tmp_path / "node"
    job = settle(Job(cell), parcel, files, home)
    found = CellRecord(job.cell).config
    path = Path(found["method"].rpartition(":")[0])
    assert path.read_text() == "import lone_parts.one\nimport json\n"
    assert (path.parent / "lone_parts" / "one.py").read_text() == "X = 1\n"
    assert path.is_relative_to(home)
    assert found["run_directory"] == str(home / "cell")
