"""One row of a table is one experiment: what differs in more than its seed stands apart, in every format."""

from __future__ import annotations

import csv
import json
import re
import shutil
import statistics
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from openpyxl import load_workbook

from diadbench.benchmark.records.store import CellRecord, RunDirectory, load_results
from diadbench.cli import main
from diadbench.common.errors import UserError
from diadbench.reports import aggregate, build, cut, prepare, to_csv, to_latex, to_markdown, versus
from diadbench.reports.page.html import page_context
from diadbench.reports.tables.source import Source
from diadbench.reports.tables.stats import holm, smallest_after_holm, smallest_p

Run = Callable[..., RunDirectory]


def shown(*paths: Path, metric: str = "p_auroc") -> dict[tuple[str, str], tuple[str, str, int]]:
    """Return ``{(dataset, method): (value, spread, seeds)}`` as a table prints them."""
    results = Source.load(paths).results
    table = cut(results, rows=["dataset", "method"], columns=["metric"], metrics=[metric])
    return {
        (row[0].text, row[1].text): (entry.text, entry.spread, entry.seeds)
        for row, (entry,) in zip(table.rows, table.entries)
    }


def hand(run: RunDirectory, *seeds: int, name: str = "mean", scope: str = "mean") -> tuple[str, str, int]:
    """Return the same of one class or the mean from the cells' files alone."""
    values = []
    for seed in seeds:
        with open(run.cell("parts", "noisy", "multi-class", seed).directory / "metrics.csv", newline="") as file:
            rows = [row for row in csv.DictReader(file) if (row["class"], row["scope"]) == (name, scope)]
        values += [100 * float(row["value"]) for row in rows if row["metric"] == "p_auroc"]
    spread = f"{statistics.stdev(values):.1f}" if len(values) > 1 else ""
    return f"{statistics.fmean(values):.1f}", spread, len(values)


def notes(*paths: Path) -> str:
    return to_markdown(cut(Source.load(paths).results, rows=["dataset", "method"], columns=["metric"]))


# -- what may stand in one row, and what may not ------------------------------------------------------------


def test_a_changed_option_stands_apart_also_in_runs_of_one_last_name(run: Run, tmp_path: Path) -> None:
    one = run(tmp_path / "before" / "g", seeds=(0, 1), options={"noise": 0.4})
    other = run(tmp_path / "after" / "g", seeds=(0, 2), options={"noise": 0.9})
    assert shown(one.path, other.path) == {
        ("parts", "Noisy (noise=0.4)"): hand(one, 0, 1),
        ("parts", "Noisy (noise=0.9)"): hand(other, 0, 2),
    }
    assert set(load_results([one.path, other.path])["run"]) == {"before/g", "after/g"}


def test_seeds_of_one_experiment_make_one_row_in_whatever_run_they_are(run: Run, tmp_path: Path) -> None:
    one, other = run(tmp_path / "before" / "g", seeds=(0, 1)), run(tmp_path / "after" / "g", seeds=(2,))
    ((value, _, seeds),) = shown(one.path, other.path).values()
    means = [float(hand(run, seed)[0]) for run, seed in ((one, 0), (one, 1), (other, 2))]
    assert seeds == 3
    assert float(value) == pytest.approx(statistics.fmean(means), abs=0.06)


def test_an_option_changed_between_seeds_of_one_run_directory(run: Run, tmp_path: Path) -> None:
    run(tmp_path / "g", seeds=(0,), options={"noise": 0.4})
    second = run(tmp_path / "g", seeds=(1,), options={"noise": 0.9})
    assert shown(second.path) == {("parts", "Noisy"): hand(second, 1)}  # the other cell is not in the grid any more


def test_a_directory_without_a_plan_keeps_experiments_of_two_seeds_apart(run: Run, tmp_path: Path) -> None:
    first = run(tmp_path / "g", seeds=(0,), options={"noise": 0.4})
    place = Path("cells/parts/noisy/multi-class/seed0")
    old = shutil.copytree(first.path / place, tmp_path / "old")
    second = run(tmp_path / "g", seeds=(1,), options={"noise": 0.9})
    shutil.rmtree(second.path / place, ignore_errors=True)
    shutil.copytree(old, second.path / place)
    (second.path / "plan.json").unlink()  # as an earlier version left it
    found = shown(second.path)
    assert all(seeds == 1 for _, _, seeds in found.values())  # never "± over 2 seeds"
    assert found["parts", "Noisy (noise=0.9)"] == hand(second, 1)


