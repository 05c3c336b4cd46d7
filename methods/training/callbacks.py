"""What runs beside the steps of a training: the random state of each step, training curves, progress."""

from __future__ import annotations

import csv
import pickle
import random
from pathlib import Path
from typing import Any, NamedTuple

import lightning.pytorch as pl
import numpy as np
import torch

from diadbench.common.files import write_with
from diadbench.common.processes.tf32 import Tf32, allow_tf32, tf32_now
from diadbench.methods.base import RunContext, no_progress
from diadbench.methods.training import draws
from diadbench.methods.training.budget import Budget
from diadbench.methods.training.feeding import BatchOrder, mix
from diadbench.methods.training.gpu_memory import tell
from diadbench.methods.training.sharing import Shares

#: Approximate number of points of a training curve.
HISTORY_POINTS = 500


class SeedEachStep(pl.Callback):
    """Start every batch from random states that depend on (seed, batch) alone.

    Each process has its own, but for the numbers that :mod:`diadbench.methods.training.draws` draws for a whole batch.
    """

    def __init__(self, seed: int, accumulate: int, shares: Shares, order: BatchOrder) -> None:
        self._seed, self._accumulate, self._shares, self._order = seed, accumulate, shares, order

    def on_train_batch_start(self, trainer: pl.Trainer, module: pl.LightningModule, batch: Any, batch_idx: int) -> None:
        """Seed Python, NumPy, torch and the numbers of a whole batch."""
        step = trainer.global_step * self._accumulate + batch_idx % self._accumulate
        seed = mix(self._seed, step, trainer.global_rank)
        random.seed(seed)
        np.random.seed(seed % 2**32)  # noqa: NPY002 - augmentations of libraries draw from the global state
        seed_torch(seed)
        whole, part = divmod(step, self._shares.split)
        count = self._order.size(whole)
        draws.begin_batch(mix(self._seed, whole, 0), count, self._shares.rows(count, trainer.global_rank, part))

    def teardown(self, trainer: pl.Trainer, module: pl.LightningModule, stage: str) -> None:
        """End the division of batches, also after an error."""
        draws.end_training()


def seed_torch(seed: int) -> None:
    """Seed torch's generators of the devices that this process uses, as ``torch.manual_seed`` does.

    ``torch.manual_seed`` also writes down a traceback for every kind of device that isn't used, to seed it if it ever
    is. That takes longer than starting a replayed step of UniAD. A device that is first used during a step is seeded
    at the next one.
    """
    torch.default_generator.manual_seed(seed)
    for backend in (torch.cuda, torch.xpu):
        if backend.is_initialized():
            backend.manual_seed_all(seed)
    if torch.backends.mps.is_available():
        torch.mps.manual_seed(seed)


#: torch defines it as a property of the module when it is imported, so type checkers don't know it.
_FILL = "fill_uninitialized_memory"


class Arithmetic(NamedTuple):
    """The settings of a process that decide how torch computes in it, besides deterministic algorithms.

    Attributes:
        tf32: What GPUs may compute in TF32.
        fills: Whether torch fills new memory under deterministic algorithms.
        threads: CPU threads.
    """

    tf32: Tf32
    fills: bool
    threads: int

    @classmethod
    def now(cls) -> Arithmetic:
        """Return those of this process."""
        return cls(tf32_now(), getattr(torch.utils.deterministic, _FILL), torch.get_num_threads())

    def set(self) -> None:
        """Set them in this process."""
        allow_tf32(self.tf32)
        setattr(torch.utils.deterministic, _FILL, self.fills)
        torch.set_num_threads(self.threads)


class SameArithmetic(pl.Callback):
    """Let processes that train together compute as the process that has started them.

    Lightning hands random states and deterministic algorithms on; what :class:`Arithmetic` has is a process's own.
    """

    def __init__(self) -> None:
        self._arithmetic = Arithmetic.now()

    def setup(self, trainer: pl.Trainer, module: pl.LightningModule, stage: str) -> None:
        """Set them in this process, before anything is computed."""
        self._arithmetic.set()


class TellPeak(pl.Callback):
    """Write the peak of a process's card for the process that waits for it.

    Args:
        directory: Directory that the processes share.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def on_train_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Write the peak at the end of the training."""
        self._write(trainer)

    def on_exception(self, trainer: pl.Trainer, module: pl.LightningModule, exception: BaseException) -> None:
        """Write the peak if the training failed, when it is most useful."""
        self._write(trainer)

    def _write(self, trainer: pl.Trainer) -> None:
        device = trainer.strategy.root_device
        if trainer.world_size > 1 and device.type == "cuda":
            tell(self._directory, trainer.global_rank, device)


class History(pl.Callback):
    """Write the values that the module logs to ``history.csv``: ``step, name, value``.

    Attributes:
        every: Steps between two points of a curve.
    """

    def __init__(self, path: Path, name: str, steps: int, done: int) -> None:
        self._path, self._name = path, name
        self.every = max(steps // HISTORY_POINTS, 1)
        self._rows = [row for row in _read_history(path) if not (row[1].startswith(f"{name}/") and int(row[0]) > done)]

    def on_train_batch_end(
        self, trainer: pl.Trainer, module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Take a point of every curve, once in ``every`` steps."""
        step = trainer.global_step
        whole = (batch_idx + 1) % trainer.accumulate_grad_batches == 0
        if whole and step % self.every == 0 and trainer.is_global_zero:
            for key, value in trainer.callback_metrics.items():
                self._rows.append((str(step), f"{self._name}/{key}", repr(float(value))))

    def on_train_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Write the file."""
        if trainer.is_global_zero:
            self._write()

    def on_exception(self, trainer: pl.Trainer, module: pl.LightningModule, exception: BaseException) -> None:
        """Write the file; the training may go on from a checkpoint."""
        if trainer.is_global_zero:
            self._write()

    def _write(self) -> None:
        rows = list(dict.fromkeys(self._rows))

        def write(name: str) -> None:
            with open(name, "w", encoding="utf-8", newline="") as file:
                csv.writer(file, lineterminator="\n").writerows([("step", "name", "value"), *rows])

        write_with(self._path, write)


def _read_history(path: Path) -> list[tuple[str, str, str]]:
    if not path.is_file():
        return []
    with open(path, encoding="utf-8", newline="") as file:
        return [(row[0], row[1], row[2]) for row in csv.reader(file)][1:]


class Progress(pl.Callback):
    """Report the cell's progress."""

    def __init__(self, run: RunContext, budget: Budget, name: str) -> None:
        self._progress, self._steps, self._name = run.progress, budget.steps, name

    def __getstate__(self) -> dict[str, Any]:
        """Return a picklable state for other processes; without a progress function that can't be sent."""
        try:
            pickle.dumps(self._progress)
        except (AttributeError, TypeError, pickle.PicklingError):
            return {**self.__dict__, "_progress": no_progress}
        return dict(self.__dict__)

    def on_train_batch_end(
        self, trainer: pl.Trainer, module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Report the step, from the first process alone."""
        if trainer.is_global_zero:
            self._progress(trainer.global_step, self._steps, self._name)
