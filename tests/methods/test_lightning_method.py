"""The base of methods that train by gradient: budgets, order of images, resume without losing a bit."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
import torch
from torch import Tensor, nn

from diadbench.common.errors import UserError
from diadbench.methods.base import MethodInfo, Prediction, RunSettings
from diadbench.methods.lightning import LightningMethod, Plan, Training, mixed
from diadbench.methods.small_data import SmallData


class Net(pl.LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Dropout(0.3), nn.Conv2d(4, 3, 3, padding=2))

    def training_step(self, batch: Tensor, batch_idx: int) -> Tensor:
        loss = (self.net(batch) - batch).square().mean()
        self.log("loss", loss)
        return loss

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.AdamW(self.parameters(), 1e-2)
        drop = torch.optim.lr_scheduler.StepLR(optimizer, 6)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": drop, "interval": "step"}}


class Small(LightningMethod):
    info = MethodInfo("small", "Small", "For these tests.")

    def __init__(self, accumulate: int = 1, workers: int = 0) -> None:
        self.options = Training(4, 20, checkpoint_every=4, accumulate=accumulate, clip=0.1, workers=workers)

    def training(self) -> Training:
        return self.options

    def build(self, run: RunSettings, plan: Plan | None) -> pl.LightningModule:
        return Net()

    def predict(self, images: Tensor) -> Prediction:
        with torch.inference_mode():
            error = self.trained().net(images) - images  # type: ignore[operator]
        maps = error.square().mean(1)
        return Prediction(maps, maps.amax((1, 2)))


class Killed(Exception):
    pass


def data() -> SmallData:
    images = torch.rand(10, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    return SmallData(images, torch.zeros(10, dtype=torch.int64), ["a"])


def fit(
    directory: Path, kill_at: int | None = None, seed: int = 0, **options: Any
) -> tuple[Small, RunSettings, list[int]]:
    steps: list[int] = []

    def progress(done: int, total: int, what: str) -> None:
        steps.append(done)
        if done == kill_at:
            raise Killed

    directory.mkdir(exist_ok=True)
    run = RunSettings(seed, torch.device("cpu"), (16, 16), ("a",), directory, directory, progress=progress)
    method = Small(**options)
    method.fit(data(), run)
    return method, run, steps


def weights(method: Small) -> list[Tensor]:
    return list(method.trained().state_dict().values())


def same(first: list[Tensor], second: list[Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


@pytest.mark.parametrize("accumulate", [1, 3])
def test_a_killed_training_ends_with_the_same_bits(tmp_path: Path, accumulate: int) -> None:
    whole, run, _ = fit(tmp_path / "whole", accumulate=accumulate)
    with pytest.raises(Killed):
        fit(tmp_path / "killed", kill_at=11, accumulate=accumulate)
    torch.rand(7)  # whatever another process drew meanwhile
    resumed, again, steps = fit(tmp_path / "killed", accumulate=accumulate)
    assert min(steps) in (8, 9), "it went on from the checkpoint of step 8"
    assert same(weights(whole), weights(resumed))
    assert run.extras == again.extras
    assert (tmp_path / "whole/history.csv").read_text() == (tmp_path / "killed/history.csv").read_text()


def test_history_is_a_csv_of_every_step(tmp_path: Path) -> None:
    _, run, steps = fit(tmp_path)
    rows = list(csv.DictReader((tmp_path / "history.csv").open()))
    assert [float(row["step"]) for row in rows] == list(range(1, 21))
    assert float(rows[-1]["loss"]) == pytest.approx(run.extras["loss"])
    assert run.extras["steps"] == 20
    assert steps[-1] == 20


def test_seed_decides(tmp_path: Path) -> None:
    first, again, other = (fit(tmp_path / str(i), seed=seed)[0] for i, seed in enumerate((3, 3, 4)))
    assert same(weights(first), weights(again))
    assert not same(weights(first), weights(other))


def test_workers_change_nothing(tmp_path: Path) -> None:
    alone, with_worker = fit(tmp_path / "a")[0], fit(tmp_path / "b", workers=1)[0]
    assert same(weights(alone), weights(with_worker))


def test_save_and_load(tmp_path: Path) -> None:
    method, run, _ = fit(tmp_path / "run")
    (tmp_path / "saved").mkdir()
    method.save(tmp_path / "saved")
    loaded = Small()
    loaded.load(tmp_path / "saved", run)
    images = torch.rand(3, 3, 16, 16)
    assert torch.equal(method.predict(images).anomaly_map, loaded.predict(images).anomaly_map)
    assert loaded.parameters_count() == sum(w.numel() for w in weights(loaded))


def test_a_checkpoint_of_a_longer_training_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Killed):
        fit(tmp_path, kill_at=11)
    short = Small()
    short.options = Training(4, 5)
    run = RunSettings(0, torch.device("cpu"), (16, 16), ("a",), tmp_path, tmp_path)
    with pytest.raises(UserError, match="longer training"):
        short.fit(data(), run)


def test_an_epoch_shows_every_image_once_and_the_last_batch_is_smaller() -> None:
    plan = Training(4, epochs=3).plan(10)
    assert (plan.per_epoch, plan.passes, plan.steps) == (3, 9, 9)
    epochs = [torch.cat([plan.chosen(3 * e + i, seed=0) for i in range(3)]) for e in range(3)]
    assert all(sorted(epoch.tolist()) == list(range(10)) for epoch in epochs)
    assert not torch.equal(epochs[0], epochs[1])
    assert [len(plan.chosen(i, 0)) for i in range(3)] == [4, 4, 2]


def test_budgets() -> None:
    assert Training(4, epochs=3, drop_last=True).plan(10).steps == 6
    assert Training(4, steps=7, accumulate=2).plan(10).passes == 14
    assert Training(4, epochs=3, accumulate=2).plan(10).steps == 5
    assert Training(4, epochs=3).plan(10, processes=2).per_epoch == 2
    assert len(Training(8, steps=1, replacement=True).plan(3).chosen(0, 0)) == 8
    for wrong in ({}, {"steps": 1, "epochs": 1}, {"steps": 0}, {"steps": 1, "batch_size": 0}):
        with pytest.raises(UserError):
            Training(**wrong)  # type: ignore[arg-type]
    with pytest.raises(UserError, match="smaller batch_size"):
        Training(16, epochs=1, drop_last=True).plan(10)


def test_step_seeds_differ() -> None:
    seeds = {mixed(seed, number, stream) for seed in range(10) for number in range(100) for stream in (-2, -1, 0, 1)}
    assert len(seeds) == 4000
    assert all(0 <= seed < 2**63 for seed in seeds)
