"""Files and directories are written whole, and are readable as the umask allows, whatever made them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from diadbench.common import files
from diadbench.common.files import atomic_directory, atomic_write, share, umask, write_with

ROOT = Path(__file__).resolve().parents[2]


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


@pytest.mark.parametrize("mask", [0o022, 0o027, 0o002])
def test_files_and_directories_follow_the_umask(tmp_path: Path, mask: int) -> None:
    before = os.umask(mask)
    try:
        with atomic_write(tmp_path / "one") as file:
            file.write(b"1")
        write_with(tmp_path / "two.txt", lambda name: Path(name).write_text("2"))
        with atomic_directory(tmp_path / "three") as made:
            (made / "below").mkdir(mode=0o700)
            (made / "below" / "private").touch(mode=0o600)
    finally:
        os.umask(before)
    for path in tmp_path.rglob("*"):
        assert mode(path) == (0o777 if path.is_dir() else 0o666) & ~mask, path


@pytest.mark.parametrize("linux", [True, False])
def test_many_threads_write_and_nobody_gets_another_mode(linux: bool) -> None:
    """In a process of its own, whose umask no other test touches."""
    code = f"""
import os, sys, threading
from pathlib import Path
os.umask(0o027)
sys.setswitchinterval(1e-6)
from diadbench.common import files
if not {linux}:
    files._read_umask = lambda: None
import tempfile
with tempfile.TemporaryDirectory() as place:
    def write(k):
        for i in range(12):
            with files.atomic_write(Path(place) / f"{{k}}-{{i}}") as file:
                file.write(b"x")
            with open(Path(place) / f"plain-{{k}}-{{i}}", "w"):
                pass
    threads = [threading.Thread(target=write, args=(k,)) for k in range(8)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    modes = {{(path.stat().st_mode & 0o777) for path in Path(place).iterdir()}}
# while the umask is found out without /proc, a file of another thread may be private, but never open to all
assert modes <= ({{0o640}} if {linux} else {{0o640, 0o600}}), [oct(one) for one in modes]
assert os.umask(0) == 0o027
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr


def test_where_it_can_not_be_read_the_umask_is_set_once_only(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []
    real = files._swap_umask
    monkeypatch.setattr(files, "_read_umask", lambda: None)
    monkeypatch.setattr(files, "_umask_elsewhere", None)
    monkeypatch.setattr(files, "_swap_umask", lambda: calls.append(1) or real())
    threads = [threading.Thread(target=umask) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(calls) == 1


def test_a_failed_directory_leaves_nothing(tmp_path: Path) -> None:
    def interrupted() -> None:
        with atomic_directory(tmp_path / "made") as temporary:
            (temporary / "file").write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert not list(tmp_path.iterdir())


def test_share_leaves_links_and_programs(tmp_path: Path) -> None:
    (tmp_path / "outside").touch(mode=0o600)
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / "link").symlink_to(tmp_path / "outside")
    (tree / "program").touch(mode=0o700)
    share(tree)
    assert mode(tmp_path / "outside") == 0o600
    assert mode(tree / "program") & 0o111


def test_private_files_are_made_in_one_place() -> None:
    """``mkstemp``, ``mkdtemp`` and safetensors make private files: only these modules call them, and mend the mode."""
    allowed = {
        "mkstemp": {"diadbench/common/files.py"},
        # the second is removed by the process that made it
        "mkdtemp": {"diadbench/common/files.py", "benchmark/engines/remote.py"},
        # the template is a user's method, whose files the run mends
        "save_file": {"methods/features/weights.py", "methods/authoring/template.py"},
    }
    sources = [
        path
        for room in ("benchmark", "datasets", "methods", "reports", "diadbench/common", "diadbench/cli")
        for path in (ROOT / room).rglob("*.py")
    ]
    for name, places in allowed.items():
        calls = {
            path.relative_to(ROOT).as_posix() for path in sources if re.search(rf"\b{name}\(", path.read_text("utf-8"))
        }
        assert calls <= places, f"{name} is called in {sorted(calls - places)}; see diadbench.common.files"


def test_an_error_names_the_file_that_was_asked_for(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    for path in (tmp_path / "folder", tmp_path / "file" / "below.csv", tmp_path / f"{'x' * 300}.csv"):
        with pytest.raises(OSError) as caught, atomic_write(path) as file:
            file.write(b"x")
        assert caught.value.filename == str(path)
        with pytest.raises(OSError) as caught:
            write_with(path, lambda name: Path(name).touch())
        assert caught.value.filename == str(path)
    assert {path.name for path in tmp_path.iterdir()} == {"folder", "file"}
