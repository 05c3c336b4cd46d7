"""Training in the real process of a cell: on two devices, and killed in the middle of it."""

from __future__ import annotations

import contextlib
import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml
from engine_tools import wait_for
from safetensors.torch import load_file

from diadbench.benchmark.planning.grid import load_grid
from diadbench.benchmark.records.store import CellRecord, RunDirectory
from diadbench.benchmark.runs.runner import run_grid
from tests.helpers.real_run import InProcess

SMALL = f"{Path(__file__).resolve().parents[1] / 'helpers' / 'small_net.py'}:SmallNet"
LITE = {"backbone": "tf_efficientnet_lite0"}
UNIAD = {"steps": 4, "batch_size": 2, "hidden": 32, "heads": 4, "encoder_layers": 1, "decoder_layers": 1}
UNIAD |= {"feedforward": 64, "neighbor_size": 3, "weights": "package", **LITE}
DIAD = {"size": "tiny", "weights": "random", "autoencoder_steps": 2, "train_steps": 2, "batch_size": 2}
DIAD |= {"accumulate": 1, "steps": 2, "autoencoder_batch_size": 2, "autoencoder_accumulate": 1}
DIAD |= {"backbone_weights": "package", **LITE}
DRAEM = {"steps": 3, "width": 4, "segmentation_width": 4, "batch_size": 2}


class Training:
    """A grid of one cell, on the toy set."""

    def __init__(self, place: Path, method: str, options: dict[str, Any], **more: Any) -> None:
        place.mkdir(parents=True, exist_ok=True)
        self.run, self.steps_log = place / "run", place / "steps"
        grid = {
            "methods": {"one": {"method": method, "options": options}},
            "datasets": {"toy": {"options": {"size": 64, "train": 4, "test_good": 2, "test_bad": 1}}},
            "image_size": 64,
            "threads": 1,
            "device": "cpu",
            **more,
        }
        self.grid = place / "grid.yaml"
        self.grid.write_text(yaml.safe_dump(grid))
        self.environment = {
            **os.environ,
            "DIADBENCH_CACHE": str(place.parent / "cache"),
            "DIADBENCH_TEST_LOG": str(self.steps_log),
        }

    def start(self) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-P", "-m", "diadbench", "run", str(self.grid), "--out", str(self.run)]
        return subprocess.Popen(
            [*command, "--no-report"], env=self.environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )

    def finish(self) -> dict[str, Any]:
        self.start().wait(timeout=600)
        status = self.cell.status
        assert status["state"] == "done", (status.get("reason"), (self.cell.directory / "log.txt").read_text()[-3000:])
        return status

    @property
    def cell(self) -> CellRecord:
        return next(iter(RunDirectory(self.run).cells()))

    def steps(self) -> list[tuple[int, int, int]]:
        """Step, rank and number of images of each batch that was trained on, in all tries."""
        if not self.steps_log.is_file():
            return []
        lines = (line.split() for line in self.steps_log.read_text().splitlines())
        return [(int(step), int(rank), int(count)) for step, rank, count in lines]

    def weights(self) -> dict[str, Any]:
        return load_file(next(self.cell.directory.glob("checkpoint/*/weights.safetensors")))


def test_loggers_by_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """MLflow's own SQLite store and TensorBoard's event files, beside the ``history.csv`` that is always there."""
    options = {"steps": 4, "batch_size": 2}
    training = Training(tmp_path / "logged", SMALL, options, logger=["csv", "mlflow", "tensorboard"])
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setenv("DIADBENCH_CACHE", training.environment["DIADBENCH_CACHE"])
    run_grid(load_grid(training.grid), training.run, engine=InProcess(), quiet=True)
    assert training.cell.state == "done", training.cell.status
    with contextlib.closing(sqlite3.connect(training.run / "mlflow.db")) as store:
        logged = store.execute("select value from metrics where key = 'loss' order by step").fetchall()
        assert store.execute("select name from runs").fetchall() == [("toy/one/multi-class/seed0/all",)]
    history = pd.read_csv(next(training.cell.directory.rglob("history.csv")))
    assert [value for (value,) in logged] == pytest.approx(history["value"].tolist(), rel=1e-6)
    assert len(logged) == 4
    assert list((training.run / "tensorboard").rglob("events.out.tfevents.*"))


