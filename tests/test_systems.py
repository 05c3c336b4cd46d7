"""Systems besides Linux, as far as they can be simulated here: Windows' missing modules, macOS' units and processes."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

from diadbench.common.processes import systems

ROOT = Path(__file__).resolve().parents[1]
ROOMS = ("benchmark", "benchmarks", "datasets", "diadbench/cli", "diadbench/common", "methods", "reports")
FILES = sorted([*(ROOT / "diadbench").glob("*.py"), *(path for room in ROOMS for path in (ROOT / room).rglob("*.py"))])
CHEAP = ROOT / "tests" / "storm" / "cheap"
POSIX_MODULES = {"fcntl", "grp", "posix", "pty", "pwd", "resource", "syslog", "termios", "tty"}
#: A Python that lacks what Windows' lacks.
AS_WINDOWS = f"""
import os, signal, sys
import subprocess, shutil, tempfile, threading  # Python's own differ on Windows

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name in {POSIX_MODULES!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Blocked())
for name in {POSIX_MODULES!r}:
    sys.modules.pop(name, None)
for name in ("killpg", "setsid", "getpgid", "geteuid", "sched_getaffinity", "getloadavg"):
    if hasattr(os, name):
        delattr(os, name)
for name in ("SIGKILL", "SIGHUP", "SIGUSR1", "SIGUSR2"):
    delattr(signal, name)
from diadbench.cli import main
sys.exit(main(sys.argv[1:]))
"""


def unguarded(source: str) -> list[str]:
    """Imports of POSIX modules that would end an import on Windows with a traceback."""
    tree = ast.parse(source)
    guarded = {id(node) for each in ast.walk(tree) if isinstance(each, ast.Try) for node in ast.walk(each)}
    found = []
    for node in ast.walk(tree):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        found += [name for name in names if name in POSIX_MODULES and id(node) not in guarded]
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_no_import_ends_in_a_traceback_on_windows(path: Path) -> None:
    assert not unguarded(path.read_text(encoding="utf-8"))


def test_the_rule_sees_an_import_without_a_way_out() -> None:
    assert unguarded("import resource") == ["resource"]
    assert unguarded("def f():\n    from fcntl import flock") == ["fcntl"]
    assert unguarded("try:\n    import fcntl\nexcept ImportError:\n    fcntl = None") == []


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of one cheap cell."""
    place = tmp_path_factory.mktemp("systems")
    for name in ("train/good", "test/good"):
        folder = place / "data" / "thing" / name
        folder.mkdir(parents=True)
        Image.fromarray(np.full((8, 8, 3), 7, dtype=np.uint8)).save(folder / "0.png")
    method = {"method": f"{CHEAP / 'storm_method.py'}:StormMethod", "options": {"seconds": 0.0}}
    grid = {"methods": {"nothing": method}, "datasets": {"thing": {"dataset": "folder", "root": "data"}}}
    (place / "grid.yaml").write_text(yaml.safe_dump({**grid, "threads": 1, "device": "cpu"}), encoding="utf-8")
    path = os.pathsep.join(filter(None, [str(CHEAP), os.environ.get("PYTHONPATH")]))
    command = [sys.executable, "-P", "-m", "diadbench", "run", "grid.yaml", "--out", "run", "--no-report"]
    variables = {**os.environ, "PYTHONPATH": path, "DIADBENCH_CACHE": str(place / "cache")}
    subprocess.run(command, cwd=place, env=variables, check=True)
    return place / "run"


def on_windows(place: Path, *words: str) -> subprocess.CompletedProcess[str]:
    ignored = "ignore:only soft file lock"  # filelock has locks of its own on the real Windows
    command = [sys.executable, "-W", ignored, "-P", "-c", AS_WINDOWS, *words]
    variables = {**os.environ, "DIADBENCH_CACHE": str(place / "cache")}
    return subprocess.run(
        command, cwd=place, env=variables, capture_output=True, text=True, encoding="utf-8", check=False
    )