@pytest.mark.parametrize("way", ["twice", "link", "copy", "other spelling"])
def test_a_run_given_again_counts_once(run: Run, tmp_path: Path, way: str) -> None:
    one = run(tmp_path / "g", seeds=(0, 1))
    again = {"twice": one.path, "link": tmp_path / "latest", "copy": tmp_path / "copy" / "g",
             "other spelling": one.path / ".." / "g"}[way]  # fmt: skip
    if way == "link":
        again.symlink_to(one.path, target_is_directory=True)
    if way == "copy":
        shutil.copytree(one.path, again)
    assert shown(one.path, again) == shown(again, one.path) == {("parts", "Noisy"): hand(one, 0, 1)}
    mean = aggregate(load_results([one.path, again]))
    assert set(mean["seeds"]) <= {1, 2}
    assert len(Source.load([one.path, again]).runs) == (2 if way == "copy" else 1)


def test_other_data_stand_apart_and_are_not_ranked_together(run: Run, tmp_path: Path, other_data: Path) -> None:
    one, other = run(tmp_path / "a", seeds=(0, 1)), run(tmp_path / "b", seeds=(0, 1), root=other_data)
    found = shown(one.path, other.path)
    assert sorted(found.values()) == sorted([hand(one, 0, 1), hand(other, 0, 1)])
    assert all(re.fullmatch(r"parts \(data [0-9a-f]{8}\)", dataset) for dataset, _ in found)
    table = cut(Source.load([one.path, other.path]).results, rows=["dataset", "method"], columns=["metric"])
    assert {entry.rank for entries in table.entries for entry in entries} == {0}


def test_a_mean_over_some_of_the_classes_is_never_best(run: Run, tmp_path: Path) -> None:
    one = run(tmp_path / "a", seeds=(0,), methods=None)
    part = run(tmp_path / "b", seeds=(0,), data_options={"classes": ["bolt"]})
    assert shown(one.path, part.path) == {
        ("parts", "Noisy"): hand(one, 0),
        ("parts (classes=bolt)", "Noisy"): hand(part, 0),
    }
    text = notes(one.path, part.path)
    assert "mean over 1 class of 3: bolt" in text
    assert "**9" not in text
    assert "<u>" not in text


def test_methods_with_other_sets_of_classes_are_not_ranked_together(run: Run, tmp_path: Path, method: str) -> None:
    """The same where nothing tells the data apart, as in a frame from elsewhere."""
    entries = {name: {"method": method, "options": {"noise": noise}} for name, noise in (("a", 0.2), ("b", 0.9))}
    raw = load_results(run(tmp_path / "g", methods=entries).path).drop(columns=["path", "configuration"])
    raw = raw[(raw["method"] == "a") | (raw["class"] != "nut")]
    table = cut(prepare(raw), rows=["method"], metrics=["p_auroc"])
    assert [entries[0].rank for entries in table.entries] == [0, 0]
    assert [text for _, text in table.notes] == ["mean over 2 classes of 3: bolt, mean (class)"]
    by_class = cut(prepare(raw), rows=["method"], columns=["class"], metrics=["p_auroc"])
    assert [entry.rank for entry in by_class.entries[0]] == [1, 1, 0, 0]  # bolt and mean (class); one value; means
    compared = versus(prepare(raw), "a", metrics=["p_auroc"]).iloc[0]
    assert (compared["pairs"], compared["classes"]) == (2, 3)
    assert compared["verdict"].endswith("Only 2 of 3 classes have a value of both.")


