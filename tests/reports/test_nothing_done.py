"""A run of which every cell failed still gets its report, which says so."""

from __future__ import annotations

from pathlib import Path

import pytest

from diadbench.cli import main
from tests.helpers.real_run import make_run


def test_the_report_of_a_run_without_a_result(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ends = {("d", name, 0): {"raises": "no such luck"} for name in ("one", "two")}
    run = make_run(tmp_path / "run", methods=("one", "two"), datasets={"d": ("c",)}, seeds=(0,), ends=ends)
    assert {cell.state for cell in run.cells()} == {"error"}
    assert main(["report", str(run.path)]) == 0
    assert "Traceback" not in capsys.readouterr().err
    page = next(run.path.rglob("index.html")).read_text(encoding="utf-8")
    assert "no such luck" in page
    assert main(["table", str(run.path)]) == 2
    assert "no cell of this run has results yet" in capsys.readouterr().err
