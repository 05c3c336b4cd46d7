"""Processes that train together agree on checkpoints with one sum about once a second, not two a step."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import lightning.pytorch as pl
import pytest
import torch
from torch import Tensor

from diadbench.common.processes.interrupt import Terminated
from diadbench.methods.training import saving
from diadbench.methods.training.saving import AGREE_STEPS, Checkpoints


class Group:
    """Two processes: this one, and one that has been told ``others``."""

    root_device = torch.device("cpu")
    launcher = checkpoint_io = None

    def __init__(self) -> None:
        self.sums = 0
        self.others = torch.zeros(3, dtype=torch.int64)

    def reduce(self, told: Tensor, *, reduce_op: str) -> Tensor:
        assert reduce_op == "sum"
        assert told.dtype == torch.int64
        self.sums += 1
        return told + torch.cat([self.others[:2], told[2:]])


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    now = SimpleNamespace(seconds=100.0, ending=False)
    monkeypatch.setattr(saving, "time", SimpleNamespace(monotonic=lambda: now.seconds))
    monkeypatch.setattr(saving, "is_pending", lambda: now.ending)
    monkeypatch.setattr(saving, "take_back", lambda: None)
    return now


def trained(clock: SimpleNamespace, group: Group, minutes: float, step: float, steps: int) -> tuple[list[int], Any]:
    """Return the steps before which a checkpoint was written, and the callback."""
    written: list[int] = []
    trainer: Any = SimpleNamespace(world_size=2, strategy=group, global_step=0)
    trainer.save_checkpoint = lambda path: written.append(trainer.global_step)
    callback = Checkpoints(Path("x.ckpt"), minutes, 1)
    module = pl.LightningModule()
    callback.on_train_start(trainer, module)
    for trainer.global_step in range(steps):
        callback.on_train_batch_start(trainer, module, None, trainer.global_step)
        clock.seconds += step
    return written, callback


@pytest.mark.parametrize(("step", "most"), [(0.02, 25), (0.001, 20), (3.0, 1000)])
def test_sums_are_rare_and_checkpoints_come_in_time(clock: SimpleNamespace, step: float, most: int) -> None:
    group = Group()
    written, _ = trained(clock, group, 0.1, step, 1000)
    assert group.sums <= most
    expected = 1000 * step / (6 + 1 + step)  # a second later than due at the latest
    assert len(written) >= int(expected)


def test_a_checkpoint_before_every_step_is_one(clock: SimpleNamespace) -> None:
    written, _ = trained(clock, Group(), 0.0, 0.02, 50)
    assert written == list(range(1, 50))


def test_a_signal_to_either_process_ends_both_before_long(clock: SimpleNamespace) -> None:
    for here in (True, False):
        group = Group()
        trained(clock, group, 5.0, 0.02, 100)
        clock.ending = here
        group.others = torch.tensor([int(not here), 0, 0])
        before = clock.seconds
        with pytest.raises(Terminated):
            trained(clock, group, 5.0, 0.02, 2 * AGREE_STEPS)
        assert clock.seconds - before <= 1.5
        clock.ending = False
