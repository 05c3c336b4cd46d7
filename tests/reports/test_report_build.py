"""The whole report of a run: every artefact is there and agrees with results.csv."""

from __future__ import annotations

import contextlib
import os
import signal
from pathlib import Path

import pandas as pd
import pytest
from openpyxl import load_workbook

from diadbench.reports import aggregate, load_results, prepare


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


def test_several_processes_draw_what_one_draws(
    demo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, report: dict[str, Path]
) -> None:
    from diadbench.reports.figures import share
    from diadbench.reports.tables.source import Source

    monkeypatch.setattr(share, "MANY", 1)
    monkeypatch.setattr("os.sched_getaffinity", lambda process: {0, 1})
    with share.Drawing(Source.load(demo), tmp_path) as drawing:
        found = drawing.finish()
    files = {path.name: path.read_bytes() for drawn in found.values() for path in drawn.files}
    alone = {
        path.name: path.read_bytes()
        for name, path in report.items()
        if name.startswith("figures/") and name != "figures/captions.txt"
    }
    assert [name for name in alone if files.get(name) != alone[name]] == []
    assert len(files) == len(alone)


def test_what_a_killed_process_leaves_is_drawn_here(
    demo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, report: dict[str, Path]
) -> None:
    from diadbench.reports.figures import share
    from diadbench.reports.tables.source import Source

    monkeypatch.setattr(share, "MANY", 1)
    monkeypatch.setattr("os.sched_getaffinity", lambda process: {0, 1})
    with share.Drawing(Source.load(demo), tmp_path) as drawing:
        assert drawing._pool is not None
        drawing._asked[0].result()  # the processes are at work
        processes = list(drawing._pool._processes.values())
        assert processes
        for process in processes:
            os.kill(process.pid, signal.SIGKILL)
        found = drawing.finish()
    assert {path.name for drawn in found.values() for path in drawn.files} == {
        path.name for path in report.values() if path.suffix in (".pdf", ".png")
    }


def test_no_process_goes_on_when_the_report_is_interrupted(
    demo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from diadbench.reports.figures import share
    from diadbench.reports.tables.source import Source

    monkeypatch.setattr(share, "MANY", 1)
    monkeypatch.setattr("os.sched_getaffinity", lambda process: {0, 1})
    with contextlib.suppress(KeyboardInterrupt), share.Drawing(Source.load(demo), tmp_path) as drawing:
        assert drawing._pool is not None
        drawing._asked[0].result()
        processes = list(drawing._pool._processes.values())
        raise KeyboardInterrupt
    assert processes
    assert not any(process.is_alive() for process in processes)
