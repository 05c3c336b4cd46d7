"""Runs of several people as one: the figures stay, labels mean one thing, contradictions are named."""

from __future__ import annotations

import csv
import resource
import shutil
import tarfile
from pathlib import Path

import pytest

from diadbench.benchmark.records.store import RunDirectory
from diadbench.benchmark.sharing.merging import merge
from diadbench.benchmark.sharing.pack import pack
from diadbench.benchmark.sharing.verifying import verify
from diadbench.cli import main
from diadbench.common.errors import UserError
from tests.helpers.real_run import make_run

SETS = {"parts": ["nut", "bolt"]}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two runs on the same images: seeds 0 and 1 of one method in the first, 1 and 2 of two in the second."""
    place = tmp_path_factory.mktemp("merge")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DIADBENCH_CACHE", str(place / "cache"))
        for name, methods, seeds in (("first", ["One"], [0, 1]), ("second", ["One", "Two"], [1, 2])):
            make_run(place / name, methods=methods, datasets=SETS, seeds=seeds, images=6)
    return place


def changed(run: Path, cell: str) -> None:
    """Change one figure of a cell, as a faulty machine would."""
    path = run / "cells" / cell / "metrics.csv"
    rows = list(csv.reader(path.read_text(encoding="utf-8").splitlines()))
    place = rows[0].index("value")
    rows[1][place] = str(float(rows[1][place]) - 0.01)
    path.write_text("\n".join(",".join(row) for row in rows) + "\n", encoding="utf-8")


def test_cells_of_both_are_there_with_their_own_figures(place: Path, tmp_path: Path) -> None:
    packed = pack(place / "second", tmp_path / "second.tar.gz")
    made = merge([place / "first", packed], tmp_path / "both")
    keys = sorted((cell.method, cell.seed) for cell in made.run.cells())
    assert keys == [("One", 0), ("One", 1), ("One", 2), ("Two", 1), ("Two", 2)]
    assert {cell.state for cell in made.run.cells()} == {"done"}
    assert not made.run.left_over()
    for run in ("first", "second"):
        for cell in RunDirectory(place / run).cells():
            again = made.run.cell(cell.dataset, cell.method, cell.setting, cell.seed)
            assert again.metrics() == cell.metrics()
            assert again.identity == cell.identity
    assert made.notes == ["1 cell is in several runs, with the same figures or without; each is there once"]
    assert verify(made.run.path, {}).findings == []
    table = made.run.results()
    assert len(table["configuration"][table["method"] == "One"].unique()) == 1  # three seeds of one experiment


def test_reports_and_plans_work_on_it(place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = str(tmp_path / "both")
    assert main(["merge", str(place / "first"), str(place / "second"), "--out", out]) == 0
    assert "merged: " in capsys.readouterr().out
    assert main(["report", out, "--format", "csv"]) == 0
    assert main(["run", out, "--dry-run"]) == 0
    told = capsys.readouterr().out
    assert "Two" in told


def test_other_figures_of_one_cell_are_a_contradiction(place: Path, tmp_path: Path) -> None:
    other = shutil.copytree(place / "second", tmp_path / "other")
    changed(other, "parts/One/multi-class/seed1")
    with pytest.raises(UserError, match=r"same cell, other figures: parts / One / .* seed 1: i_auroc of nut is"):
        merge([place / "first", other], tmp_path / "both")
    assert not (tmp_path / "both").exists()


def test_other_things_under_one_label_get_the_runs_name(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DIADBENCH_CACHE", str(place / "cache"))
    make_run(tmp_path / "third", methods=["Zero", "One"], datasets=SETS, seeds=[0], images=6)  # another noise in One
    make_run(tmp_path / "fourth", methods=["One"], datasets=SETS, seeds=[0], images=8)  # other images
    made = merge([place / "first", tmp_path / "third", tmp_path / "fourth"], tmp_path / "all")
    labels = {(cell.dataset, cell.method) for cell in made.run.cells()}
    assert labels == {("parts", "One"), ("parts", "One (third)"), ("parts", "Zero"), ("parts (fourth)", "One")}
    assert any("method One is now One (third): method " in note for note in made.notes)
    assert any("data set parts is now parts (fourth): other data under one label" in note for note in made.notes)
    assert verify(made.run.path, {}).findings == []
    assert set(made.run.grid["methods"]) == {"One", "One (third)", "Zero"}


def test_what_cannot_be_merged_is_one_line(place: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="give two runs or more"):
        merge([place / "first", place / "first"], tmp_path / "both")
    with pytest.raises(UserError, match="exists; choose another"):
        merge([place / "first", place / "second"], tmp_path)
    for content, why in ((b"", "the file is empty"), (b"<html>not found</html>", "it is no tar archive")):
        (tmp_path / "pack.tar").write_bytes(content)
        with pytest.raises(UserError, match=f"can't be read as a pack of a run .{why}.$"):
            merge([place / "first", tmp_path / "pack.tar"], tmp_path / "both")
    old = shutil.copytree(place / "second", tmp_path / "old")
    (old / "plan.json").unlink()
    with pytest.raises(UserError, match=r"has no plan\.json"):
        merge([place / "first", old], tmp_path / "both")


def test_a_pack_that_leads_elsewhere_is_refused(place: Path, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to("/etc/passwd")
    archive = tmp_path / "evil.tar"
    with tarfile.open(archive, "w") as tar:
        tar.add(link, "run/grid.yaml")
    with pytest.raises(UserError, match="no plain file or folder inside the run"):
        merge([place / "first", archive], tmp_path / "both")
    archive.write_bytes(b"no archive")
    with pytest.raises(UserError, match="can't be read as a pack"):
        merge([place / "first", archive], tmp_path / "both")


def test_a_full_disk_is_one_line_that_names_what_was_written(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A limit of a file's size stands for the full disk: both fail in the middle, without a file's name."""
    runs = [str(place / "first"), str(place / "second")]
    commands = {"both": ["merge", *runs], "run.tar": ["pack", runs[0]], "report/results.csv": ["report", runs[0]]}
    for name, command in commands.items():
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        out = tmp_path / name if command[0] != "report" else tmp_path / "report"
        try:
            resource.setrlimit(resource.RLIMIT_FSIZE, (2000, before[1]))
            assert main([*command, "--out", str(out)]) == 2
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
        assert capsys.readouterr().err == f"diadbench: {tmp_path / name}: File too large\n"
        assert [path.name for path in tmp_path.rglob("*") if path.name != "figures"] in ([], ["report"])
