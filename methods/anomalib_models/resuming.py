"""Checkpoints of an anomalib model between two steps, from which a killed training goes on with the same result."""

from __future__ import annotations

import random
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
from lightning.pytorch.callbacks import Callback
from torch import Tensor
from torch.utils.data import BatchSampler, RandomSampler

from diadbench.methods.training.saving import Checkpoints

#: Minutes between two checkpoints, unless the option says another number.
MINUTES = 5.0


class Shuffled(BatchSampler):
    """Batches in an order drawn anew for each epoch, as ``DataLoader(shuffle=True)`` draws it.

    Args:
        count: Number of images.
        batch_size: Images a batch.
        drop_last: Whether an incomplete last batch is left out.
        seed: Seed of all epochs' orders.
    """

    def __init__(self, count: int, batch_size: int, *, drop_last: bool, seed: int) -> None:
        self.generator = torch.Generator().manual_seed(seed)
        super().__init__(RandomSampler(range(count), generator=self.generator), batch_size, drop_last)
        self.before_epoch = self.generator.get_state()
        self._resumed: tuple[Tensor, int] | None = None

    def resume(self, before_epoch: Tensor, done: int) -> None:
        """Let the next epoch be the one before which the generator had this state, without its first batches."""
        self._resumed = before_epoch, done

    def __iter__(self) -> Iterator[list[int]]:
        done = 0
        if self._resumed is not None:
            (state, done), self._resumed = self._resumed, None
            self.generator.set_state(state)
        self.before_epoch = self.generator.get_state()
        yield from islice(super().__iter__(), done, None)


class CheckpointsOnTheWay(Checkpoints):
    """Save between two steps at an interval and after SIGTERM; not at the end, as the fitted model is saved then."""

    def on_train_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Write nothing; the trainer's teardown waits for what is being written."""


class GoesOn(Callback):
    """Keep the images' order and the states of all random generators in each checkpoint, and restore them."""

    def __init__(self) -> None:
        self._trainer: pl.Trainer | None = None
        self._kept: dict[str, Any] | None = None

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Remember the trainer, whose progress is part of the state."""
        self._trainer = trainer

    def state_dict(self) -> dict[str, Any]:
        """Return the order of this epoch's batches, how many are done, and the states of the generators."""
        assert self._trainer is not None
        done = self._trainer.fit_loop.epoch_loop.batch_progress.current.completed
        return {"before_epoch": _order(self._trainer).before_epoch, "done": done, "random": _random_states()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Keep the state until the training begins."""
        self._kept = state_dict

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Restore the order of the epoch that was interrupted; Lightning doesn't call its beginning a second time."""
        if self._kept is not None:
            _order(trainer).resume(self._kept["before_epoch"], self._kept["done"])

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Restore the generators before the first step, after all that the set-up has drawn from them."""
        if self._kept is not None:
            _set_random_states(self._kept["random"])
            self._kept = None


def _order(trainer: pl.Trainer) -> Shuffled:
    loader: Any = trainer.train_dataloader
    assert isinstance(loader.batch_sampler, Shuffled)
    return loader.batch_sampler


def last_checkpoint(path: Path) -> str | None:
    """Return a checkpoint's path as text, ``None`` if there is none."""
    return str(path) if path.is_file() else None


def _random_states() -> dict[str, Any]:
    return {
        "python": random.getstate(),
        "numpy": np.random.get_state(),  # noqa: NPY002 - augmentations of libraries draw from the global state
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
    }


def _set_random_states(states: dict[str, Any]) -> None:
    random.setstate(states["python"])
    np.random.set_state(states["numpy"])  # noqa: NPY002
    torch.set_rng_state(states["torch"])
    if states["cuda"]:
        torch.cuda.set_rng_state_all(states["cuda"])
