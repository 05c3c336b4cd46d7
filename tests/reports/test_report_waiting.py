"""What has no figure says why: a cell that waits, seeds that ended in several ways, data that aren't there."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import yaml

from diadbench.benchmark.planning.grid import parse_grid
from diadbench.benchmark.records.store import RunDirectory
from diadbench.benchmark.runs.runner import run_grid
from diadbench.cli import main
from diadbench.reports import build
from diadbench.reports.tables.escape import without_folders
from diadbench.reports.tables.rows.pair_notes import notes
from diadbench.reports.tables.rows.unfinished_rows import waiting
from diadbench.reports.tables.source import Source
from tests.helpers.real_run import InProcess, make_run, write_images


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    """One method on three data sets, of which one isn't there; another that has two of nine cells, one failed."""
    place = tmp_path_factory.mktemp("waits")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DIADBENCH_CACHE", str(place / "cache"))
        ends = {("one", "B", 1): {"raises": "boom"}}
        made = make_run(place / "run", methods=["A", "B"], datasets={"one": ["nut"]}, seeds=[0, 1], ends=ends, images=4)
        raw = yaml.safe_load((made.path / "grid.yaml").read_text(encoding="utf-8"))
        write_images(place / "more", ["bolt"], 4)
        raw["datasets"]["two"] = {"dataset": "folder", "root": str(place / "more")}
        raw["datasets"]["gone"] = {"dataset": "visa", "root": str(place / "my_own" / "VisA")}
        raw["methods"]["C"] = raw["methods"]["A"]
        wider = parse_grid({**raw, "seeds": [0, 1, 2]})
        run_grid(wider, made.path, engine=InProcess(), quiet=True, only=["A"], skip_missing=True)
    return RunDirectory(made.path)


def test_every_place_without_a_figure_says_why(run: RunDirectory) -> None:
    source = Source.load(run.path)
    table = source.cut(rows=["dataset", "method"], columns=["metric"], metrics=["i_auroc"])
    notes, found = dict(table.notes), {}
    for (dataset, method), (entry,) in zip(table.rows, table.entries):
        marks = [*dataset.marks, *method.marks, *entry.marks]
        found[dataset.text, method.text] = entry.text, {notes["abcdefgh"[mark - 1]] for mark in marks}
    gone = {text for (dataset, method), (text, _) in found.items() if dataset == "gone"}
    assert gone == {"–"}
    assert found["two", "B"] == ("–", {"no result yet: waiting"})
    assert found["one", "B"][1] == {"1 of 3 seeds; the rest: 1 error: boom / 1 waiting"}
    assert len(found) == 6, found  # C has not begun anywhere: it is in no table
    assert waiting(source.raw, source.results, source.runs) == 1 + 3 + 3 + 9


def test_seeds_that_wait_in_another_run_are_told(run: RunDirectory, tmp_path: Path) -> None:
    """Two runs of one experiment: the second one's own seed waits, and the cells that both have count once."""
    other = shutil.copytree(run.path, tmp_path / "other")
    half = shutil.copytree(run.path, tmp_path / "half")
    for path, seeds in ((other / "cells", (0, 1, 2)), (half / "cells", (2,))):
        for name in ["two", "gone", "one/B", *(f"one/A/multi-class/seed{seed}" for seed in seeds)]:
            shutil.rmtree(path / name, ignore_errors=True)
    shutil.copytree(run.path / "cells/one/B/multi-class/seed0", other / "cells/one/B/multi-class/seed0")
    source = Source.load([half, other])
    found = notes(source.results)
    assert found["one", "A"] == ["2 of 3 seeds; the rest: waiting"]


def test_a_paper_names_no_folder_of_this_machine(run: RunDirectory, tmp_path: Path) -> None:
    build(run.path, ["latex", "markdown", "csv"], tmp_path / "paper")
    texts = [path.read_text(encoding="utf-8") for path in (tmp_path / "paper" / "tables").iterdir()]
    assert any("VisA is not a directory" in text for text in texts)
    assert not any("my_own" in text or r"my\_own" in text for text in texts)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("'/home/me/my data/VisA' is no directory", "'VisA' is no directory"),
        ("weights ~/w.pt, /data/x.pt; (/srv/list.csv)", "weights w.pt, x.pt; (list.csv)"),
        ("https://github.com/a/b, and/or, 3/4, 1 / 255", "https://github.com/a/b, and/or, 3/4, 1 / 255"),
    ],
)
def test_folders_are_left_out(text: str, shown: str) -> None:
    assert without_folders(text) == shown


def test_published_figures_of_a_dataset_that_nobody_knows_are_told(
    run: RunDirectory, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "rows.csv").write_text("source,method,dataset,i_auroc\nX,A,two,98\nX,A,VisA,97\nX,A,mvtec-add,96\n")
    path = shutil.copytree(run.path, tmp_path / "copy")
    assert main(["published", "add", str(tmp_path / "rows.csv"), "--run", str(path)]) == 0
    assert capsys.readouterr().err.startswith("warning: no dataset 'mvtec-add' is known; did you mean MVTec AD")