def test_windows_says_in_one_line_what_it_lacks(run: Path) -> None:
    done = on_windows(run.parent, "run", "grid.yaml", "--out", "other")
    assert done.returncode == 2
    assert done.stderr == (
        "diadbench: diadbench run needs process groups and signals (os.killpg, SIGKILL), by which cells are ended; "
        "Windows lacks them: use WSL 2. Reading results works here\n"
    )
    assert not (run.parent / "other").exists()


@pytest.mark.parametrize(
    "words",
    [
        ["--help"],
        ["methods", "list"],
        ["datasets", "list"],
        ["status", "run"],
        ["table", "run", "--metrics", "mAD", "--format", "csv"],
        ["report", "run", "--out", "page"],
        ["show", "grid.yaml"],
    ],
    ids=lambda words: words[0],
)
def test_reading_works_on_windows(run: Path, words: list[str]) -> None:
    done = on_windows(run.parent, *words)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr


def test_peak_memory_is_in_bytes_on_every_system(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(systems, "sys", SimpleNamespace(platform="darwin"))
    assert systems.resident_bytes(3 * 2**20) == 3 * 2**20
    monkeypatch.setattr(systems, "sys", SimpleNamespace(platform="linux"))
    assert systems.resident_bytes(3 * 2**10) == 3 * 2**20
    import resource

    import psutil

    monkeypatch.undo()
    here = systems.resident_bytes(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
    assert here >= 0.5 * psutil.Process().memory_info().rss


def test_memory_without_shared_pages_is_resident_memory_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    from diadbench.benchmark.cells import meter

    class Mac:
        """psutil's process as it is on macOS: no shared pages in its figures."""

        def __init__(self, pid: int = 0) -> None: ...

        def memory_info(self) -> Any:
            return SimpleNamespace(rss=5_000_000, vms=9_000_000)

        def children(self, recursive: bool) -> list[Mac]:
            return []

    monkeypatch.setattr(meter, "cells_here", lambda: 1)
    monkeypatch.setattr(meter.psutil, "Process", Mac)
    assert meter.own_bytes(1) == 5_000_000
    with meter.Meter() as watch:
        pass
    assert watch.result()["peak_memory"]["counts"] == "resident pages"


def test_without_proc_all_that_asks_it_has_an_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    from diadbench.benchmark.cells import provenance
    from diadbench.benchmark.engines import gpus, process

    real = Path.read_text

    def no_proc(self: Path, *args: Any, **named: Any) -> str:
        if str(self).startswith("/proc"):
            raise FileNotFoundError(self)
        return real(self, *args, **named)

    monkeypatch.setattr(Path, "read_text", no_proc)
    monkeypatch.setattr(gpus, "LISTED", "/nowhere")
    assert process._oom_kills() == 0
    assert isinstance(provenance._processor(), str)
    assert gpus.visible_gpus({}) == []


def test_a_cell_ends_with_its_runner_without_linux(tmp_path: Path) -> None:
    child = textwrap.dedent(
        """
        import signal, sys, time
        from types import SimpleNamespace
        from diadbench.common.processes import interrupt
        interrupt.sys = SimpleNamespace(platform="darwin")
        interrupt.die_with_parent(signal.SIGTERM)
        open(sys.argv[1], "w").close()
        time.sleep(600)
        """
    )
    mark = tmp_path / "started"
    parent = "import subprocess, sys, time; p = subprocess.Popen([sys.executable, '-P', '-c', *sys.argv[1:]]); "
    parent += "print(p.pid, flush=True); time.sleep(600)"
    with subprocess.Popen([sys.executable, "-P", "-c", parent, child, str(mark)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        pid = int(process.stdout.readline())
        wait_for(mark.is_file)
        process.kill()
    wait_for(lambda: not is_alive(pid))


def wait_for(condition: Any, timeout: float = 60.0) -> None:
    until = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < until, "waited in vain"
        time.sleep(0.05)


def is_alive(pid: int) -> bool:
    import psutil

    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def test_linux_asks_the_kernel() -> None:
    if sys.platform != "linux":
        pytest.skip("Linux only")
    code = "import signal; from diadbench.common.processes.interrupt import die_with_parent; "
    code += "die_with_parent(signal.SIGTERM); "
    code += "import threading; print(threading.active_count())"
    assert subprocess.check_output([sys.executable, "-P", "-c", code]) == b"1\n"
