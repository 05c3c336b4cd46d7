"""Trained models leave a run directory: from a cell that was really run."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import diadbench
from diadbench.benchmark.planning.grid import parse_grid
from diadbench.cli import main
from diadbench.methods import diad

DIAD = {"size": "tiny", "weights": "random", "autoencoder_steps": 1, "train_steps": 1, "batch_size": 2, "steps": 2}
DIAD |= {"accumulate": 1, "autoencoder_batch_size": 2, "autoencoder_accumulate": 1, "backbone_weights": "package"}
DIAD |= {"backbone": "tf_efficientnet_lite0"}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    toy = {"options": {"size": 32, "train": 2, "test_good": 1, "test_bad": 1}}
    grid = {"methods": {"ours": {"method": "diad", "options": DIAD}, "mean-image": {}}, "datasets": {"toy": toy}}
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
