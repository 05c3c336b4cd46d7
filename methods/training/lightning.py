"""Training by gradient through Lightning's Trainer, for all methods that need it.

A method defines a LightningModule and inherits from :class:`LightningMethod`. The base provides a budget in steps,
precision, accumulation, clipping, several devices, loggers, progress, training curves, checkpoints at an interval and
on SIGTERM, and a resume that on the CPU ends with exactly the same weights as an uninterrupted training.

This holds because nothing but weights and optimiser depends on earlier steps: the images of a step are a function of
(seed, step), and all random numbers of a step are seeded with (seed, step).
"""

from __future__ import annotations

import signal
from collections.abc import Generator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import lightning.pytorch as pl
import torch
from lightning.pytorch.strategies import DDPStrategy
from torch import nn

from diadbench.common.processes.interrupt import Terminated, deferred, is_pending
from diadbench.methods.base import Method, RunContext
from diadbench.methods.features.origin import add
from diadbench.methods.features.weights import load_weights, save_weights
from diadbench.methods.training.budget import Budget as Budget
from diadbench.methods.training.budget import Precision as Precision
from diadbench.methods.training.callbacks import History, Progress, SameArithmetic, SeedEachStep, TellPeak
from diadbench.methods.training.devices import one_device
from diadbench.methods.training.feeding import BatchOrder, Feeder, Fetch, Images
from diadbench.methods.training.gpu_memory import take_in
from diadbench.methods.training.quiet import quiet_lightning
from diadbench.methods.training.saving import Checkpoints, CheckpointWriter, steps_done
from diadbench.methods.training.sharing import Shares, WeightShares, add_notes

if TYPE_CHECKING:
    from diadbench.datasets.decoding.data import TrainData


@quiet_lightning()
def train_module(
    module: pl.LightningModule,
    train: TrainData,
    run: RunContext,
    budget: Budget,
    *,
    name: str = "train",
    fetch: Fetch | None = None,
    keep_frozen: bool = True,
) -> None:
    """Train ``module`` to the end of its budget, from its last checkpoint if there is one.

    The weights of the last step are the result. ``training_step`` gets the result of ``fetch``, by default
    ``{"image": float32 (B,3,H,W) in [0,1], "class_id": int64 (B,), "index": int64 (B,)}``. Values logged with
    ``self.log`` are written to ``history.csv``.

    Args:
        module: The module; ``configure_optimizers`` may return schedulers with ``interval: step``.
        train: Training images.
        run: The run's settings. Checkpoints are in ``run.directory/<name>.ckpt``.
        budget: Length of the training.
        name: Name of this training; a method that trains in stages needs one for each.
        fetch: Function that makes a batch from positions, if it isn't images. With several devices it is pickled, as
            the module is, so both must be defined at the top level of a module.
        keep_frozen: Whether checkpoints include parameters without gradient. Use ``False`` for a module that always
            has the same ones when it is created and doesn't change them.

    Raises:
        Terminated: SIGTERM has come; a checkpoint has been written.
        UserError: A checkpoint could not be written: the disk is full.
    """
    if not budget.steps:
        add(run.notes, [f"{name}: 0 steps, nothing was trained"])
        module.to(run.device).eval()
        return
    path = run.directory / f"{name}.ckpt"
    done = steps_done(path, module)
    module.strict_loading = keep_frozen
    shares = Shares(max(run.devices, 1), run.split)
    shares.check(budget.batch_size)
    add_notes(run, shares, module)
    parts = budget.accumulate * shares.split
    order = BatchOrder(len(train), budget.batch_size, run.seed, whole_epochs=budget.whole_epochs)
    on_gpu = run.device.type == "cuda"
    feeder = Feeder(order, fetch or Images(train), shares, done * parts, budget.steps * parts, on_gpu=on_gpu)
    history = History(run.directory / "history.csv", name, budget.steps, done)
    trainer = pl.Trainer(
        accelerator="gpu" if on_gpu else "cpu",
        devices=_devices(run),
        strategy=DDPStrategy(start_method="spawn") if shares.world > 1 else "auto",
        precision=budget.precision,
        max_steps=budget.steps,
        max_epochs=-1,
        accumulate_grad_batches=parts,
        sync_batchnorm=on_gpu and shares.world > 1,
        gradient_clip_val=budget.clip,
        callbacks=[
            SameArithmetic(),
            SeedEachStep(run.seed, parts, shares, order),
            *([WeightShares(shares, order.size, parts)] if shares != Shares() else []),
            Checkpoints(path, budget.checkpoint_minutes, parts, keep_frozen=keep_frozen),
            TellPeak(run.directory),
            history,
            Progress(run, budget, name),
        ],
        logger=run.logger or False,
        log_every_n_steps=history.every,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=str(run.directory),
        plugins=[CheckpointWriter()],
        use_distributed_sampler=False,
    )
    if done < budget.steps:
        with deferred(lambda: _pass_on(trainer)):
            try:
                trainer.fit(module, feeder, ckpt_path=str(path) if done else None, weights_only=True)
            except Exception as error:
                if is_pending():  # The training processes have written their checkpoint and ended.
                    raise Terminated from error
                raise
            finally:
                take_in(run.directory)
    else:
        state = torch.load(path, map_location="cpu", weights_only=True)
        frozen = {} if keep_frozen else module.state_dict()  # steps_done has seen that all that is trained is there
        module.load_state_dict({**frozen, **state["state_dict"]})
    module.to(run.device).eval()


