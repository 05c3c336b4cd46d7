"""Grids that really run, with a method and a dataset folder that a user brought."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import diadbench
from diadbench.benchmark.records.store import RunDirectory
from diadbench.benchmark.reuse.predict import predict_images
from diadbench.cli import main
from diadbench.common.errors import UserError
from tests.helpers.real_run import local_engine_in_process

METHOD = f"{Path(__file__).parents[1] / 'helpers' / 'pixel_mean.py'}:PixelMean"


def write_data(root: Path, classes: tuple[str, ...] = ("nut", "bolt")) -> Path:
    """Write a small data set in MVTec-AD's layout: noise, with a bright square where it is broken."""
    generator = np.random.default_rng(0)
    for name in classes:
        for folder, count in (("train/good", 6), ("test/good", 4), ("test/hole", 5)):
            for place in range(count):
                pixels = generator.integers(90, 120, (48, 48, 3), dtype=np.uint8)
                mask = np.zeros((48, 48), dtype=np.uint8)
                if folder == "test/hole":
                    mask[8:20, 10:22] = 255
                    pixels[mask > 0] = 140 if place else 125
                target = root / name / folder / f"{place:03d}.png"
                target.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(pixels).save(target)
                if folder == "test/hole":
                    truth = root / name / "ground_truth" / "hole" / f"{place:03d}_mask.png"
                    truth.parent.mkdir(parents=True, exist_ok=True)
                    Image.fromarray(mask).save(truth)
    return root


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_data(tmp_path_factory.mktemp("data"))


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DIADBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("DIADBENCH_TEST_LOG", str(tmp_path / "log"))
    return tmp_path / "cache"


@pytest.fixture
def in_process() -> Iterator[None]:
    with local_engine_in_process():
        yield


def grid(data: Path, **changes: Any) -> dict[str, Any]:
    return {
        "name": "small",
        "methods": {"mean": {"method": METHOD}},
        "datasets": {"parts": {"dataset": "folder", "root": str(data)}},
        "image_size": 32,
        "threads": 1,
        "device": "cpu",
        **changes,
    }


def fits(tmp_path: Path) -> int:
    lines = (tmp_path / "log").read_text().splitlines() if (tmp_path / "log").exists() else []
    return sum(line.startswith("fit ") for line in lines)