@pytest.mark.parametrize("key", ["threads", "image_size", "resize"])
def test_what_else_decides_a_result_stands_apart(run: Run, tmp_path: Path, key: str) -> None:
    values = {"threads": (1, 2), "image_size": (32, 48), "resize": ("bilinear", "bicubic")}[key]
    one, other = (run(tmp_path / str(value), seeds=(seed,), **{key: value}) for seed, value in enumerate(values))
    decides = one.cell("parts", "noisy", "multi-class", 0).decides
    if key not in decides:
        pytest.skip(f"{key} isn't among what decides a cell of this version")
    found = shown(one.path, other.path)
    assert sorted(found.values()) == sorted([hand(one, 0), hand(other, 1)])
    assert len({name for pair in found for name in pair if re.search(r"\(.*\b(48|bicubic|threads=2)", name)}) == 1


# -- a cell with two results --------------------------------------------------------------------------------


def test_one_cell_with_two_results_is_named_as_a_contradiction(run: Run, tmp_path: Path) -> None:
    one = run(tmp_path / "before" / "g", seeds=(0, 1))
    other = RunDirectory(shutil.copytree(one.path, tmp_path / "after" / "g"))
    path = other.cell("parts", "noisy", "multi-class", 1).directory / "metrics.csv"
    table = pd.read_csv(path)
    at = (table["class"] == "bolt") & (table["metric"] == "p_auroc")
    before, after = float(table.loc[at, "value"].iloc[0]), 0.123456789
    table.loc[at, "value"] = after
    table.to_csv(path, index=False)
    found = shown(one.path, other.path)
    assert set(found) == {("parts", "Noisy @ before/g"), ("parts", "Noisy @ after/g")}
    said = f"p_auroc of bolt at seed 1 is {before!r} in before/g and {after!r} in after/g"
    assert said in notes(one.path, other.path).replace("\\_", "_")
    problems = Source.load([one.path, other.path]).problems
    assert [problem for problem in problems["problem"] if said in problem]
    with pytest.raises(UserError, match=r"one cell, two results: p_auroc of bolt at seed 1"):
        aggregate(load_results([one.path, other.path]))


# -- the whole report ---------------------------------------------------------------------------------------


def test_every_format_keeps_a_class_called_mean_from_the_mean(run: Run, tmp_path: Path) -> None:
    one = run(tmp_path / "g", seeds=(0, 1))
    source = Source.load(one.path)
    expected = {"mean": hand(one, 0, 1)[0]} | {
        printed: hand(one, 0, 1, name=name, scope="class")[0]
        for printed, name in (("bolt", "bolt"), ("mean (class)", "mean"), ("nut", "nut"))
    }
    assert len(set(expected.values())) == 4
    table = cut(source.results, rows=["class"], metrics=["p_auroc"], columns=["method"])
    for text in (to_markdown(table), to_csv(table), to_latex(table)):
        for name, value in expected.items():
            assert re.search(rf"^\W*{re.escape(name)} ?\W+{re.escape(value)}", text, re.MULTILINE), (name, text)
    written = build(one.path, ["xlsx", "latex"], tmp_path / "report")
    lines = list(load_workbook(written["results.xlsx"])["parts"].iter_rows(min_row=4, values_only=True))
    line = next(line for line in lines if line[0] == "AU-ROC_P")
    assert {name: f"{value:.1f}" for name, value in zip(lines[0][3:], line[3:])} == expected
    assert rf"\newcommand{{\noisyPartsPAuroc}}{{{expected['mean']}}}" in written["macros.tex"].read_text()
    block = page_context(source, pd.DataFrame(), pd.DataFrame())["data"]["classes"][0]
    entries = block["values"]["p_auroc"][0]["entries"]
    assert {name: entry[0] for name, entry in zip(block["classes"], entries)} == expected


