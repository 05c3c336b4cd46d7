"""The environment and what is released: torch's build, uv or pip, each module once."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers.scripts import script

ROOT = Path(__file__).parents[1]


def test_the_cpu_build_of_torch_comes_first_where_it_is_wanted(tmp_path: Path) -> None:
    environment = script("release/environment.py")
    make, torch, project = environment.commands(tmp_path / "env", "demo", uv=None, cpu_build=lambda _: True)
    assert make == [sys.executable, "-m", "venv", str(tmp_path / "env")]
    assert torch[-4:] == ["--index-url", environment.CPU_INDEX, *environment.TORCH]
    assert project[-2:] == ["--editable", ".[demo]"]
    assert "--index-url" not in project
    without = environment.commands(tmp_path / "env", "demo", uv=None, cpu_build=lambda _: False)
    assert without == [make, project]


def test_uv_is_used_where_it_is(tmp_path: Path) -> None:
    commands = script("release/environment.py").commands(tmp_path / "env", "", uv="/bin/uv", cpu_build=lambda _: True)
    assert all(command[0] == "/bin/uv" for command in commands)


@pytest.mark.parametrize(
    ("gpu", "problem", "wanted", "said"),
    [
        ("", "", True, "no GPU, so the CPU build"),
        ("", "timed out", False, "can't be reached (timed out)"),
        ("NVIDIA T4", "", False, "for NVIDIA T4"),
    ],
)
def test_why_which_build_is_said(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    gpu: str,
    problem: str,
    wanted: bool,
    said: str,
) -> None:
    environment = script("release/environment.py")
    monkeypatch.setattr(environment, "_gpu", lambda: gpu)
    monkeypatch.setattr(environment, "_unreachable", lambda _: problem)
    monkeypatch.setattr(environment.platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(environment.sys, "platform", "linux")
    assert environment.wants_cpu_build(tmp_path / "bin/python") is wanted
    assert said in capsys.readouterr().out


def test_torch_that_is_there_stays() -> None:
    assert not script("release/environment.py").wants_cpu_build(Path(sys.executable))


def test_an_address_that_answers_nothing_is_told() -> None:
    assert script("release/environment.py")._unreachable("http://127.0.0.1:9/torch/")


def test_without_a_python_make_says_what_to_do(tmp_path: Path) -> None:
    command = ["make", "-n", "env", "PYTHON=", f"VENV={tmp_path}"]
    done = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True, encoding="utf-8")
    assert done.returncode
    assert "make env PYTHON=/path/to/python" in done.stderr


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="git says what belongs to the package")
def test_a_module_that_is_missing_unknown_or_doubled_is_told() -> None:
    check = script("release/check.py")
    here = check.modules_here()
    assert check.not_once(here) == []
    assert check.not_once([*here[1:], here[1], "diadbench/other.py"]) == [
        f"{here[1]} is there 2 times",
        f"{here[0]} is not there",
        "diadbench/other.py is not in git",
    ]
