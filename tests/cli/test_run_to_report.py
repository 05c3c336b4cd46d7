"""`diadbench run` as a newcomer types it: from the command to the report's path."""

from __future__ import annotations

from pathlib import Path

import pytest

from diadbench.cli import main


def test_ends_with_the_path_of_a_report_that_is_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    grid = tmp_path / "small.yaml"
    toy = "{classes: [weave], train: 4, test_good: 2, test_bad: 1, size: 64}"
    grid.write_text(f"name: small\nmethods: [mean-image]\nimage_size: 32\ndatasets: {{toy: {{options: {toy}}}}}\n")
    assert main(["run", str(grid), "--out", str(tmp_path / "run")]) == 0
    last = capsys.readouterr().out.strip().splitlines()[-1]
    assert last.startswith("report: ")
    assert Path(last.removeprefix("report: ")).name == "index.html"
    assert Path(last.removeprefix("report: ")).is_file()
