"""Trained models leave a run directory: from a cell that was really run."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

import diadbench
from diadbench.benchmark.planning.grid import parse_grid
from diadbench.benchmark.records.store import CellRecord, load_results
from diadbench.benchmark.reuse.export import export_model
from diadbench.benchmark.reuse.predict import predict_images
from diadbench.cli import main
from diadbench.methods import diad
from diadbench.methods.diad.checkpoints import origin_in

pytestmark = pytest.mark.usefixtures("cells_in_this_process")
DIAD = {"size": "tiny", "weights": "random", "autoencoder_steps": 1, "train_steps": 1, "batch_size": 2, "steps": 2}
DIAD |= {"accumulate": 1, "autoencoder_batch_size": 2, "autoencoder_accumulate": 1, "backbone_weights": "package"}
DIAD |= {"backbone": "tf_efficientnet_lite0"}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    toy = {"options": {"size": 32, "train": 2, "test_good": 1, "test_bad": 1}}
    grid = {
        "methods": {"ours": {"method": "diad", "image_size": 32, "options": DIAD}, "mean-image": {}},
        "datasets": {"toy": toy},
    }
    place = tmp_path_factory.mktemp("export") / "run"
    done = diadbench.run(
        parse_grid({"name": "few", **grid, "image_size": 32, "device": "cpu"}, "few"), place, quiet=True
    )
    assert not done.failed
    return place


def test_a_run_with_one_diad_gives_what_the_authors_code_reads(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["methods", "export", "diad", str(run), "--format", "official"]) == 0
    cell = run / "cells" / "toy" / "ours" / "multi-class" / "seed0"
    trained = load_file(cell / "checkpoint" / "all" / "model.safetensors")
    found = diad.load_official("diad.ckpt").state_dict()
    assert all(torch.equal(found[key], value) for key, value in trained.items())
    assert main(["methods", "export", "diad", str(cell)]) == 0
    assert (tmp_path / "diad-diffusers" / "controlnet").is_dir()
    capsys.readouterr()
    assert main(["methods", "export", "diad", str(run), "--format", "official"]) == 2
    assert "diad.ckpt: exists already" in capsys.readouterr().err


def use(run: Path, place: Path, methods: dict[str, dict[str, Any]]) -> Path:
    """Run DiAD with these options, on the data that the model was trained on, from what was exported."""
    common = {"steps": 2, "backbone_weights": "package", "backbone": "tf_efficientnet_lite0"}
    entries = {
        name: {"method": "diad", "image_size": entry.pop("image_size", 32), "options": {**common, **entry}}
        for name, entry in methods.items()
    }
    toy = {"options": {"size": 32, "train": 2, "test_good": 1, "test_bad": 1}}
    grid = {"name": "use", "methods": entries, "datasets": {"toy": toy}, "image_size": 32, "device": "cpu"}
    diadbench.run(parse_grid(grid, "use"), place, quiet=True)
    return place


def test_what_export_writes_checkpoint_reads_with_equal_scores_and_its_notes(run: Path, tmp_path: Path) -> None:
    for name in ("out.ckpt", "out.safetensors"):
        export_model("diad", run, "official", tmp_path / name)
    export_model("diad", run, "diffusers", tmp_path / "folder")
    own = run / "cells" / "toy" / "ours" / "multi-class" / "seed0"
    shutil.copytree(own / "checkpoint" / "all", tmp_path / "kept")
    forms = ["out.ckpt", "out.safetensors", "folder", "kept"]
    methods: dict[str, dict[str, Any]] = {
        name.replace(".", "-"): {"checkpoint": str(tmp_path / name)} for name in forms
    }
    methods["tiny"] = {"checkpoint": str(tmp_path / "out.safetensors"), "size": "tiny"}
    methods["larger"] = {"checkpoint": str(tmp_path / "out.safetensors"), "image_size": 64}
    methods["small"] = {"checkpoint": str(tmp_path / "out.safetensors"), "size": "small"}
    cells = use(run, tmp_path / "use", methods) / "cells" / "toy"

    trained = pd.read_parquet(own / "scores.parquet")
    for name, form in zip([*methods][:5], [*forms, "out.safetensors"], strict=True):
        cell = CellRecord(cells / name / "multi-class" / "seed0")
        assert cell.state == "done", cell.status["reason"]
        pd.testing.assert_frame_equal(pd.read_parquet(cell.directory / "scores.parquet"), trained)
        said = cell.status["notes"]
        (told,) = [note for note in said if note.startswith(f"weights from {form}: trained elsewhere on toy")]
        assert "DiAD trained from random weights" in told
        assert any(note.startswith("DiAD at a small size (32 channels)") for note in said)
        assert any("text embedding is zero" in note for note in said)

    larger = CellRecord(cells / "larger" / "multi-class" / "seed0").status
    assert "weights trained at 32x32, run at 64x64" in larger["notes"]
    small = CellRecord(cells / "small" / "multi-class" / "seed0").status
    assert small["state"] == "error"
    assert "leave size and width out" in small["reason"]
    flags = load_results(tmp_path / "use").query("method == 'larger'")["flags"].iloc[0]
    assert "weights trained at 32x32, run at 64x64" in flags.split("; ")
    assert any(part.startswith("weights from out.safetensors") for part in flags.split("; "))


@pytest.mark.parametrize("form", ["x.ckpt", "x.safetensors", "folder"])
def test_the_origin_travels_inside_what_is_exported(form: str, run: Path, tmp_path: Path) -> None:
    export_model("diad", run, "diffusers" if form == "folder" else "official", tmp_path / form)
    origin = origin_in(tmp_path / form)
    assert origin is not None
    assert origin.version == diadbench.__version__
    assert (origin.method, origin.dataset, origin.seed) == ("diad", "toy", 0)
    assert origin.classes == ("washer", "weave", "tile", "capsule")
    assert origin.image_size == (32, 32)
    assert origin.decides["method_options"]["train_steps"] == 1
    assert origin.decides["method_options"]["backbone"] == "tf_efficientnet_lite0"
    cell = CellRecord(run / "cells" / "toy" / "ours" / "multi-class" / "seed0")
    assert origin.decides["fingerprint"] == cell.status["fingerprint"]
    assert set(origin.notes) == set(cell.status["notes"])
    assert "procedural images" in origin.notes


def test_a_model_of_an_older_version_is_told_by_its_cell(run: Path, tmp_path: Path) -> None:
    old = shutil.copytree(run, tmp_path / "old")
    beside = old / "cells" / "toy" / "ours" / "multi-class" / "seed0" / "checkpoint" / "all" / "run.json"
    said = json.loads(beside.read_text())
    beside.write_text(json.dumps({"notes": said["notes"], "extras": said["extras"]}))
    export_model("diad", old, "official", tmp_path / "x.ckpt")
    origin = origin_in(tmp_path / "x.ckpt")
    assert origin is not None
    assert origin.decides["method_options"]["train_steps"] == 1
    assert "procedural images" in origin.notes


def test_predictions_bring_the_notes_of_their_cell(run: Path, tmp_path: Path) -> None:
    Image.new("RGB", (40, 40), (90, 80, 70)).save(tmp_path / "photo.png")
    cell = run / "cells" / "toy" / "ours" / "multi-class" / "seed0"
    predict_images(cell, tmp_path / "photo.png", tmp_path / "out")
    notes = json.loads((tmp_path / "out" / "notes.json").read_text())
    assert set(CellRecord(cell).status["notes"]) <= set(notes)
    assert "DiAD trained from random weights" in notes


@pytest.mark.parametrize(
    ("method", "place", "told"),
    [
        ("mean-image", ".", "method 'mean-image' has no export"),
        ("diad", "cells/toy/mean-image/multi-class/seed0", "a cell of 'mean-image'"),
        ("diad", "nowhere", "not a directory"),
        ("diad", "cells", "expected model.json"),
    ],
)
def test_what_is_wrong_is_one_line(
    run: Path, method: str, place: str, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["methods", "export", method, str(run / place), "--out", str(run / "never")]) == 2
    error = capsys.readouterr().err
    assert told in error
    assert error.count("\n") == 1
    assert not (run / "never").exists()


def test_of_several_cells_one_must_be_named(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    two = shutil.copytree(run, tmp_path / "two")
    cells = two / "cells" / "toy" / "ours" / "multi-class"
    shutil.copytree(cells / "seed0", cells / "seed1")
    (two / "plan.json").unlink()  # all cells of a directory without a plan count
    assert main(["methods", "export", "diad", str(two), "--out", str(two / "never")]) == 2
    error = capsys.readouterr().err
    assert "2 finished cells" in error
    assert "cells/toy/ours/multi-class/seed1" in error