@pytest.mark.slow
def test_two_devices_train_one_model(tmp_path: Path) -> None:
    training = Training(tmp_path / "two", SMALL, {"steps": 6, "batch_size": 2}, devices=2, keep_checkpoints=True)
    status = training.finish()
    steps = training.steps()
    assert sorted(set(steps)) == [(step, rank, 1) for step in range(6) for rank in range(2)]
    assert len(steps) == 12, "the batch of two is shared, an image each"
    untrained = Training(tmp_path / "none", SMALL, {"steps": 1, "batch_size": 2}, devices=2, keep_checkpoints=True)
    untrained.finish()
    trained, before = training.weights(), untrained.weights()
    assert max(float((trained[key] - before[key]).abs().max()) for key in trained) > 1e-3, "weights came back untrained"
    assert status["phases"]["fit"] > 0
    history = [line.split(",")[:2] for line in next(training.cell.directory.rglob("history.csv")).read_text().split()]
    assert history == [["step", "name"], *([str(step), "train/loss"] for step in range(1, 7))]


@pytest.mark.slow
@pytest.mark.parametrize(("method", "options"), [("uniad", UNIAD), ("draem", DRAEM), ("diad", DIAD)])
def test_the_methods_train_on_two_devices(tmp_path: Path, method: str, options: dict[str, Any]) -> None:
    training = Training(tmp_path / method, method, options, devices=2)
    assert training.finish()["state"] == "done"
    assert training.cell.metrics()


@pytest.mark.slow
def test_draem_on_two_devices_is_the_configuration_of_one_and_says_what_differs(tmp_path: Path) -> None:
    options = {**DRAEM, "batch_size": 4}
    one, two = (Training(tmp_path / str(n), "draem", options, devices=n).finish() for n in (1, 2))
    for key in ("configuration", "identity", "decides"):
        assert one[key] == two[key]
    (told,) = set(two["notes"]) - set(one["notes"])
    assert "trained on 2 devices that share each batch" in told
    assert "batch norms" in told


@pytest.mark.slow
@pytest.mark.parametrize("devices", [1, 2])
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_a_training_goes_on_from_its_checkpoint(tmp_path: Path, how: signal.Signals, devices: int) -> None:
    options = {"steps": 24, "batch_size": 2, "checkpoint_minutes": 0.001}
    calm = Training(tmp_path / "calm", SMALL, options, devices=devices, keep_checkpoints=True)
    calm.finish()
    # Several processes ask each other once a second whether to write a checkpoint: their steps are longer.
    seconds, enough = (0.1, 8) if devices == 1 else (0.3, 14)
    slow = {**options, "seconds": seconds}
    stormy = Training(tmp_path / "stormy", SMALL, slow, devices=devices, keep_checkpoints=True)
    runner = stormy.start()
    wait_for(lambda: (stormy.steps() or [(0, 0, 0)])[-1][0] >= enough)
    os.kill(stormy.cell.status["pid"], how)
    runner.wait(timeout=120)
    assert stormy.cell.state == "killed"
    before = len(stormy.steps())
    assert before < 24 * devices
    stormy.finish()
    again = stormy.steps()[before:]
    assert again[0][0] >= 5, "it began from the start"
    assert {step for step, _, _ in again} == set(range(again[0][0], 24))
    if how == signal.SIGTERM:
        assert len(stormy.steps()) <= 25 * devices, "what the checkpoint held was done again"
    for key, value in calm.weights().items():
        assert value.equal(stormy.weights()[key]), key
    keys = ("class", "metric", "value")
    found = [[[row[key] for key in keys] for row in each.cell.metrics()] for each in (calm, stormy)]
    assert found[0] == found[1]