def test_a_report_of_runs_that_differ_is_made_and_says_what_each_row_is(
    run: Run, tmp_path: Path, method: str, other_data: Path
) -> None:
    """Two last names alike, other options, other classes, other data, more methods than judge the pictures."""
    many = {f"m{n}": {"method": method, "options": {"noise": 0.1 * n}} for n in range(1, 10)}
    runs = [
        run(tmp_path / "before" / "g", seeds=(0, 1)),
        run(tmp_path / "after" / "g", seeds=(0, 1), options={"noise": 0.9}),
        run(tmp_path / "many", methods=many),
        run(tmp_path / "bolt", data_options={"classes": ["bolt"]}),
        run(tmp_path / "other", root=other_data),
    ]
    paths = [found.path for found in runs]
    written = build(paths, ["xlsx", "latex", "markdown", "csv"], tmp_path / "report")
    book = load_workbook(written["results.xlsx"])
    seeds = [line[:6] for line in book["Seeds"].iter_rows(min_row=4, values_only=True) if line[2] == "mAU-ROC_P"]
    by_row = {line[:2]: (f"{line[3]:.1f}", line[5]) for line in seeds}
    data = next(dataset for dataset, name in by_row if name == "Noisy (noise=0.9)")
    assert by_row[data, "Noisy (noise=0.9)"] == (hand(runs[1], 0, 1)[0], 2)
    assert by_row[data, "Noisy (noise=0.5)"] == (hand(runs[0], 0, 1)[0], 2)
    assert by_row["parts (classes=bolt)", "Noisy (noise=0.5)"] == (hand(runs[3], 0)[0], 1)
    assert len(by_row) == 2 + 9 + 1 + 1
    names = {line[0] for line in book["Provenance"].iter_rows(values_only=True)}
    assert {"Run before/g", "Run after/g", "Run many", "Run bolt", "Run other"} <= names
    macros = re.findall(r"newcommand\{\\(\w+)\}", written["macros.tex"].read_text())
    assert len(macros) == len(set(macros))
    source = Source.load(paths)
    page = page_context(source, versus(source.results), pd.DataFrame())
    assert len(page["summary"]["rows"]) == len(by_row)
    assert {cell["method"]: len(cell["seeds"]) for cell in page["data"]["cells"].values() if cell["d"] == 0}[
        "Noisy (noise=0.9)"
    ] == 2
    for cell in page["data"]["cells"].values():  # each picture is of a class that the row has
        classes = page["data"]["classes"][cell["d"]]["classes"]
        assert {"mean": "mean (class)"}.get(cell["shots"][0]["kind"], cell["shots"][0]["kind"]) in classes


