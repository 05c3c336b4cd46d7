"""The whole report of a run: every artefact is there and agrees with results.csv."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from openpyxl import load_workbook

from diadbench.reports import aggregate, load_results, prepare
from diadbench.reports.figures import share
from diadbench.reports.figures.draw import Drawn
from diadbench.reports.tables.source import Source


def test_every_artefact_exists(report: dict[str, Path]) -> None:
    for name in ("results.xlsx", "results.csv", "main.tex", "macros.tex", "references.bib", "index.html"):
        assert report[name].stat().st_size > 100, name
    endings = {Path(name).suffix for name in report}
    assert {".xlsx", ".csv", ".md", ".tex", ".bib", ".pdf", ".png", ".html"} <= endings
    for kind in ("bars", "heatmap", "pareto", "curves", "ranks", "histograms", "training", "qualitative"):
        assert any(name.startswith(f"figures/{kind}") and name.endswith(".pdf") for name in report), kind


def test_the_workbook_agrees_with_the_results(report: dict[str, Path], demo: Path) -> None:
    means = aggregate(prepare(load_results(demo)))
    means = means[means["scope"] == "mean"].set_index(["dataset", "method", "metric"])["value"]
    sheet = load_workbook(report["results.xlsx"])["Seeds"]
    names = {"mAU-ROC_I": "i_auroc", "mAP_P": "p_ap", "mAU-PRO_R": "aupro", "mAD": "mad"}
    seen = 0
    for row in sheet.iter_rows(min_row=4, values_only=True):
        if row[2] in names and row[0]:
            expected = means[row[0], row[1], names[row[2]]]
            if pd.isna(expected):
                assert row[3] == "–"
            else:
                assert isinstance(row[3], (int, float))
                assert row[3] == pytest.approx(100 * expected, abs=1e-6)
            seen += 1
    assert seen == 5 * 3 * 4


@pytest.fixture(scope="module")
def few(make_run: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> Source:
    """A run of few figures of each kind, with what is hard to send: no masks, a cell without a result, a note."""
    run = make_run(
        tmp_path_factory.mktemp("few") / "run",
        methods=("DiAD", "UniAD", "padim"),
        datasets={"visa": ["candle", "cashew"], "elpv": ["mono"]},
        seeds=(0, 1),
        without_masks=["elpv"],
        ends={("visa", "padim", 1): {"exhausts": "out of memory: 12.1 GiB asked for"}},
        notes={"DiAD": "procedural images"},
        trains="UniAD",
        images=8,
    )
    return Source.load(run.path)


@pytest.fixture
def _two_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let other processes draw, however few figures there are."""
    monkeypatch.setattr(share, "MANY", 1)
    monkeypatch.setattr("os.sched_getaffinity", lambda process: {0, 1})


@pytest.fixture(scope="module")
def alone(few: Source, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Return the bytes of all figures, drawn by one process."""
    with share.Drawing(few, tmp_path_factory.mktemp("alone")) as drawing:
        assert drawing._pool is None
        return contents(drawing.finish())


def contents(found: dict[str, Drawn]) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for drawn in found.values() for path in drawn.files}


@pytest.mark.usefixtures("_two_cores")
def test_several_processes_draw_what_one_draws(few: Source, alone: dict[str, bytes], tmp_path: Path) -> None:
    for kind in ("bars", "heatmap", "pareto", "curves", "ranks", "histograms", "training", "qualitative"):
        assert any(name.startswith(kind) for name in alone), kind
    with share.Drawing(few, tmp_path) as drawing:
        assert drawing._pool is not None
        files = contents(drawing.finish())
    assert [name for name in alone if files.get(name) != alone[name]] == []
    assert len(files) == len(alone)


@pytest.mark.usefixtures("_two_cores")
def test_what_a_killed_process_leaves_is_drawn_here(few: Source, alone: dict[str, bytes], tmp_path: Path) -> None:
    with share.Drawing(few, tmp_path) as drawing:
        assert drawing._pool is not None
        drawing._asked[0].result()  # the processes are at work
        processes = list(drawing._pool._processes.values())
        assert processes
        for process in processes:
            os.kill(process.pid, signal.SIGKILL)
        found = drawing.finish()
    assert contents(found).keys() == alone.keys()


@pytest.mark.usefixtures("_two_cores")
def test_no_process_goes_on_when_the_report_is_interrupted(few: Source, tmp_path: Path) -> None:
    with contextlib.suppress(KeyboardInterrupt), share.Drawing(few, tmp_path) as drawing:
        assert drawing._pool is not None
        drawing._asked[0].result()
        processes = list(drawing._pool._processes.values())
        raise KeyboardInterrupt
    assert processes
    assert not any(process.is_alive() for process in processes)
