"""Checkpoints of a training, written while it continues."""

from __future__ import annotations

import multiprocessing
import os
import threading
import time
from pathlib import Path
from typing import Any, ClassVar

import lightning.pytorch as pl
import torch
from lightning.pytorch.plugins.io import TorchCheckpointIO
from torch import Tensor

from diadbench.common.cache.disk_space import MOVE_RUN, writing
from diadbench.common.processes.interrupt import Terminated, defer_for_good, is_pending, take_back


class CheckpointWriter(TorchCheckpointIO):
    """Write a checkpoint atomically in a thread, after its tensors have been copied to the CPU's memory.

    Only one checkpoint is written at a time. Errors are raised by the next call.
    """

    def __init__(self) -> None:
        super().__init__()
        self._thread: threading.Thread | None = None
        self._error: Exception | None = None

    def __reduce__(self) -> Any:
        """Return a new writer for processes that train together, which get it before anything is written."""
        return type(self), ()

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        """Copy the checkpoint and start to write it."""
        self.wait()
        copied = _copied(checkpoint)
        self._thread = threading.Thread(target=self._write, args=(copied, Path(path)), name="checkpoint")
        self._thread.start()

    def _write(self, checkpoint: dict[str, Any], path: Path) -> None:
        temporary = path.with_suffix(".saving")
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with writing(path.parent, MOVE_RUN):
                with open(temporary, "wb") as file:
                    torch.save(checkpoint, file)
                    file.flush()
                    os.fsync(file.fileno())
                os.replace(temporary, path)
        except Exception as error:
            temporary.unlink(missing_ok=True)
            self._error = error

    def wait(self) -> None:
        """Wait until the last checkpoint is on disk.

        Raises:
            UserError: It could not be written: the disk is full.
        """
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        error, self._error = self._error, None
        if error is not None:
            raise error

    def teardown(self) -> None:
        """Wait for the last checkpoint at the end of the training."""
        self.wait()


def _copied(value: Any) -> Any:
    """Return plain containers with copies of their tensors on the CPU."""
    if isinstance(value, Tensor):
        return value.detach().to("cpu", copy=True)
    if isinstance(value, dict):
        return {key: _copied(entry) for key, entry in value.items()}
    if type(value) in (list, tuple):
        return type(value)(map(_copied, value))
    return value


def steps_done(path: Path, module: pl.LightningModule) -> int:
    """Return the number of steps after which a checkpoint was written; 0 if there is none.

    Raises:
        RuntimeError: The checkpoint lacks a trained parameter, so it belongs to another module.
    """
    if not path.is_file():
        return 0
    state = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    trained = {name for name, parameter in module.named_parameters() if parameter.requires_grad}
    if missing := sorted(trained - state["state_dict"].keys()):
        raise RuntimeError(f"{path}: it lacks {missing[0]} (and {len(missing) - 1} more); it is another module's")
    return int(state["global_step"])


#: Seconds and most steps between two sums by which processes that train together agree on a checkpoint.
AGREE_SECONDS, AGREE_STEPS = 1.0, 64


class Checkpoints(pl.Callback):
    """Save between two steps: at an interval, after SIGTERM, and at the end.

    Args:
        path: File of the checkpoint.
        minutes: Interval; 0: before every step.
        parts: Number of the trainer's batches in a step.
        keep_frozen: Whether the file includes parameters without gradient.
    """

    #: Whether this process writes checkpoints. A timed trial, which nobody continues, sets it to ``False``.
    written: ClassVar[bool] = True

    def __init__(self, path: Path, minutes: float, parts: int, *, keep_frozen: bool = True) -> None:
        self._keep_frozen = keep_frozen
        self._path, self._parts = path, parts
        self._interval = minutes * 60
        self._last = self._asked = time.monotonic()
        self._every = self._left = 1  # steps from one sum to the next, and those left

    def on_train_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Restore our signal handlers after Lightning; start the interval."""
        # Lightning's own handler would end the epoch before our checkpoint, and broadcast in a collective operation.
        if trainer.world_size > 1 and multiprocessing.parent_process() is not None:
            defer_for_good()
        else:
            take_back()
        self._last = self._asked = time.monotonic()
        self._every = self._left = 1

    def on_train_batch_start(self, trainer: pl.Trainer, module: pl.LightningModule, batch: Any, batch_idx: int) -> None:
        """Save when it is due. Raises Terminated if a signal has come, after the checkpoint is on disk."""
        if batch_idx % self._parts:
            return
        ending = is_pending()
        due = self._due()
        if trainer.world_size > 1:
            ending, due = self._agreed(trainer, ending=ending, due=due)
        if due or ending:
            self._save(trainer, wait=ending)
        if ending:
            raise Terminated

    def _due(self) -> bool:
        return time.monotonic() - self._last > self._interval

    def _agreed(self, trainer: pl.Trainer, *, ending: bool, due: bool) -> tuple[bool, bool]:
        """Return whether any process has to end, and whether a checkpoint is due in any: all of them save together.

        They ask each other with one sum about once a second, because each sum makes the host wait for the GPU. The
        sum also tells all of them the same pace, from which follows the step before which they ask next.
        """
        self._left -= 1
        if self._left > 0:
            return False, False
        now = time.monotonic()
        told = [int(ending), int(due), int(1e6 * (now - self._asked))]  # sums of integers are the same everywhere
        sums = trainer.strategy.reduce(torch.tensor(told, device=trainer.strategy.root_device), reduce_op="sum")
        ends, dues, microseconds = (int(value) for value in sums.tolist())
        step = microseconds / 1e6 / trainer.world_size / self._every
        self._every = self._left = max(1, min(AGREE_STEPS, int(min(AGREE_SECONDS, self._interval) / max(step, 1e-6))))
        self._asked = now
        return ends > 0, dues > 0

    def on_train_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Save the end of the training, and wait until it is on disk.

        The moments are dropped then: Lightning would copy them to the CPU's memory (7 GB for DiAD at full size).
        """
        self._save(trainer, wait=True)
        trainer.optimizers = []

    def on_save_checkpoint(self, trainer: pl.Trainer, module: pl.LightningModule, checkpoint: dict[str, Any]) -> None:
        """Leave out untrained parameters, if the module has them anyway."""
        if self._keep_frozen:
            return
        parameters = module.named_parameters(remove_duplicate=False)
        frozen = {name for name, parameter in parameters if not parameter.requires_grad}
        state = checkpoint["state_dict"]
        checkpoint["state_dict"] = {name: value for name, value in state.items() if name not in frozen}

    def _save(self, trainer: pl.Trainer, *, wait: bool = False) -> None:
        if not self.written:
            return
        trainer.save_checkpoint(self._path)
        writer = trainer.strategy.checkpoint_io
        if wait and isinstance(writer, CheckpointWriter):
            writer.wait()
        self._last = time.monotonic()