def test_the_command_line_prints_rows_apart(run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one = run(tmp_path / "before" / "g", seeds=(0,), options={"noise": 0.4})
    other = run(tmp_path / "after" / "g", seeds=(1,), data_options={"classes": ["bolt"]}, options={"noise": 0.4})
    assert main(["table", str(one.path), str(other.path), "--metrics", "p_auroc"]) == 0
    text = capsys.readouterr().out
    assert "±" not in re.sub(r"Mean ±.*", "", text)
    for part in ("parts (classes=bolt)", hand(one, 0)[0], hand(other, 1)[0], "mean over 1 class of 3: bolt"):
        assert part in text, part  # whole: nothing is cut where the output is no terminal


def test_cells_that_are_gone_are_not_reported(run: Run, tmp_path: Path) -> None:
    one = run(tmp_path / "g", seeds=(0, 1))
    assert shown(one.path) == {("parts", "Noisy"): hand(one, 0, 1)}
    shutil.rmtree(one.cell("parts", "noisy", "multi-class", 1).directory)
    assert shown(one.path) == {("parts", "Noisy"): hand(one, 0)}


# -- runs of earlier versions -------------------------------------------------------------------------------


def as_before(record: CellRecord, method: str | None = None) -> None:
    """Take from a cell what earlier versions didn't keep."""
    for name, read, write in (("status.json", json.loads, json.dumps), ("cell.yaml", yaml.safe_load, yaml.safe_dump)):
        values = read((record.directory / name).read_text())
        values.pop("decides", None)
        values.pop("configuration", None)
        if method and name == "cell.yaml":
            values["method"] = method
        (record.directory / name).write_text(write(values))


@pytest.mark.parametrize("registered", [False, True])
def test_cells_of_earlier_versions_are_grouped_by_what_they_kept(run: Run, tmp_path: Path, registered: bool) -> None:
    one = run(tmp_path / "before" / "g", seeds=(0, 1), options={"noise": 0.4})
    other = run(tmp_path / "after" / "g", seeds=(2,), options={"noise": 0.9})
    third = run(tmp_path / "third" / "g", seeds=(3,), options={"noise": 0.4})
    for found in (one, other, third):
        for record in found.cells():
            as_before(record, "pixel_knn" if registered else None)
    assert shown(one.path) == {("parts", "Noisy"): hand(one, 0, 1)}
    assert shown(one.path, other.path) == {
        ("parts", "Noisy (noise=0.4)"): hand(one, 0, 1),
        ("parts", "Noisy (noise=0.9)"): hand(other, 2),
    }
    said = "which didn't keep whether the code was the same for all seeds"
    assert (said in notes(one.path)) is not registered
    rows = shown(one.path, third.path)
    if registered:  # the name of the method decided its code
        assert [seeds for _, _, seeds in rows.values()] == [3]
    else:
        assert rows == {("parts", "Noisy @ before/g"): hand(one, 0, 1), ("parts", "Noisy @ third/g"): hand(third, 3)}


def test_a_cell_of_an_earlier_version_beside_one_of_this(run: Run, tmp_path: Path) -> None:
    one, other = run(tmp_path / "a", seeds=(0,)), run(tmp_path / "b", seeds=(1,))
    for record in one.cells():
        as_before(record)
    found = shown(one.path, other.path)
    assert sorted(found.values()) == sorted([hand(one, 0), hand(other, 1)])


def test_other_evaluation_sizes_stand_apart(run: Run, tmp_path: Path) -> None:
    one, other = run(tmp_path / "a", seeds=(0,)), run(tmp_path / "b", seeds=(1,))
    for found, size in ((one, 32), (other, 64)):
        (record,) = found.cells()
        status = record.status
        decides = {**status["decides"], "evaluation_size": [size, size]}
        record.write_status(**{**status, "decides": decides, "configuration": f"{size}"})
    assert shown(one.path, other.path) == {
        ("parts (evaluated at 32x32)", "Noisy"): hand(one, 0),
        ("parts (evaluated at 64x64)", "Noisy"): hand(other, 1),
    }


# -- what a verdict may say ---------------------------------------------------------------------------------


def won(methods: int, classes: int) -> pd.DataFrame:
    """Return results in which the baseline loses on every class against every method."""
    rows = [
        {"dataset": "d", "method": f"m{place}", "class": f"c{number}", "scope": "class", "metric": "i_auroc",
         "value": 0.5 + 0.01 * place + 0.001 * number * place, "seed": 0, "state": "done", "reason": "",
         "n_defined": np.nan, "n_classes": np.nan}
        for place in range(methods + 1)
        for number in range(classes)
    ]  # fmt: skip
    return pd.DataFrame(rows)


@pytest.mark.parametrize(("methods", "classes", "least"), [(8, 6, 0.25), (1, 6, 0.03125), (8, 15, 8 * 2 / 2**15)])
def test_a_verdict_says_when_no_result_could_have_been_significant(methods: int, classes: int, least: float) -> None:
    table = versus(won(methods, classes), "m0")
    assert set(table["wins"]) == {classes}
    assert table["p_least"].tolist() == pytest.approx([least] * methods)
    assert table["p_holm"].tolist() == pytest.approx([least] * methods)  # all won: the least is reached
    for row in table.to_dict("records"):
        if least < 0.05:
            assert row["verdict"].startswith("Better than m0")
            assert row["significant"]
        else:
            assert row["verdict"].startswith(
                f"Too few classes: with {classes} classes and Holm's correction over {methods} methods this test "
                f"can't fall below p = {least:.2g}"
            )
            assert not row["significant"]


def test_no_family_of_tests_falls_below_its_least() -> None:
    generator = np.random.default_rng(0)
    for _ in range(200):
        pairs = generator.integers(1, 12, size=generator.integers(1, 10)).tolist()
        least = smallest_after_holm(pairs)
        assert least == pytest.approx(holm([smallest_p(count) for count in pairs]))
        p = [float(generator.uniform(smallest_p(count), 1)) for count in pairs]
        assert all(one >= other - 1e-12 for one, other in zip(holm(p), least))
