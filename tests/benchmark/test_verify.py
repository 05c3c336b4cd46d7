"""``diadbench verify`` passes what a run and its pack are, and finds whatever was changed in them afterwards."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from PIL import Image

from diadbench.benchmark.planning.grid import parse_grid
from diadbench.benchmark.records.store import RunDirectory
from diadbench.benchmark.runs.runner import run_grid
from diadbench.benchmark.sharing.pack import pack
from diadbench.benchmark.sharing.verifying import verify
from diadbench.cli import main
from tests.helpers.real_run import InProcess, make_run

CELL = "cells/parts/One/multi-class/seed0"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real run of two methods, one of which fails with one seed, with its maps kept; and its pack."""
    place = tmp_path_factory.mktemp("verify")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DIADBENCH_CACHE", str(place / "cache"))
        make_run(
            place / "run",
            methods=["One", "Two"],
            datasets={"parts": ["nut", "bolt"]},
            seeds=[0, 1],
            images=6,
            keep_maps="float32",
            ends={("parts", "Two", 1): {"raises": "it broke"}},
            notes={"Two": "random weights"},
        )
    pack(place / "run", place / "pack.tar")
    return place


@pytest.fixture
def run(place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The run as it comes out of its pack, to be tampered with."""
    monkeypatch.setenv("DIADBENCH_CACHE", str(place / "cache"))
    shutil.unpack_archive(place / "pack.tar", tmp_path)
    return tmp_path / "run"


def test_what_nobody_changed_passes(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for path in (place / "run", place / "pack.tar"):
        before = sorted((file, file.stat().st_mtime_ns) for file in (place / "run").rglob("*"))
        assert main(["verify", str(path)]) == 0
        assert capsys.readouterr().out == "4 cells, nothing found\n"
        assert before == sorted((file, file.stat().st_mtime_ns) for file in (place / "run").rglob("*"))


def test_two_labels_of_one_configuration_are_no_double(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DIADBENCH_CACHE", str(tmp_path / "cache"))
    made = make_run(tmp_path / "run", methods=["One"], datasets={"d": ["nut"]}, seeds=[0], images=4)
    grid = yaml.safe_load((made.path / "grid.yaml").read_text(encoding="utf-8"))
    grid["methods"]["Again"] = grid["methods"]["One"]
    run_grid(parse_grid(grid), made.path, engine=InProcess(), quiet=True)
    assert main(["verify", str(made.path)]) == 0
    first, second = (made.path / "cells/d" / name / "multi-class/seed0" for name in ("One", "Again"))
    shutil.copyfile(first / "status.json", second / "status.json")
    assert any("has the same start as" in str(finding) for finding in verify(made.path, {}).findings)


def test_what_cannot_be_checked_is_said(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", str(run), "--root", f"parts={tmp_path}/nowhere"]) == 0
    told = capsys.readouterr().out
    named = "parts / One / multi-class / seed 0, parts / One / multi-class / seed 1"
    [line] = [line for line in told.splitlines() if line.startswith("not checked")]  # one for all cells
    assert line.startswith(f"not checked: {named} and 1 more: its data aren't here ({tmp_path}/nowhere)")
    assert main(["verify", str(run), "--root", "other=x"]) == 2
    assert "the run has no data set other; known: parts" in capsys.readouterr().err


# -- tampering -----------------------------------------------------------------------------------------------------


def edit(path: Path, **values: Any) -> None:
    """Change keys of a JSON or YAML file."""
    text = path.read_text(encoding="utf-8")
    found = {**(json.loads(text) if path.suffix == ".json" else yaml.safe_load(text)), **values}
    path.write_text(json.dumps(found) if path.suffix == ".json" else yaml.safe_dump(found), encoding="utf-8")


def edit_metric(cell: Path, scope: str, metric: str, value: float) -> None:
    table = pd.read_csv(cell / "metrics.csv")
    row = table.index[(table["scope"] == scope) & (table["metric"] == metric)][0]
    table.loc[row, "value"] = value
    table.to_csv(cell / "metrics.csv", index=False, float_format="%.17g")


def better_metric(cell: Path) -> None:
    """Raise a pixel metric of a class and its mean alike, as a careful hand would."""
    table = pd.read_csv(cell / "metrics.csv")
    rows = table.index[(table["metric"] == "p_ap") & (table["class"] == "nut")]
    table.loc[rows, "value"] += 0.001
    for metric in ("p_ap", "mad"):
        if metric == "mad":
            table.loc[(table["metric"] == "mad") & (table["class"] == "nut"), "value"] += 0.001 / 7
        mean = table.loc[(table["metric"] == metric) & (table["scope"] == "class"), "value"].mean()
        table.loc[(table["metric"] == metric) & (table["scope"] == "mean"), "value"] = mean
    table.to_csv(cell / "metrics.csv", index=False, float_format="%.17g")


def other_score(cell: Path) -> None:
    table = pd.read_parquet(cell / "scores.parquet")
    table.loc[table.index[0], ["score", "method_score"]] = 99.0
    table.to_parquet(cell / "scores.parquet", index=False)


def other_map(cell: Path) -> None:
    maps = np.load(cell / "maps/0.npy")
    maps[0, :8, :8] += 5
    np.save(cell / "maps/0.npy", maps)


def other_mask(cell: Path) -> None:
    root = Path(yaml.safe_load((cell / "cell.yaml").read_text(encoding="utf-8"))["root"])
    copy = shutil.copytree(root, cell.parents[4] / "data")
    mask = next(copy.rglob("*_mask.png"))
    with Image.open(mask) as image:
        pixels = np.array(image)
    Image.fromarray(np.roll(pixels, 1, axis=0)).save(mask)
    edit(cell / "cell.yaml", root=str(copy))


def other_decision(cell: Path) -> None:
    """Claim another option, with hashes that fit it, in the cell alone."""
    said = json.loads((cell / "status.json").read_text(encoding="utf-8"))["decides"]
    said["method_options"]["noise"] = 0.5
    for name in ("status.json", "cell.yaml"):
        edit(cell / name, decides=said)


def doubled(cell: Path) -> None:
    other = cell.with_name("seed1")
    shutil.rmtree(other)
    shutil.copytree(cell, other)
    edit(other / "cell.yaml", seed=1)


def other_option(cell: Path) -> None:
    config = yaml.safe_load((cell / "cell.yaml").read_text(encoding="utf-8"))
    edit(cell / "cell.yaml", method_options={**config["method_options"], "noise": 0.5})


def hidden_failure(cell: Path) -> None:
    """Let the failed cell look done, with another cell's figures."""
    failed, good = cell.parents[2] / "Two/multi-class/seed1", cell.parents[2] / "Two/multi-class/seed0"
    for path in good.iterdir():
        if path.is_file() and path.name != "cell.yaml":
            shutil.copyfile(path, failed / path.name)


def other_code(cell: Path) -> None:
    path = next((cell.parents[4] / "code").rglob("noisy_mean.py"))
    path.write_text(path.read_text(encoding="utf-8") + "\nCHANGED = 1\n", encoding="utf-8")


def without_note(cell: Path) -> None:
    edit(cell.parents[2] / "Two/multi-class/seed0/status.json", notes=[])


def other_table(cell: Path, name: str, row: int, **values: Any) -> None:
    """Change one row of a cell's CSV file; as text, so that all other figures stay what they are."""
    table = pd.read_csv(cell / name, dtype=str, keep_default_na=False)
    for column, value in values.items():
        table.loc[row, column] = value
    table.to_csv(cell / name, index=False)


def metric_twice(cell: Path) -> None:
    table = pd.read_csv(cell / "metrics.csv", dtype=str, keep_default_na=False)
    pd.concat([table, table.iloc[:1].assign(value="0.99")]).to_csv(cell / "metrics.csv", index=False)


def other_image(cell: Path) -> None:
    table = pd.read_parquet(cell / "scores.parquet")
    table.loc[0, "image"] = "nut/test/good/999.png"
    table.to_parquet(cell / "scores.parquet", index=False)


def other_ledger(cell: Path) -> None:
    """Change the columns in which results are kept, which tables are made of, and no file of a cell."""
    run = RunDirectory(cell.parents[4])
    with run.recording() as add:  # a pack doesn't hold them; a runner makes them
        for record in run.cells():
            add(record)
    path = run.path / "results/cells.parquet"
    table = pq.read_table(path)
    place = table.schema.get_field_index("value")
    lists = [[None if value is None else value * 0.9 for value in row] for row in table.column(place).to_pylist()]
    pq.write_table(table.set_column(place, "value", pa.array(lists, table.schema.field(place).type)), path)


def without_curve(cell: Path) -> None:
    with np.load(cell / "curves.npz", allow_pickle=False) as found:
        kept = {key: found[key] for key in found.files if not key.startswith("0/image_pr")}
        assert len(kept) < len(found.files)
    np.savez(cell / "curves.npz", **kept)


def other_normal(cell: Path) -> None:
    with np.load(cell / "normal.npz", allow_pickle=False) as found:
        halved = {key: found[key] * 0.5 if found[key].dtype.kind == "f" else found[key] for key in found.files}
    np.savez(cell / "normal.npz", **halved)


def other_results(cell: Path) -> None:
    path = cell.parents[4] / "results.csv"
    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    table.loc[0, "value"] = "0.5"
    table.to_csv(path, index=False)


def other_grid(cell: Path, old: str, new: str) -> None:
    path = cell.parents[4] / "grid.yaml"
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")


TAMPERED: dict[str, tuple[Callable[[Path], None], str]] = {
    "a metric of a class": (
        lambda cell: edit_metric(cell, "class", "i_ap", 0.5),
        "score: i_ap of nut is 0.5, its scores",
    ),
    "a mean": (
        lambda cell: edit_metric(cell, "mean", "aupro", 0.999),
        "mean: the mean of aupro is 0.999, its classes give",
    ),
    "a metric and all its means": (better_metric, "map: p_ap of nut is"),
    "a score": (other_score, "score: i_auroc of nut is"),
    "a map": (other_map, "map: p_auroc of nut is"),
    "a mask": (other_mask, "fingerprint: the data at"),
    "the fingerprint": (
        lambda cell: edit(cell / "status.json", fingerprint="0" * 32),
        "fingerprint: status.json says 0000",
    ),
    "the seed": (lambda cell: edit(cell / "cell.yaml", seed=7), "seed: it lies at seed 0, cell.yaml has seed 7"),
    "the protocol": (
        lambda cell: edit(cell / "status.json", protocol="ader"),
        "protocol: status.json says ader, cell.yaml",
    ),
    "a doubled cell": (doubled, "doubled: has the same identity as parts / One / multi-class / seed 0"),
    "notes left out": (without_note, "notes: the note 'random weights' isn't there"),
    "a failure hidden": (hidden_failure, "doubled: has the same identity as parts / Two / multi-class / seed 0"),
    "a result hidden": (
        lambda cell: edit(cell / "status.json", state="skipped"),
        "status: it says skipped, but has metrics",
    ),
    "the configuration": (
        lambda cell: edit(cell / "status.json", configuration="f" * 32),
        "configuration: status.json says",
    ),
    "what decides": (other_decision, "identity: status.json says"),
    "an option": (other_option, "options: cell.yaml has noise: 0.5, what decides has 0.04"),
    "a file left out": (lambda cell: (cell / "curves.npz").unlink(), "file: curves.npz isn't there"),
    "maps left out": (lambda cell: (cell / "maps/1.npy").unlink(), "file: the kept maps of bolt aren't there"),
    "a cell left out": (
        lambda cell: shutil.rmtree(cell),
        "file: it is planned, but its directory or cell.yaml isn't there",
    ),
    "another label": (lambda cell: edit(cell / "cell.yaml", method_label="Best"), "labels: it lies where One lies"),
    "the code": (other_code, "code: the code of file in the run isn't what the result was made with"),
    "a threshold": (
        lambda cell: other_table(cell, "decisions.csv", 0, threshold="0.01"),
        "threshold: decisions.csv: threshold of image own",
    ),
    "what a threshold does": (lambda cell: other_table(cell, "decisions.csv", 0, f1="0.99"), "threshold: f1 of nut at"),
    "what thresholds are made of": (other_normal, "threshold: decisions.csv: threshold of"),
    "classes as one set": (
        lambda cell: other_table(cell, "pooled.csv", 0, pooled="0.999"),
        "threshold: pooled.csv: pooled of i_auroc is 0.999, its maps give",
    ),
    "counts of one metric": (
        lambda cell: other_table(cell, "metrics.csv", 3, n_normal="99"),
        "score: the metrics of nut are of different numbers of images",
    ),
    "how many images": (lambda cell: edit(cell / "status.json", n_test=999), "score: status.json says 999 test images"),
    "a metric twice": (metric_twice, "metric: metrics.csv has i_auroc of nut twice"),
    "the name of an image": (other_image, "score: scores.parquet has the image nut/test/good/999.png"),
    "the columns of results": (other_ledger, "results: results/ holds other figures than the cells"),
    "a curve left out": (without_curve, "file: curves.npz lacks the curve of i_ap of nut"),
    "the method's title": (
        lambda cell: edit(cell / "status.json", method_info={"title": "Best"}),
        "labels: cell.yaml and status.json differ in method_info",
    ),
    "the code left out": (
        lambda cell: shutil.rmtree(cell.parents[4] / "code"),
        "the code of its method, isn't in the run",
    ),
    "an option in the grid alone": (
        lambda cell: other_grid(cell, "noise: 0.04", "noise: 0.2"),
        "parts / One / multi-class / seed 1: grid: grid.yaml has methods.One.options.noise: 0.2, cell.yaml 0.04",
    ),
    "the seeds in the grid alone": (
        lambda cell: other_grid(cell, "seeds:\n- 0\n", "seeds:\n- 9\n"),
        "parts / One / multi-class / seed 0: grid: grid.yaml doesn't ask for it",
    ),
    "the size in the grid alone": (
        lambda cell: other_grid(cell, "\nimage_size: 32", "\nimage_size: 256"),
        "grid: grid.yaml has image_size: [256, 256], cell.yaml [32, 32]",
    ),
    "results.csv": (other_results, "results: results.csv isn't what the cells give"),
}


#: Files of a cell, and commands that read them.
READ = {
    "cell.yaml": ["table", "report", "verify"],
    "metrics.csv": ["table", "report", "verify"],
    "scores.parquet": ["report", "verify"],
    "curves.npz": ["report", "verify"],
    "normal.npz": ["verify"],
    "maps/0.npy": ["verify"],
}


#: Content that no reader takes, but for files that it is right for: an empty text has no entries, one line is CSV.
DAMAGED = [
    (name, content)
    for name in READ
    for content in (b"", b"a: [", b"\xff\xfe\x00", b"[1]")
    if content == b"\xff\xfe\x00" or name != "metrics.csv"
    if content or name != "cell.yaml"
]


@pytest.mark.parametrize(("name", "content"), DAMAGED)
def test_a_damaged_file_is_a_line_with_its_name(
    run: Path, name: str, content: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (run / CELL / name).write_bytes(content)
    for command in READ[name]:
        more = ["--format", "figures,html", "--out", str(tmp_path / "out")] if command == "report" else []
        assert main([command, str(run), *more]) in (1, 2)
        told = "".join(capsys.readouterr())
        (line,) = [each for each in told.splitlines() if "damaged" in each and "results:" not in each][:1]
        assert f"{CELL}/{name}: damaged, not as diadbench wrote it" in line
        assert not [word for word in ("Traceback", "allow_pickle", "unsafely") if word in told]


#: What no status says.
ODD: list[dict[str, Any]] = [{"notes": None}, {"notes": [1]}, {"started": "x"}, {"state": None}, {"phases": []}]


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"cells": [{}], "configurations": {}}'])
def test_a_damaged_plan_is_none_that_never_was(run: Path, content: bytes, capsys: pytest.CaptureFixture[str]) -> None:
    """Without a plan all cells count, those of an older configuration too: a damaged one must not be passed over."""
    (run / "plan.json").write_bytes(content)
    for command in (["status"], ["table"], ["verify"], ["run", "--dry-run"]):
        assert main([command[0], str(run), *command[1:]]) == 2
        assert f"{run / 'plan.json'}: damaged, not as diadbench wrote it" in capsys.readouterr().err


def test_a_damaged_status_says_why_its_cell_waits(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = run / CELL / "status.json"
    whole = path.read_bytes()
    for content in (whole[:200], b"[]", *(json.dumps({**json.loads(whole), **odd}).encode() for odd in ODD)):
        path.write_bytes(content)
        assert main(["status", str(run), "--json"]) == 1  # another cell has failed
        assert "its status.json is damaged; the same command makes the cell again" in capsys.readouterr().out
        assert main(["table", str(run)]) == 0
        assert "1 of 2 seeds; the rest: waiting: its status.json is damaged" in " ".join(
            capsys.readouterr().out.split()
        )


def test_a_clock_that_was_set_back_gives_no_time(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = run / CELL / "status.json"
    edit(path, finished=json.loads(path.read_text(encoding="utf-8"))["started"] - 5000)
    assert main(["status", str(run), "--json"]) == 1
    first = json.loads(capsys.readouterr().out)[0]
    assert (first["state"], first["seconds"]) == ("done", None)
    assert any("it ended before it began" in str(finding) for finding in verify(run, {}).findings)


@pytest.mark.parametrize("what", TAMPERED)
def test_whatever_is_changed_is_found(run: Path, what: str) -> None:
    change, told = TAMPERED[what]
    change(run / CELL)
    found = [str(finding) for finding in verify(run, {}).findings]
    assert any(told in text for text in found), found


def test_what_a_gpu_has_pooled_leaves_pixels_exact(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Image scores that a GPU has pooled are rounded in another way; its pixel figures stand as they are."""
    monkeypatch.setenv("DIADBENCH_CACHE", str(tmp_path / "cache"))
    methods, data = ["One"], {"parts": ["nut", "bolt"]}
    values = {"protocol": "diad", "image_size": 64}
    make_run(tmp_path / "run", methods=methods, datasets=data, seeds=[0], images=6, keep_maps="float32", **values)
    cell = tmp_path / "run" / CELL
    status = json.loads((cell / "status.json").read_text(encoding="utf-8"))
    edit(cell / "status.json", environment={**status["environment"], "device": "cuda"})
    assert not maps_found(tmp_path / "run")
    better_metric(cell)
    assert any("p_ap of nut is" in text for text in maps_found(tmp_path / "run"))


def maps_found(run: Path) -> list[str]:
    return [str(finding) for finding in verify(run, {}).findings if finding.kind == "map"]


def test_pixels_are_checked_without_the_data(run: Path, tmp_path: Path) -> None:
    edit_metric(run / CELL, "class", "p_auroc", 0.9)
    found = [str(finding) for finding in verify(run, {"parts": str(tmp_path / "gone")}).findings]
    assert any("metric: p_auroc of nut is 0.900000, the area under its curve is" in text for text in found)


def test_what_was_found_as_json(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    edit_metric(run / CELL, "mean", "i_ap", 0.5)
    assert main(["verify", str(run), "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert found["findings"][0].keys() == {"kind", "text", "cell"}