@pytest.fixture(scope="module")
def finished(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run that no test changes."""
    place = tmp_path_factory.mktemp("finished")
    os.environ["DIADBENCH_CACHE"] = str(place / "cache")
    methods = {"mean": {"method": METHOD}, "raises": {"method": METHOD, "options": {"trouble": "raise"}}}
    settings = ["multi-class", "one-per-class"]
    with local_engine_in_process():
        diadbench.run(grid(data, methods=methods, keep_maps="float32", settings=settings), place / "run")
    return place / "run"


def test_results_agree_with_the_metric_engine(finished: Path) -> None:
    table = diadbench.load_results(finished)
    mean = table[(table["method"] == "mean") & (table["scope"] == "mean")].set_index(["setting", "metric"])["value"]
    per_class = table[(table["method"] == "mean") & (table["scope"] == "class")]
    for (setting, metric), value in mean.items():
        rows = per_class[(per_class["setting"] == setting) & (per_class["metric"] == metric)]["value"]
        np.testing.assert_allclose(value, rows.mean(skipna=False), equal_nan=True)
    cell = finished / "cells/parts/mean/multi-class/seed0"
    scores = pd.read_parquet(cell / "scores.parquet")
    maps = [np.load(cell / "maps" / f"{place}.npy") for place in range(2)]
    masks = np.zeros((9, 32, 32), dtype=bool)
    masks[4:, 5:13, 7:15] = True
    for place, name in enumerate(("bolt", "nut")):
        rows = scores[scores["class"] == name]
        assert (rows["score"].to_numpy() == maps[place].max((1, 2))).all()
        expected = diadbench.evaluate(
            maps[place], masks[: len(rows)], rows["score"].to_numpy(), rows["label"].to_numpy()
        )
        found = per_class[(per_class["setting"] == "multi-class") & (per_class["class"] == name)].set_index("metric")
        assert found.loc["i_auroc", "value"] == expected["i_auroc"]


def test_one_per_class_trains_a_model_for_each(finished: Path) -> None:
    status = RunDirectory(finished).cell("parts", "mean", "one-per-class", 0).status
    assert status["extras"] == {"bolt": {"trained_on": 6}, "nut": {"trained_on": 6}}
    both = RunDirectory(finished).cell("parts", "mean", "multi-class", 0).status
    assert both["extras"] == {"trained_on": 12}


def test_a_failed_cell_says_why_and_leaves_the_others(finished: Path) -> None:
    cell = RunDirectory(finished).cell("parts", "raises", "multi-class", 0)
    assert cell.state == "error"
    assert "this method always raises" in cell.status["reason"]
    assert "ValueError" in cell.status["traceback"]
    table = diadbench.load_results(finished)
    assert set(table[table["method"] == "raises"]["state"]) == {"error"}


def test_status_shows_reasons(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["status", str(finished), "--json"]) == 1
    states = json.loads(capsys.readouterr().out)
    assert [entry["state"] for entry in states] == ["done", "done", "error", "error"]
    assert main(["status", str(finished)]) == 1
    assert "this method always raises" in " ".join(capsys.readouterr().out.split())


def test_provenance(finished: Path) -> None:
    environment = json.loads((finished / "environment.json").read_text())
    assert environment["packages"]["torch"]
    status = RunDirectory(finished).cell("parts", "mean", "multi-class", 0).status
    assert status["peak_memory"]["cpu_bytes"] > 1e7
    assert {"prepare", "fit", "predict", "evaluate"} <= set(status["phases"])
    assert status["environment"]["threads"] == 1


def test_predict_on_unknown_images(finished: Path, data: Path, tmp_path: Path) -> None:
    cell = finished / "cells/parts/mean/multi-class/seed0"
    table = pd.read_csv(predict_images(cell, data / "nut" / "test", tmp_path / "out").scores)
    assert len(table) == 9
    scores = pd.read_parquet(cell / "scores.parquet").set_index("image")["score"]
    found = table.set_index("image")["score"]
    assert found["hole/003.png"] == pytest.approx(scores["nut/test/hole/003.png"], abs=1e-6)
    assert len(list((tmp_path / "out" / "overlays").glob("*.png"))) == 9
    with pytest.raises(UserError, match="several models"):
        predict_images(finished / "cells/parts/mean/one-per-class/seed0", data / "nut", tmp_path / "x")
    with pytest.raises(UserError, match="no checkpoint"):
        predict_images(finished / "cells/parts/raises/multi-class/seed0", data / "nut", tmp_path / "x")


def test_evaluate_again_from_kept_maps(finished: Path, tmp_path: Path, one_core: None) -> None:
    assert main(["evaluate", str(finished), "--protocol", "exact", "--out", str(tmp_path / "again")]) == 0
    columns = ["method", "setting", "class", "metric", "value"]
    before, after = diadbench.load_results(finished), diadbench.load_results(tmp_path / "again")
    before = before[before["state"] == "done"][columns].reset_index(drop=True)
    pd.testing.assert_frame_equal(before, after[columns].reset_index(drop=True))
    assert main(["evaluate", str(finished), "--protocol", "uniad", "--out", str(tmp_path / "uniad")]) == 0
    assert set(diadbench.load_results(tmp_path / "uniad")["protocol"]) == {"uniad"}


def test_nothing_is_run_twice(data: Path, tmp_path: Path) -> None:
    first = diadbench.run(grid(data), tmp_path / "run", quiet=True).results()
    assert fits(tmp_path) == 1
    second = diadbench.run(grid(data), tmp_path / "run", quiet=True).results()
    assert fits(tmp_path) == 1
    pd.testing.assert_frame_equal(first, second)


@pytest.mark.usefixtures("in_process")
def test_options_of_one_dataset_reach_its_cell_alone(data: Path, tmp_path: Path) -> None:
    place = {"dataset": "folder", "root": str(data)}
    method = {"method": METHOD, "options": {"seconds": 0.0}, "by_dataset": {"b": {"scale": 2.0}}}
    diadbench.run(grid(data, methods={"mean": method}, datasets={"a": place, "b": place}), tmp_path / "run", quiet=True)
    configs = [cell.config for cell in RunDirectory(tmp_path / "run").cells()]
    scales = {config["dataset_label"]: config["method_options"]["scale"] for config in configs}
    assert scales == {"a": 1.0, "b": 2.0}
    wrong = {"method": METHOD, "by_dataset": {"a": {"scales": 2.0}}}
    with pytest.raises(UserError, match="scales"):
        diadbench.run(grid(data, methods={"mean": wrong}, datasets={"a": place}), tmp_path / "wrong", quiet=True)


@pytest.mark.usefixtures("in_process")
def test_overwrite_policies(data: Path, tmp_path: Path) -> None:
    changed = grid(data, methods={"mean": {"method": METHOD, "options": {"scale": 2.0}}})
    diadbench.run(grid(data), tmp_path / "run", quiet=True)
    diadbench.run(changed, tmp_path / "run", overwrite="never", quiet=True)
    assert fits(tmp_path) == 1
    diadbench.run(changed, tmp_path / "run", overwrite="stale", quiet=True)
    assert fits(tmp_path) == 2
    diadbench.run(changed, tmp_path / "run", overwrite="failed", quiet=True)
    assert fits(tmp_path) == 2
    diadbench.run(changed, tmp_path / "run", overwrite="always", quiet=True)
    assert fits(tmp_path) == 3


@pytest.mark.usefixtures("in_process")
def test_changed_data_are_noticed(data: Path, tmp_path: Path) -> None:
    copy = tmp_path / "data"
    shutil.copytree(data, copy)
    before = diadbench.run(grid(copy), tmp_path / "run", quiet=True).results()
    path = copy / "nut/test/hole/001.png"
    pixels = np.asarray(Image.open(path)).copy()
    pixels[40:, 40:] = 0
    Image.fromarray(pixels).save(path)
    after = diadbench.run(grid(copy), tmp_path / "run", quiet=True).results()
    assert fits(tmp_path) == 2
    assert not before["value"].equals(after["value"])


@pytest.mark.usefixtures("in_process")
def test_moved_data_are_the_same_data(data: Path, tmp_path: Path) -> None:
    diadbench.run(grid(data), tmp_path / "run", quiet=True)
    shutil.copytree(data, tmp_path / "elsewhere")
    diadbench.run(grid(tmp_path / "elsewhere"), tmp_path / "run", quiet=True)
    assert fits(tmp_path) == 1


def test_limits_cost_one_cell_alone(data: Path, tmp_path: Path) -> None:
    methods = {
        "hang": {"method": METHOD, "options": {"trouble": "hang"}, "time_limit": 8},
        "die": {"method": METHOD, "options": {"trouble": "die"}},
        "eat": {"method": METHOD, "options": {"trouble": "eat"}},
        "mean": {"method": METHOD},
    }
    run = diadbench.run(grid(data, methods=methods, jobs=2, memory_limit="2GB"), tmp_path / "run", quiet=True)
    states = {key[1]: state for key, state in run.states.items()}
    assert states == {"hang": "timeout", "die": "killed", "eat": "oom", "mean": "done"}
    assert len(run.failed) == 3
    reasons = {key[1]: run.directory.cell(*key).status["reason"] for key in run.states}
    assert "time limit of 8 s" in reasons["hang"]
    assert "SIGKILL" in reasons["die"]
    assert "2 GB" in reasons["eat"]


def test_out_of_memory_is_tried_again_with_half_the_batch(data: Path, tmp_path: Path) -> None:
    methods = {"hungry": {"method": METHOD, "options": {"trouble": "hungry"}}}
    hungry = grid(data, methods=methods, batch_size=8, memory_limit="1GB", retry_oom=True)
    run = diadbench.run(hungry, tmp_path / "run", quiet=True)
    [(key, state)] = run.states.items()
    status = run.directory.cell(*key).status
    assert state == "done"
    assert run.results()["flags"].str.contains("second try with 4 test images a batch").all()
    with local_engine_in_process():
        calm = diadbench.run(grid(data, batch_size=4), tmp_path / "calm", quiet=True).results()
    assert run.results()["value"].tolist() == calm["value"].tolist()
    done = status["finished"]
    diadbench.run(hungry, tmp_path / "run", quiet=True)
    assert run.directory.cell(*key).status["finished"] == done, "a second try is a result: it is kept"


def test_wrong_input_is_told_before_any_cell(data: Path, tmp_path: Path) -> None:
    copy = tmp_path / "data"
    shutil.copytree(data, copy)
    (copy / "nut/train/good/000.png").write_bytes(b"not an image")
    with pytest.raises(UserError, match=r"nut/train/good/000\.png"):
        diadbench.run(grid(copy), tmp_path / "run", quiet=True)
    for change, words in (
        ({"methods": {"mean": {"method": METHOD, "options": {"scael": 2}}}}, "did you mean scale"),
        ({"methods": {"mean": {"method": METHOD, "options": {"scale": "big"}}}}, "scale"),
        ({"methods": {"mean": {"method": METHOD + "x"}}}, "did you mean PixelMean"),
        ({"methods": ["patchcoer"]}, "did you mean patchcore"),
        ({"methods": {"diad": {"options": {"accumulate": 0}}}}, "methods.diad: accumulate is 0; expected a whole"),
        ({"methods": {"diad": {"options": {"train_steps": -5}}}}, "train_steps is -5"),
        ({"methods": {"diad": {"options": {"autoencoder_batch_size": 0}}}}, "autoencoder_batch_size is 0"),
        ({"methods": {"diad": {"options": {"precision": "nonsense"}}}}, "methods.diad: precision: expected"),
        ({"methods": {"draem": {"options": {"accumulate": 0}}}}, "methods.draem: accumulate is 0"),
        ({"methods": {"uniad": {"options": {"accumulate": 0}}}}, "methods.uniad: accumulate is 0"),
        ({"methods": {"uniad": {"options": {"checkpoint_minutes": -1}}}}, "checkpoint_minutes is -1"),
        ({"datasets": ["toyy"]}, "did you mean toy"),
        ({"protocol": "exactt"}, "did you mean exact"),
        ({"datasets": {"folder": {"root": str(tmp_path / "nowhere")}}}, "nowhere"),
    ):
        with pytest.raises(UserError, match=words):
            diadbench.run(grid(data, **change), tmp_path / "run2", quiet=True)
    assert fits(tmp_path) == 0


def test_a_run_directory_that_cannot_be_written(data: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="can't be written"):
        diadbench.run(grid(data), tmp_path / "file" / "run", quiet=True)


def test_dry_run_runs_nothing(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "g.yaml"
    path.write_text(json.dumps(grid(data)))
    assert main(["run", str(path), "--out", str(tmp_path / "run"), "--dry-run"]) == 0
    assert "1 cell to run, 0 kept" in capsys.readouterr().out
    assert not (tmp_path / "run" / "cells").exists()
    assert fits(tmp_path) == 0
