"""docs/tutorial.md, run from top to bottom as it stands."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```", (ROOT / "docs/tutorial.md").read_text(), flags=re.M | re.S)


def test_the_tutorial_has_what_is_run_here() -> None:
    kinds = ["console", "console", "python", "yaml", "console", "console", "console", "python", "console", "console"]
    assert [kind for kind, _ in BLOCKS] == [*kinds, "toml"]


def test_what_the_chapter_shows_is_the_template() -> None:
    template = (ROOT / "methods/authoring/trained_template.py").read_text()
    plain = re.sub(r'^ *""".*"""\n|: dict\[str, Tensor\]|: int(?=\))|  #.*', "", template, flags=re.M)
    plain = re.sub(r" -> [\w\[\]., ]+:", ":", plain)
    shown = next(text for kind, text in BLOCKS if kind == "python" and "class Net" in text)
    for line in shown.splitlines():
        assert line in plain.splitlines(), line


@pytest.mark.slow
def test_every_step_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DIADBENCH_CACHE", str(tmp_path / "cache"))
    output = []
    for kind, text in BLOCKS:
        if kind == "yaml":
            assert yaml.safe_load(text)["name"] == "mine"
            (tmp_path / "grid.yaml").write_text(text)
            continue
        commands = [shlex.split(line[2:]) for line in text.splitlines()] if kind == "console" else []
        if kind == "python" and "import" in text:  # the other one is a part of the template
            commands = [["python", "-c", text]]
        for words in commands:
            program = ["-m", "diadbench"] if words[0] == "diadbench" else []
            done = subprocess.run(
                [sys.executable, *program, *words[1:]], cwd=tmp_path, capture_output=True, text=True, check=False
            )
            assert done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"
            output.append(done.stdout)
    assert output[1].count("passed") == 9
    assert any("My method" in text and "Pixel kNN" in text for text in output)
    assert any("a quick look: at most 4" in text for text in output)
    scores = pd.read_csv(tmp_path / "found" / "scores.csv")
    assert set(scores["decision"]) <= {"normal", "anomalous"}
    assert scores["percentile"].between(0, 100).all()
