"""Train an anomalib model on our training images with Lightning's Trainer."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import lightning.pytorch as pl
import torch
from anomalib import LearningType
from anomalib.data import ImageBatch
from lightning.pytorch.callbacks import Callback
from torch import Tensor
from torch.optim import Optimizer
from torch.utils.data import DataLoader

from diadbench.common.errors import UserError
from diadbench.common.processes.interrupt import deferred
from diadbench.methods.anomalib_models.resuming import MINUTES, CheckpointsOnTheWay, GoesOn, Shuffled, last_checkpoint
from diadbench.methods.training.devices import one_device
from diadbench.methods.training.quiet import quiet_lightning
from diadbench.methods.training.saving import CheckpointWriter

if TYPE_CHECKING:
    from diadbench.datasets.decoding.data import TrainData
    from diadbench.methods.base import RunContext


#: Default of ``max_epochs``; another number overrides the model's own.
DEFAULT_EPOCHS = 100


class NormalImages(pl.LightningDataModule):
    """The normal training images as anomalib's batches, with labels 0 and empty masks.

    Validation uses training images, so no model sees a test image or an anomaly here.
    """

    def __init__(
        self, train: TrainData, batch_size: int, seed: int, *, on_gpu: bool = False, drop_last: bool = False
    ) -> None:
        super().__init__()
        self._collate = partial(_collate, pinned=on_gpu)
        self.train_batch_size = batch_size
        self.eval_batch_size = batch_size
        self._train = train
        self._seed = seed
        self._drop_last = drop_last

    def train_dataloader(self) -> DataLoader[Any]:
        """Return batches shuffled by the seed; a last batch of one image is dropped if possible (batch norms fail)."""
        count, size = len(self._train), self.train_batch_size
        drop = count > size and (self._drop_last or count % size == 1 < size)
        order = Shuffled(count, size, drop_last=drop, seed=self._seed)
        return DataLoader(self._train, batch_sampler=order, generator=order.generator, collate_fn=self._collate)

    def val_dataloader(self) -> DataLoader[Any]:
        """Return batches in order."""
        return DataLoader(self._train, batch_size=self.eval_batch_size, collate_fn=self._collate)


@quiet_lightning()
def train_model(
    model: Any,
    train: TrainData,
    run: RunContext,
    *,
    batch_size: int,
    max_epochs: int,
    max_steps: int,
    every_step: bool = False,
    drop_last: bool = False,
    adam: Mapping[str, Any] | None = None,
    checkpoint_minutes: float = MINUTES,
) -> None:
    """Train ``model`` as anomalib's Engine would; a run that was killed resumes from its last checkpoint.

    A resumed training has the result of an uninterrupted one. Models that pass once over the images (memory banks)
    write no checkpoint and begin again, because what they collect is no part of their state. Models that don't learn
    from images (zero- and few-shot) are only set up.

    Args:
        model: The anomalib model.
        train: The training images.
        run: The run's settings.
        batch_size: Images at a time.
        max_epochs: Passes over the images, unless the model defines them; -1: ``max_steps`` decides.
        max_steps: Maximum number of steps; -1: no limit.
        every_step: Update the learning rate at every step. By default Lightning updates it once per epoch, and
            anomalib's models don't change this, although some of their schedules count steps.
        drop_last: Leave out the smaller last batch of an epoch, unless it is the only one.
        adam: Settings of the optimizer to replace: ``betas``, ``eps``.
        checkpoint_minutes: Minutes between two checkpoints; 0: before every step.

    Raises:
        Terminated: SIGTERM has come; a checkpoint has been written.
    """
    if adam:
        _set_adam(model, adam)
    if every_step:
        _schedule_by_step(model)
    own = dict(model.trainer_arguments)
    epochs = int(own.pop("max_epochs", max_epochs))
    if epochs != max_epochs and max_epochs != DEFAULT_EPOCHS:
        run.notes.append(f"max_epochs {max_epochs} not used: the model itself says {epochs}")
    once = epochs == 1
    if once and checkpoint_minutes != MINUTES:
        run.notes.append(f"checkpoint_minutes {checkpoint_minutes:g} not used: the model passes once over the images")
    path = run.directory / "anomalib.ckpt"
    data = NormalImages(train, batch_size, run.seed, on_gpu=run.device.type == "cuda", drop_last=drop_last)
    arguments: dict[str, Any] = {
        "accelerator": "gpu" if run.device.type == "cuda" else run.device.type,
        "devices": one_device(run.device),
        "max_epochs": epochs,
        "max_steps": max_steps,
        "limit_val_batches": 1,
        "check_val_every_n_epoch": epochs if epochs > 0 else 1,
        "num_sanity_val_steps": 0,
        "logger": run.logger or False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "default_root_dir": str(run.directory),
        "callbacks": [_Progress(run), *([] if once else [GoesOn(), CheckpointsOnTheWay(path, checkpoint_minutes, 1)])],
        "enable_checkpointing": False,
        "plugins": [CheckpointWriter()],
    }
    trainer = pl.Trainer(**{**arguments, **own, "devices": arguments["devices"]})
    if model.learning_type in {LearningType.ZERO_SHOT, LearningType.FEW_SHOT}:
        run.notes.append("not trained here: a zero- or few-shot model")
        trainer.validate(model, datamodule=data, verbose=False)
        return
    if once:
        trainer.fit(model, datamodule=data)
        return
    with deferred():
        trainer.fit(model, datamodule=data, ckpt_path=last_checkpoint(path), weights_only=False)


def _schedule_by_step(model: Any) -> None:
    """Update the model's learning rate schedules at every step."""
    configure = model.configure_optimizers

    def by_step() -> Any:
        found = configure()
        if not isinstance(found, tuple | list) or len(found) != 2 or not isinstance(found[1], list):
            name = type(model).__name__
            raise UserError(f"anomalib:{name}: it has no learning rate schedule; leave option lr_interval at model")
        return found[0], [{"scheduler": schedule, "interval": "step"} for schedule in found[1]]

    model.configure_optimizers = by_step


