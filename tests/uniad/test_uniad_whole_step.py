"""The step that a GPU replays as one graph is Lightning's own step, bit by bit (here computed, on the CPU)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from diadbench.methods.authoring.small_data import SmallData
from diadbench.methods.base import RunContext
from diadbench.methods.training import cuda_graph
from diadbench.methods.training.cuda_graph import GraphedModule, StepGraphs
from diadbench.methods.uniad import UniAD

#: Ten images in whole epochs of batches of 4: every third batch has two images.
OPTIONS: dict[str, Any] = {
    "backbone": "tf_efficientnet_lite0",
    "weights": "random",
    "neighbor_size": 3,
    "hidden": 16,
    "heads": 2,
    "encoder_layers": 1,
    "decoder_layers": 1,
    "feedforward": 16,
    "batch_size": 4,
    "steps": 7,
    "lr_drop": 0.5,
    "checkpoint_minutes": 0.0,
}


class Killed(Exception):
    pass


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Make steps whole on the CPU too; return the sizes of the batches that passed there."""
    sizes: list[int] = []
    call = StepGraphs.__call__

    def noted(self: StepGraphs, batch: Tensor) -> Tensor:
        sizes.append(len(batch))
        return call(self, batch)

    monkeypatch.setattr(StepGraphs, "__call__", noted)
    monkeypatch.setattr(GraphedModule, "no_graph", lambda self: "")
    monkeypatch.setattr("diadbench.methods.uniad.method._Module.no_graph", lambda self: "")
    return sizes


def fit(root: Path, name: str, kill_at: int | None = None) -> tuple[dict[str, Tensor], str, UniAD]:
    def progress(done: int, total: int, what: str) -> None:
        if what == "train" and done == kill_at:
            raise Killed

    directory = root / name
    directory.mkdir(exist_ok=True)
    images = torch.rand(10, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    data = SmallData(images, torch.arange(10) % 2, ("a", "b"))
    run = RunContext(0, torch.device("cpu"), (64, 64), data.class_names, directory, root / "cache", progress=progress)
    method = UniAD(**OPTIONS)
    method.fit(data, run)
    return method.fitted().state_dict(), (directory / "history.csv").read_text(encoding="utf-8"), method


def same(first: dict[str, Tensor], second: dict[str, Tensor]) -> bool:
    return all(torch.equal(value, second[key]) for key, value in first.items())


def test_whole_steps_are_lightnings_steps(tmp_path: Path, counted: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    whole, curve, method = fit(tmp_path, "whole")
    assert counted == [4, 4, 2, 4, 4, 2, 4]
    assert method.fitted().graph_said == "replayed"
    monkeypatch.setattr(GraphedModule, "no_graph", lambda self: "no CUDA device")
    monkeypatch.setattr("diadbench.methods.uniad.method._Module.no_graph", lambda self: "no CUDA device")
    plain, plain_curve, method = fit(tmp_path, "plain")
    assert len(counted) == 7
    assert method.fitted().graph_said == "no CUDA device"
    assert same(whole, plain)
    assert curve == plain_curve


def test_a_killed_training_goes_on_with_or_without_whole_steps(
    tmp_path: Path, counted: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, _, _ = fit(tmp_path, "through")
    with pytest.raises(Killed):
        fit(tmp_path, "killed", kill_at=4)
    monkeypatch.setattr(GraphedModule, "no_graph", lambda self: "no CUDA device")
    monkeypatch.setattr("diadbench.methods.uniad.method._Module.no_graph", lambda self: "no CUDA device")
    resumed, _, _ = fit(tmp_path, "killed")
    assert same(whole, resumed)


def fails_in_a_capture(optimizer: torch.optim.Optimizer) -> None:
    with cuda_graph._capturable(optimizer):
        assert optimizer.param_groups[0]["capturable"] is True
        raise Killed


def test_the_setting_of_the_capture_is_taken_back() -> None:
    optimizer = torch.optim.AdamW([torch.nn.Parameter(torch.zeros(2))], lr=0.1)
    with pytest.raises(Killed):
        fails_in_a_capture(optimizer)
    assert optimizer.param_groups[0]["capturable"] is False


def test_reasons_against_a_graph_are_said(tmp_path: Path) -> None:
    _, _, method = fit(tmp_path, "plain")
    assert method.fitted().graph_said == "no CUDA device"


def test_a_point_of_the_curve_is_of_its_own_step(
    tmp_path: Path, counted: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, every_step, _ = fit(tmp_path, "every step")
    monkeypatch.setattr("diadbench.methods.training.callbacks.HISTORY_POINTS", 3)
    _, every_second, _ = fit(tmp_path, "every second")
    head, *rows = every_step.splitlines()
    assert every_second.splitlines() == [head, *(row for row in rows if int(row.split(",")[0]) % 2 == 0)]
    assert len(rows) == 7
    assert counted