@dataclass(frozen=True)
class Stage:
    """One training of a method.

    Attributes:
        module: The module to train.
        budget: Length of the training.
        name: Name of its checkpoint and of its curves in ``history.csv``; each stage of a method needs its own.
        fetch: How a batch is made from positions; see :func:`train_module`.
        keep_frozen: Whether checkpoints include untrained parameters; see :func:`train_module`.
    """

    module: pl.LightningModule
    budget: Budget
    name: str = "train"
    fetch: Fetch | None = None
    keep_frozen: bool = True


def train_stages(stages: Stages, train: TrainData, run: RunContext) -> None:
    """Train all stages in order, each from its last checkpoint if there is one.

    Args:
        stages: A generator of stages. It continues after a ``yield`` once that stage has been trained. If a
            training ends with an error, the generator is closed there: its ``with`` and ``finally`` blocks run.
        train: Training images.
        run: The run's settings.

    Raises:
        Terminated: SIGTERM came; a checkpoint has been written.
    """
    with closing(stages):
        for stage in stages:
            train_module(
                stage.module,
                train,
                run,
                stage.budget,
                name=stage.name,
                fetch=stage.fetch,
                keep_frozen=stage.keep_frozen,
            )


#: The trainings of a method, one after the other.
Stages = Generator[Stage, None, None]
M = TypeVar("M", bound=nn.Module)


class LightningMethod(Method, Generic[M]):
    """Base of methods that train networks by gradient; ``M`` is the module used for prediction.

    A method that trains one LightningModule defines how the module is made, how long it is trained, and how
    :meth:`fitted` predicts; the base trains, saves, loads and counts parameters::

        class MyMethod(LightningMethod[MyModule]):
            def build(self, run, *, trained_before=False):
                return MyModule()

            def budget(self, train):
                return Budget(steps=1000, batch_size=8)

            def predict(self, images):
                maps = self.fitted()(images)
                return Prediction(maps, maps.amax((1, 2)))

    A method with several trainings, or none, overrides :meth:`stages`.
    """

    _model: M | None = None

    def build(self, run: RunContext, *, trained_before: bool = False) -> M:
        """Return a new, untrained module that depends on the options, the seed and the image size alone.

        Args:
            run: The run's settings.
            trained_before: Whether the weights of a trained module are loaded into it next.
        """
        raise NotImplementedError(f"{type(self).__name__} must say which module it trains")

    def module(self, train: TrainData, run: RunContext) -> M:
        """Return the module to train, by default that of :meth:`build`. Override this if the module needs the data."""
        return self.build(run)

    def budget(self, train: TrainData) -> Budget:
        """Return the length of the training."""
        raise NotImplementedError(f"{type(self).__name__} must say how long it trains")

    def steps_for(self, images: int) -> int:
        """Return the optimiser steps of all stages for so many training images, for forecasts.

        By default those of :meth:`budget`, if that asks for no more than the number of images.
        """
        return self.budget(_Counted(images)).steps  # type: ignore[arg-type]

    def fetch(self, train: TrainData, run: RunContext) -> Fetch | None:
        """Return the function that makes a batch from positions; ``None``: the default of :func:`train_module`."""
        return None

    def stages(self, train: TrainData, run: RunContext) -> Stages:
        """Yield the trainings one after another; by default one, of :meth:`module`.

        Code after a ``yield`` runs once that stage has been trained. The model must be stored with :meth:`keep`
        before the generator ends.
        """
        module = self.module(train, run)
        assert isinstance(module, pl.LightningModule)
        yield Stage(module, self.budget(train), fetch=self.fetch(train, run))
        self.keep(module, run)

    def fit(self, train: TrainData, run: RunContext) -> None:
        """Train all :meth:`stages`; the weights of the last step are the result."""
        train_stages(self.stages(train, run), train, run)

    def keep(self, model: M, run: RunContext) -> None:
        """Set the model used for prediction, on the run's device and in evaluation mode."""
        self._model = model.to(run.device).eval()

    def fitted(self) -> M:
        """Return the model used for prediction. Raises RuntimeError before :meth:`fit` or :meth:`load`."""
        if self._model is None:
            raise RuntimeError(f"{type(self).__name__}: fit or load first")
        return self._model

    def save(self, directory: Path) -> None:
        """Write parameters and buffers of the model as ``weights.safetensors``."""
        save_weights(self.fitted(), directory)

    def load(self, directory: Path, run: RunContext) -> None:
        """Read the file of :meth:`save`. Raises UserError if it was written with other options."""
        model = self.build(run, trained_before=True)
        load_weights(model, directory)
        self.keep(model, run)

    def parameters_count(self) -> int | None:
        """Return the number of parameters of the model; ``None`` if there is none yet."""
        return None if self._model is None else count_parameters(self._model)


class _Counted:
    """Stands for so many images where their number alone is asked for."""

    def __init__(self, images: int) -> None:
        self._images = images

    def __len__(self) -> int:
        return self._images


def count_parameters(*modules: nn.Module) -> int:
    """Return the number of parameters of all modules together, including frozen ones."""
    return sum(parameter.numel() for module in modules for parameter in module.parameters())


def _pass_on(trainer: pl.Trainer) -> None:
    """Forward SIGTERM to the processes that train together."""
    launcher = trainer.strategy.launcher
    if launcher is not None:
        launcher.kill(signal.SIGTERM)


def _devices(run: RunContext) -> Any:
    return one_device(run.device) if run.devices <= 1 else run.devices