def _set_adam(model: Any, settings: Mapping[str, Any]) -> None:
    """Replace settings of the model's optimizers."""
    configure = model.configure_optimizers
    told = " and ".join(f"adam_{name}" for name in settings)

    def changed() -> Any:
        found = configure()
        groups = [group for optimizer in _optimizers(found) for group in optimizer.param_groups]
        if not groups or any(name not in group for group in groups for name in settings):
            raise UserError(f"anomalib:{type(model).__name__}: it isn't trained with Adam; leave out {told}")
        for group in groups:
            group.update(settings)
        return found

    model.configure_optimizers = changed


def _optimizers(found: Any) -> list[Optimizer]:
    """Return the optimizers in what a Lightning module's ``configure_optimizers`` returns."""
    if isinstance(found, Optimizer):
        return [found]
    if isinstance(found, Mapping):
        return _optimizers(found.get("optimizer"))
    if isinstance(found, list | tuple):
        return [optimizer for entry in found for optimizer in _optimizers(entry)]
    return []


def _collate(samples: list[dict[str, Tensor]], *, pinned: bool = False) -> ImageBatch:
    """Return anomalib's batch; from pinned memory Lightning copies the images to a GPU without waiting."""
    images = torch.stack([sample["image"] for sample in samples])
    images = images.pin_memory() if pinned else images
    return ImageBatch(
        image=images,
        gt_label=torch.zeros(len(images), dtype=torch.bool),
        gt_mask=torch.zeros((len(images), *images.shape[2:]), dtype=torch.bool),
    )


class _Progress(Callback):
    """Report training steps to the run."""

    def __init__(self, run: RunContext) -> None:
        self._run = run

    def on_train_batch_end(self, trainer: pl.Trainer, *_: Any, **__: Any) -> None:
        total = trainer.estimated_stepping_batches
        self._run.progress(trainer.global_step, int(total) if total != float("inf") else 0, "steps")
