"""Results in columns: the same as the cells say, whatever becomes of the ledger or of a cell."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pandas as pd
import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "helpers"))
from real_run import make_run

from diadbench.benchmark.records.ledger import Ledger
from diadbench.benchmark.records.store import RunDirectory, load_results, results_of
from diadbench.benchmark.runs.status import states, table


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    folder = tmp_path_factory.mktemp("ledger")
    ends = {("visa", "UniAD", 1): {"raises": 'it, "fails"\nhere'}}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DIADBENCH_CACHE", str(folder / "cache"))
        return make_run(
            folder / "run", methods=["DiAD", "UniAD"], datasets={"visa": ["candle", "cashew"]}, seeds=(0, 1), images=4,
            ends=ends,
        )  # fmt: skip


@pytest.fixture
def run(made: RunDirectory, tmp_path: Path) -> RunDirectory:
    """A copy, whose files have the dates of the original: the ledger holds for it."""
    shutil.copytree(made.path, tmp_path / "run")
    return RunDirectory(tmp_path / "run")


def from_cells(run: RunDirectory) -> pd.DataFrame:
    """The results without a ledger."""
    shutil.rmtree(run.path / "results", ignore_errors=True)
    return load_results(run.path)


def test_a_runner_adds_each_cell(run: RunDirectory) -> None:
    ledger = Ledger(run.path).read()
    assert sorted(ledger["state"].to_pylist()) == ["done", "done", "done", "error"]
    found, said = load_results(run.path), states(run)
    pd.testing.assert_frame_equal(found, from_cells(run))
    assert said == states(run)
    assert set(found.loc[found["state"] == "error", "reason"]) == {r'it, "fails"\nhere'}


def test_results_csv_says_the_same(run: RunDirectory) -> None:
    assert run.results_are_current()
    found = load_results(run.path).drop(columns="path")
    texts = [name for name in found if found[name].dtype != "float64" and name != "seed"]
    again = pd.read_csv(
        run.write_results(), keep_default_na=False, na_values={n: [""] for n in found if n not in texts}
    )
    pd.testing.assert_frame_equal(again, found, check_dtype=False)
    cell = run.cells()[0].directory
    (cell / "status.json").write_text((cell / "status.json").read_text() + "\n")
    assert not RunDirectory(run.path).results_are_current()


def test_a_cell_that_changed_is_read_again(run: RunDirectory) -> None:
    path = run.cells()[0].directory / "metrics.csv"
    changed = pd.read_csv(path)
    changed.loc[0, "value"] = 0.125
    changed.to_csv(path, index=False)
    found = load_results(run.path)
    assert found["value"].iloc[0] == 0.125
    pd.testing.assert_frame_equal(found, from_cells(run))


@pytest.mark.parametrize("content", [b"", b"PAR1 no parquet PAR1"])
def test_a_broken_ledger_costs_a_reading(run: RunDirectory, content: bytes) -> None:
    (run.path / "results" / "cells.parquet").write_bytes(content)
    pd.testing.assert_frame_equal(load_results(run.path), from_cells(run))


def test_what_a_killed_runner_was_writing_is_read_as_far_as_it_came(run: RunDirectory) -> None:
    expected = from_cells(run)
    with run.recording() as add:
        for _ in range(8):
            for cell in run.cells():
                add(cell)
        [journal] = (run.path / "results").glob("*.arrows")
        half = journal.read_bytes()[:-100]
    shutil.rmtree(run.path / "results")
    (run.path / "results").mkdir()
    (run.path / "results" / "1-1.arrows").write_bytes(half)
    assert Ledger(run.path).read().num_rows == 16
    pd.testing.assert_frame_equal(load_results(run.path), expected)
    Ledger(run.path).compact()
    assert Ledger(run.path).read().num_rows == 4
    pd.testing.assert_frame_equal(load_results(run.path), expected)


def test_a_file_that_is_gone_is_said_and_ends_nothing(run: RunDirectory) -> None:
    (run.cells()[0].directory / "metrics.csv").unlink()
    found = load_results(run.path)
    assert found["state"].iloc[0] == "killed", "the same command makes it again"
    assert "metrics.csv is gone" in found["reason"].iloc[0]
    assert (found["state"] == "done").any()


def test_means_alone_leave_classes_out_unless_they_matter(run: RunDirectory) -> None:
    alone = results_of([("run", run)], means_alone=True)
    full = load_results(run.path)
    pd.testing.assert_frame_equal(alone, full[full["scope"] != "class"].reset_index(drop=True))
    path = run.cells()[0].directory / "metrics.csv"
    lacking = pd.read_csv(path)
    lacking[lacking["class"] != "candle"].to_csv(path, index=False)
    assert set(results_of([("run", run)], means_alone=True)["scope"]) == {"class", "mean", ""}


def test_status_prints_some_of_many_cells_and_counts_the_rest(run: RunDirectory) -> None:
    found = states(run)
    some = table(run, found, 1)
    assert some.row_count == 1
    assert next(iter(some.columns[4].cells)).plain == "error"
    assert "and 3 more; --every prints them all" in some.caption.plain
