"""The examples of docs/reports.md run."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path
from typing import Any

import pytest

from diadbench.benchmark.planning.grid import parse_grid
from diadbench.benchmark.runs.runner import run_grid
from diadbench.cli import main
from tests.helpers.real_run import InProcess

TEXT = (Path(__file__).parents[2] / "docs" / "reports.md").read_text(encoding="utf-8")


@pytest.fixture
def _runs(demo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(demo, tmp_path / "runs" / "demo", ignore=shutil.ignore_patterns("report"))
    monkeypatch.chdir(tmp_path)


@pytest.mark.usefixtures("_runs")
def test_the_python_example_runs(capsys: pytest.CaptureFixture[str]) -> None:
    code, other = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
    names: dict[str, Any] = {}
    exec(code, names)
    assert len(names["compared"]) == 4 * 4  # four methods; three datasets and all of them
    assert r"\toprule" in capsys.readouterr().out
    opened = re.sub(r"diadbench\.run\(.*\)  # or (.*)", r"\1", other)
    assert opened != other
    exec(opened, {})
    assert Path("paper/index.html").exists()
    assert [*Path("paper/figures").glob("bars*.pdf")]


@pytest.fixture
def _few_shot(_runs: None) -> None:
    """The run of few-shot settings that a command reads: on toy images in the place of MVTec-AD's."""
    grid = {
        "methods": {"pixel-knn": {"options": {"size": 8}}},
        "datasets": {"mvtec": {"dataset": "toy", "options": {"train": 3, "test_good": 2, "test_bad": 2, "size": 32}}},
        "settings": ["few-shot"], "shots": [1, 2], "data_seed": 0, "image_size": 32, "device": "cpu",
    }  # fmt: skip
    run_grid(parse_grid({"name": "few-shot", **grid}), Path("runs/few-shot"), engine=InProcess(), quiet=True)


@pytest.mark.usefixtures("_few_shot")
def test_the_commands_run(capsys: pytest.CaptureFixture[str]) -> None:
    commands = re.findall(r"^diadbench (.+)$", TEXT, re.MULTILINE)
    assert len(commands) == 5
    for command in commands:
        assert main(shlex.split(command, comments=True)) == 0
    assert "UniAD" in capsys.readouterr().out
