"""The store: hostile labels, states, locks, results."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from diadbench.benchmark.records.store import RESULT_COLUMNS, CellRecord, RunDirectory, cell_path, load_results
from diadbench.common.errors import UserError

LABELS = ["plain", "a/b", "..", ".", ".hidden", "with space", "=cmd|x", "ü 汉字", "a\\b", "50%", "%2E"]


def make_cell(run: Path, method: str = "m", state: str = "done", value: str = "0.5") -> CellRecord:
    record = CellRecord(run / "cells" / cell_path("d", method, "multi-class", 0))
    record.directory.mkdir(parents=True)
    config = {"dataset_label": "d", "method_label": method, "setting": "multi-class", "seed": 0, "protocol": "exact"}
    (record.directory / "cell.yaml").write_text(yaml.safe_dump(config))
    (record.directory / "metrics.csv").write_text(
        f"class,scope,metric,value,reason,n_normal,n_anomalous,n_defined,n_classes\nc,class,i_auroc,{value},,3,4,,\n"
    )
    record.write_status(state=state, reason="", notes=["n1", "n2"], identity="i", protocol="exact")
    return CellRecord(record.directory)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    (tmp_path / "grid.yaml").write_text("methods: {}\ndatasets: {}\n")
    return tmp_path


def test_labels_never_leave_the_run_and_never_meet() -> None:
    paths = [cell_path("d", label, "s", 0) for label in LABELS]
    assert len(set(paths)) == len(LABELS)
    for path in paths:
        assert len(path.parts) == 4
        assert not set(path.parts) & {"..", "."}


def test_results_are_long_and_typed(run: Path) -> None:
    for label in LABELS:
        make_cell(run, label)
    table = load_results(run)
    assert list(table.columns) == list(RESULT_COLUMNS)
    assert set(table["method"]) == set(LABELS)
    assert table["value"].dtype == "float64"
    assert set(table["flags"]) == {"n1; n2"}


def test_undefined_is_nan_and_failed_cells_have_a_row(run: Path) -> None:
    make_cell(run, "undefined", value="")
    make_cell(run, "failed", state="error")
    table = load_results([run]).set_index("method")
    assert table["value"].isna().all()
    assert table.loc["failed", "state"] == "error"
    assert table.loc["failed", "metric"] == ""


def test_a_running_cell_without_a_process_was_killed(run: Path) -> None:
    assert make_cell(run, state="running").state == "killed"


def test_a_running_cell_with_a_process_runs(run: Path) -> None:
    record = make_cell(run, state="running")
    code = (
        "import sys; from pathlib import Path; from diadbench.benchmark.records.store import CellRecord\n"
        f"with CellRecord(Path({str(record.directory)!r})).lock():\n print('held', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        assert CellRecord(record.directory).state == "running"
        process.kill()
    assert CellRecord(record.directory).state == "killed"


def test_no_run_directory(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no grid\.yaml"):
        RunDirectory(tmp_path)


def test_results_csv_can_be_rebuilt(run: Path) -> None:
    make_cell(run)
    path = RunDirectory(run).write_results()
    before = path.read_bytes()
    path.unlink()
    assert RunDirectory(run).write_results().read_bytes() == before


@pytest.mark.parametrize("must_exist", [True, False])
def test_a_file_is_no_run_directory(tmp_path: Path, must_exist: bool) -> None:
    (tmp_path / "run").write_text("something")
    with pytest.raises(UserError, match="run: a file; expected the directory of a run"):
        RunDirectory(tmp_path / "run", must_exist=must_exist)
