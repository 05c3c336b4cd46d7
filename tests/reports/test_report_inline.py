"""The Python interface: what it returns shows itself, and overrides work for every kind of grid."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

import diadbench
from diadbench.benchmark.planning.grid import load_grid, parse_grid, with_overrides
from diadbench.benchmark.runs import watch
from diadbench.common.errors import UserError
from diadbench.reports import cut, load_results, prepare
from diadbench.reports.inline import summary

PLAIN: dict[str, Any] = {"name": "g", "methods": ["pixel-knn"], "datasets": ["toy"]}


@pytest.fixture(scope="module")
def run(make_run: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> diadbench.Run:
    path = tmp_path_factory.mktemp("inline") / "run"
    make_run(
        path,
        methods=["DiAD", "UniAD", "<b>&x"],
        datasets={"toy": ["a", "b"], "other": ["c"]},
        seeds=[0, 1],
        images=8,
        ends={("other", "UniAD", 1): {"raises": "it <broke>"}},
    )
    return diadbench.open_run(path)


def test_dir_shows_the_interface() -> None:
    assert {"run", "open_run", "table", "compare", "figure", "report", "load_results", "evaluate"} <= set(
        dir(diadbench)
    )
    assert all(hasattr(diadbench, name) for name in diadbench.__all__)


def test_a_run_shows_how_its_cells_ended(run: diadbench.Run) -> None:
    assert len(run.states) == 12
    assert [key for key, state in run.states.items() if state != "done"] == [("other", "UniAD", "multi-class", 1)]
    shown = run._repr_html_()
    assert "<td>done</td><td>11</td>" in shown
    assert "it &lt;broke&gt;" in shown
    assert "<broke>" not in shown


def test_runs_and_tables_are_readable_without_html(run: diadbench.Run) -> None:
    assert repr(run) == f"Run({str(run.path)!r}: 11 done, 1 error)"
    shown = repr(run.table(metrics=["i_auroc"]))
    assert shown.count("DiAD") == 1
    assert "mAU-ROC_I" in shown
    assert "Head(" not in shown
    assert "bold" not in shown, "plain text has none"
    assert repr(run.table(rows="class,method")) == repr(run.table(rows=["class", "method"]))


def test_a_cell_without_a_reason_is_told_without_one(run: diadbench.Run) -> None:
    key = next(iter(run.states))
    shown = summary({**run.states, key: "waiting"}, run.path, {key: ""})
    assert f"{' / '.join(map(str, key))}: waiting<" in shown


def test_tables_and_comparisons_show_themselves(run: diadbench.Run) -> None:
    table = run.table(metrics=["i_auroc"], ours=["UniAD"], names={"DiAD": "First"}, digits=2)
    shown = table._repr_html_()
    assert shown.startswith("<table>")
    assert "<mark>UniAD</mark>" in shown
    assert "&lt;b&gt;&amp;x" in shown
    assert "<b>&x" not in shown
    assert all(entry.text in shown for line in table.entries for entry in line)
    assert 'colspan="1"' in shown
    frame = prepare(load_results(run.path))
    assert "<table>" in cut(frame, rows=["method"], columns=["dataset"], metrics=["i_auroc"])._repr_html_()
    compared = run.compare(metrics=["i_auroc", "mad"], baseline="UniAD")
    assert set(compared["baseline"]) == {"UniAD"}
    shown = compared._repr_html_()
    assert shown.count("<tr>") == 1 + 3 + len(compared)  # heads, two datasets and all of them, a line each
    assert shown.count("? too few classes") == 1
    assert type(compared[compared["metric"] == "mad"]).__name__ != "Versus" or "<table" in compared.head()._repr_html_()
    assert "<table" in compared[["method", "difference"]]._repr_html_()


def test_several_runs_are_paths_or_runs_one_after_the_other_or_a_list(run: diadbench.Run) -> None:
    given = [(run,), (str(run.path),), ([run.path],), ([run, str(run.path)],), (run, run.path)]
    tables = {repr(diadbench.table(*runs, metrics=["i_auroc"])) for runs in given}
    assert len(tables) == 1, "a run that is given twice counts once"


def test_figures_show_themselves_and_are_saved(run: diadbench.Run, tmp_path: Path) -> None:
    figures = run.figure("heatmap", metric="p_ap", dataset="other")
    assert list(figures) == ["heatmap_p_ap_other"]
    assert "data:image/png;base64," in figures._repr_html_()
    assert repr(figures) == "heatmap_p_ap_other: other: AP_P by class (%)."
    assert [path.name for path in figures.save(tmp_path)] == ["heatmap_p_ap_other.pdf", "heatmap_p_ap_other.png"]
    assert next(iter(run.figure("bars"))) == "bars_i_auroc"
    assert "image of each class" in repr(run.figure("qualitative", dataset="toy"))


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        ({"kind": "bar"}, "did you mean bars"),
        ({"kind": "ranks", "dataset": "toy"}, "ranks: it has no dataset"),
        ({"kind": "curves", "metric": "i_ap"}, "curves: it has no metric"),
        ({"kind": "bars", "metric": "i_aurok"}, "did you mean i_auroc"),
        ({"kind": "pareto", "dataset": "toi"}, "did you mean toy"),
        ({"kind": "training"}, "don't have what it shows"),
    ],
)
def test_a_figure_that_is_not_there_is_refused(run: diadbench.Run, wanted: dict[str, str], said: str) -> None:
    with pytest.raises(UserError, match=said):
        run.figure(**wanted)


def test_a_report_shows_its_files(run: diadbench.Run, tmp_path: Path) -> None:
    report = run.report(formats=["csv"], out=tmp_path)
    assert report["results.csv"].is_file()
    assert str(report["results.csv"]) in report._repr_html_()


def test_overrides_work_for_every_kind_of_grid(tmp_path: Path) -> None:
    changes = {"seeds": [0, 1], "methods.pixel-knn.options.size": 16, "methods.mean-image": None}
    file = tmp_path / "g.yaml"
    file.write_text(yaml.safe_dump(PLAIN))
    grids = [with_overrides(PLAIN, changes), with_overrides(parse_grid(PLAIN), changes), load_grid(file, changes)]
    for grid in grids:
        assert grid.seeds == [0, 1]
        assert list(grid.methods) == ["pixel-knn", "mean-image"]
        assert grid.methods["pixel-knn"].options == {"size": 16}
    assert grids[0] == grids[1] == grids[2]
    assert PLAIN == {"name": "g", "methods": ["pixel-knn"], "datasets": ["toy"]}
    preset = parse_grid({**PLAIN, "methods": ["padim-lite"]})
    changed = with_overrides(preset, {"methods.padim-lite.options.n_features": 50})
    expected = {**preset.methods["padim-lite"].options, "n_features": 50}
    assert changed.methods["padim-lite"] == dataclasses.replace(preset.methods["padim-lite"], options=expected)
    with pytest.raises(UserError, match="did you mean seeds"):
        with_overrides(parse_grid(PLAIN), {"seds": [1]})


def test_jobs_engine_and_budget_are_arguments(tmp_path: Path) -> None:
    grid = {**PLAIN, "methods": ["mean-image"], "image_size": 32}
    grid["datasets"] = {"toy": {"options": {"size": 32, "train": 2, "test_good": 1, "test_bad": 1}}}
    with pytest.raises(UserError, match="jobs"):
        diadbench.run(grid, tmp_path / "run", jobs=0)
    with pytest.raises(UserError, match="engine"):
        diadbench.run(parse_grid(grid), tmp_path / "run", engine="nowhere")
    with pytest.raises(UserError, match="tomorrow"):
        diadbench.run(grid, tmp_path / "run", budget="tomorrow", quiet=True)


def test_a_notebook_sees_one_line_that_changes(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], run: diadbench.Run
) -> None:
    class ZMQInteractiveShell:
        """What IPython calls the shell of a notebook."""

    assert not watch.in_notebook()
    monkeypatch.setattr("builtins.get_ipython", ZMQInteractiveShell, raising=False)
    records = [run.directory.as_wanted(key) for key in list(run.states)[:2]]
    with watch.Watch() as shown:
        shown.step(1, 2, "reading toy")
        shown.start(2, 0, run.path)
        shown.look(records)
        shown.ended(records[0])
    said = capsys.readouterr()
    assert said.err == ""
    assert "0/2 cells; toy / DiAD / seed 0: " in said.out
    assert said.out.count("\n") == 2  # what is run, and how it ended; all else is written over
    assert said.out.rstrip("\n").rsplit("\r", 1)[-1].strip() == "1 of 2 cells have ended"
    assert "ipywidgets" not in sys.modules
