"""What another user, who may only read a run directory, sees of it: a cell at work, a killed one, a finished one."""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

from diadbench.benchmark.records.store import CellRecord, RunDirectory
from diadbench.benchmark.runs.status import states, table
from diadbench.common.processes.held import is_held

CHEAP = Path(__file__).resolve().parents[1] / "storm" / "cheap"
NOBODY = 65534


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder that every user may read; pytest's own are for one user."""
    made = Path(tempfile.mkdtemp(prefix="diadbench-users-"))
    made.chmod(0o755)
    yield made
    subprocess.run(["chmod", "-R", "u+rwX", str(made)], check=True)
    shutil.rmtree(made)


def grid(place: Path, seconds: float) -> Path:
    path = place / "data" / "thing"
    for name in ("train/good", "test/good"):
        (path / name).mkdir(parents=True)
        Image.fromarray(np.full((8, 8, 3), 7, dtype=np.uint8)).save(path / name / "0.png")
    method = {"method": f"{CHEAP / 'storm_method.py'}:StormMethod", "options": {"seconds": seconds}}
    values = {"methods": {"nothing": method}, "datasets": {"thing": {"dataset": "folder", "root": "data"}}}
    (place / "grid.yaml").write_text(yaml.safe_dump({**values, "threads": 1, "device": "cpu"}), encoding="utf-8")
    return place / "grid.yaml"


def environment(place: Path) -> dict[str, str]:
    path = os.pathsep.join([str(CHEAP), *filter(None, [os.environ.get("PYTHONPATH")])])
    return {**os.environ, "PYTHONPATH": path, "DIADBENCH_CACHE": str(place / "cache")}


def runner(place: Path, seconds: float) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-P", "-m", "diadbench", "run", str(grid(place, seconds)), "--out", str(place / "run")]
    return subprocess.Popen([*command, "--no-report"], env=environment(place), cwd="/", umask=0o022)


def as_an_ordinary_user() -> None:
    """Give up root's right to pass over permissions (CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH, CAP_FOWNER)."""
    libc = ctypes.CDLL(None, use_errno=True)
    for capability in (1, 2, 3):
        assert libc.prctl(24, capability, 0, 0, 0) == 0  # PR_CAPBSET_DROP


@contextlib.contextmanager
def owned_by_another(run: Path) -> Iterator[dict[str, Any]]:
    """Give the run to another user while a command looks at it, which may then read it and not write it.

    Only root may give files away. Others take the right to write from themselves: the same for whoever looks.
    """
    root = os.geteuid() == 0
    subprocess.run(["chown", "-R", str(NOBODY), str(run)] if root else ["chmod", "-R", "a-w", str(run)], check=True)
    try:
        yield {"preexec_fn": as_an_ordinary_user} if root else {}
    finally:
        subprocess.run(["chown", "-R", "0", str(run)] if root else ["chmod", "-R", "u+w", str(run)], check=True)


def seen(place: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """What a command says to a user who may read the run, and not write it."""
    command = [sys.executable, "-P", "-m", "diadbench", *words]
    variables = {**os.environ, "DIADBENCH_CACHE": str(place / "cache-of-another")}
    with owned_by_another(place / "run") as options:
        return subprocess.run(
            command, env=variables, cwd="/", capture_output=True, text=True, encoding="utf-8", check=False, **options
        )


def state_seen(place: Path) -> tuple[str, str]:
    done = seen(place, "status", str(place / "run"), "--json")
    assert done.stdout, done.stderr
    (cell,) = json.loads(done.stdout)
    return cell["state"], cell["reason"]


def wait_until_it_runs(place: Path) -> CellRecord:
    record = CellRecord(place / "run" / "cells" / "thing" / "nothing" / "multi-class" / "seed0")
    until = time.monotonic() + 120
    while CellRecord(record.directory).state != "running" or not (record.directory / "progress.json").exists():
        assert time.monotonic() < until, "the cell doesn't start"
        time.sleep(0.05)
    return record


def test_a_cell_at_work_is_running_and_a_killed_one_is_killed(place: Path) -> None:
    process = runner(place, 600.0)
    try:
        record = wait_until_it_runs(place)
        assert state_seen(place) == ("running", "")
        os.kill(CellRecord(record.directory).status["pid"], signal.SIGSTOP)  # no last word, no progress
        process.kill()
        os.kill(CellRecord(record.directory).status["pid"], signal.SIGKILL)
    finally:
        process.kill()
        process.wait()
    until = time.monotonic() + 60
    while is_held(record.directory / ".lock"):
        assert time.monotonic() < until
        time.sleep(0.05)
    assert state_seen(place)[0] == "killed"


def everything(run: Path) -> dict[str, tuple[int, int]]:
    """Return date and size of all files and folders of a run."""
    return {str(path): (path.stat().st_mtime_ns, path.stat().st_size) for path in (run, *run.rglob("*"))}


def test_a_finished_run_is_shown_tabulated_and_reported_elsewhere(place: Path) -> None:
    assert runner(place, 0.0).wait() == 0
    before = everything(place / "run")
    assert state_seen(place) == ("done", "")
    shown = seen(place, "table", str(place / "run"), "--metrics", "mAD", "--format", "csv")
    assert shown.returncode == 0, shown.stderr
    assert "Storm" in shown.stdout, "the method's name"
    out = place / "for-all"
    out.mkdir()
    built = seen(place, "report", str(place / "run"), "--out", str(out / "report"))
    assert built.returncode == 0, built.stderr
    assert (out / "report" / "index.html").is_file()
    assert everything(place / "run") == before, "whoever looks writes nothing"


def test_what_cannot_be_known_is_not_called_killed(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert runner(place, 0.0).wait() == 0
    (record,) = RunDirectory(place / "run").cells()
    record.write_status(**{**record.status, "state": "running"})
    assert states(RunDirectory(place / "run"))[0]["state"] == "killed", "its lock can be read, and nobody holds it"
    (record.directory / ".lock").chmod(0o000)
    state, reason = state_seen(place)
    assert state == "running"
    assert reason.startswith("can't tell whether its process is still there")
    assert ".lock can't be read" in reason
    monkeypatch.setattr("diadbench.benchmark.records.cell_record.is_held", lambda path: None)
    directory = RunDirectory(place / "run")
    (cell,) = table(directory, states(directory)).columns[-1].cells
    assert "can't tell" in str(cell)


def test_whoever_looks_does_not_keep_the_cell_from_its_process(tmp_path: Path) -> None:
    import fcntl

    record = CellRecord(tmp_path)
    with record.hold():
        assert record.locked() is True
    handle = os.open(tmp_path / ".lock", os.O_RDONLY)
    fcntl.flock(handle, fcntl.LOCK_SH)  # one who looks
    assert record.locked() is False, "others may look meanwhile"
    child = os.fork()
    if child == 0:
        time.sleep(0.2)
        os._exit(0)  # the lock is the open file's: it goes when both have closed it
    os.close(handle)
    with record.hold():
        assert record.locked() is True
    os.waitpid(child, 0)
