"""How DiAD is trained: from which weights it starts, its two stages, and how stage 2 fits a device."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import torch

from diadbench.common.errors import UserError
from diadbench.methods.base import RunContext
from diadbench.methods.diad import checkpoints as weights
from diadbench.methods.diad.config import SIZES, ModelConfig
from diadbench.methods.diad.latents import CachedLatents, deviation, forget_own, posteriors
from diadbench.methods.diad.networks.card import memory_of, place
from diadbench.methods.diad.networks.memory import reduced_memory
from diadbench.methods.diad.networks.model import DiADModel
from diadbench.methods.diad.prompt import ZERO
from diadbench.methods.diad.stages import AutoencoderStage, DiffusionStage, find_lpips
from diadbench.methods.features.origin import add, notes_of
from diadbench.methods.training.devices import has_bf16
from diadbench.methods.training.feeding import Fetch
from diadbench.methods.training.lightning import Budget, LightningMethod, Precision, Stage, Stages, train_stages

if TYPE_CHECKING:
    from diadbench.datasets.decoding.data import TrainData


class DiADTraining(LightningMethod[DiADModel]):
    """The training of :class:`~diadbench.methods.diad.method.DiAD`, which sets the options and predicts."""

    config: ModelConfig
    weights: str
    autoencoder: str
    checkpoint: str
    stage1: Budget
    stage2: Budget
    autoencoder_lr: float
    autoencoder_betas: tuple[float, float]
    discriminator_start: int | None
    lr: float
    lr_decay: bool
    train_levels: int
    sff_init: Literal["official", "active"]
    optimizer: Literal["adamw", "adamw8bit", "adafactor"]
    precision: Literal["auto"] | Precision
    checkpointing: bool
    frozen_precision: Literal["float32", "bfloat16"]
    cache_latents: bool
    scale_latents: bool
    ablation: Literal["none", "autoencoder"]
    channels_last: bool
    _size_is_chosen: bool

    def stages(self, train: TrainData, run: RunContext) -> Stages:
        """Train stage 1 (if it has steps) and stage 2; neither if the option ``checkpoint`` provides the networks."""
        self._model = self._placed(self.start_model(run), run)
        if not self.checkpoint:
            yield from self._autoencoder_stage(run)
            if self.ablation == "none":
                yield from self._diffusion_stage(train, run)
        self.keep(self.fitted(), run)

    def steps_for(self, images: int) -> int:
        """Return the steps of both stages; 0 where all comes from a checkpoint."""
        return 0 if self.checkpoint else self.stage1.steps + (self.ablation == "none") * self.stage2.steps

    def start_model(self, run: RunContext) -> DiADModel:
        """Return the networks before training: loaded weights, and the SG network as a copy of the UNet's encoder."""
        if self.checkpoint:
            return self._trained(run)
        torch.manual_seed(run.seed)
        if self.weights == "random":
            model = DiADModel(self.config)
            model.train_encoder = True
            weights.start_posterior(model)
            add(run.notes, ["DiAD trained from random weights", ZERO])
        else:
            model = weights.load_stable_diffusion(self.weights, self.config, run.notes)
            self._tell_origin(self.weights, run)
        if self.autoencoder:
            weights.load_autoencoder(model, self.autoencoder, run.notes)
            add(run.notes, [f"DiAD's autoencoder from {Path(self.autoencoder).name}: trained elsewhere"])
            self._tell_origin(self.autoencoder, run)
        weights.start_sg(model, self.sff_init)
        return model

    def _trained(self, run: RunContext) -> DiADModel:
        """Return the trained networks of the option ``checkpoint``, and note their origin."""
        found = weights.load_trained(self.checkpoint, like=self.config)
        asked, there = (dataclasses.replace(each, scale=1.0) for each in (self.config, found.model.config))
        if self._size_is_chosen and asked != there:
            raise UserError(
                f"diad: size and width ask for channels {list(asked.channels)}, {self.checkpoint} has "
                f"{list(there.channels)} (or other sizes beside them); leave size and width out: the checkpoint's count"
            )
        found.model.config.check_size(*run.image_size)
        add(run.notes, [*notes_of(found.origin, Path(self.checkpoint).name, run), *found.notes])
        add(run.notes, size_notes(found.model.config))
        if not found.model.text.any():
            add(run.notes, [] if any(ZERO in note for note in run.notes) else [ZERO])
        return found.model

    def _tell_origin(self, source: str, run: RunContext) -> None:
        """Add the notes that an exported file of weights states."""
        origin = weights.origin_in(source)
        if origin is not None:
            add(run.notes, notes_of(origin, Path(source).name, run))

    def train_autoencoder(self, train: TrainData, run: RunContext) -> None:
        """Train only stage 1 of :attr:`model`; nothing if it has no steps."""
        train_stages(self._autoencoder_stage(run), train, run)

    def train_diffusion(self, train: TrainData, run: RunContext) -> None:
        """Train only stage 2 of :attr:`model`."""
        train_stages(self._diffusion_stage(train, run), train, run)

    def _autoencoder_stage(self, run: RunContext) -> Stages:
        """Yield stage 1 if it has steps."""
        if not self.stage1.steps:
            return
        lpips = find_lpips()
        if lpips is None:
            run.notes.append("DiAD's autoencoder trained with L1 and KL only (no LPIPS weights here)")
        run.extras["autoencoder_loss"] = "L1 + LPIPS + KL" if lpips is not None else "L1 + KL"
        start = self.discriminator_start
        if start is not None and start < self.stage1.steps:
            run.extras["autoencoder_loss"] += f" + discriminator from step {start}"
        elif start is not None:
            run.notes.append(f"DiAD's discriminator never ran: it starts at step {start} of {self.stage1.steps}")
        decay = self.stage1.steps if self.lr_decay else 0
        model = self.fitted()
        stage = AutoencoderStage(
            model, lpips, self.autoencoder_lr, decay, betas=self.autoencoder_betas, discriminator_start=start
        )
        yield Stage(stage, self._budget(self.stage1, run), "autoencoder", keep_frozen=False)

    def _diffusion_stage(self, train: TrainData, run: RunContext) -> Stages:
        """Yield stage 2. The parts that it doesn't train use little memory until it has been trained."""
        model = self.fitted()
        fetch = self.fetch(train, run)
        budget, recompute = self._placed_budget(model, run)
        if recompute:
            model.enable_checkpointing()
        decay = self.stage2.steps if self.lr_decay else 0
        dtype = torch.bfloat16 if self.frozen_precision == "bfloat16" else torch.float32
        with reduced_memory(model, dtype=dtype, without_autoencoder=self.cache_latents):
            stage = DiffusionStage(model, self.optimizer, self.lr, decay, levels=self.train_levels)
            yield Stage(stage, budget, "diffusion", fetch, keep_frozen=False)
        forget_own(run)
        run.extras["sff_trained"] = not model.sg.sff.is_silent()

    def fetch(self, train: TrainData, run: RunContext) -> Fetch | None:
        """Return the batches of stage 2: images with cached posteriors, or ``None`` if they are not cached."""
        model = self.fitted()
        model.eval()
        if not (self.cache_latents or self.scale_latents):
            return None
        latents = posteriors(model, train, run, own=self.stage1.steps > 0)
        if self.scale_latents:
            model.config = dataclasses.replace(model.config, scale=1 / deviation(latents))
        return CachedLatents(train, latents) if self.cache_latents else None

    def _placed_budget(self, model: DiADModel, run: RunContext) -> tuple[Budget, bool]:
        """Return stage 2's budget and whether activations are recomputed; on a GPU both depend on its memory."""
        budget = self._budget(self.stage2, run)
        if run.device.type != "cuda":
            return budget, self.checkpointing
        placed = place(
            model,
            budget,
            run.image_size,
            memory_of(run.device),
            recompute=self.checkpointing,
            optimizer=self.optimizer,
            half=self.frozen_precision == "bfloat16" and not model.train_encoder,
        )
        run.extras["batch_on_device"] = f"{placed.budget.batch_size}x{placed.budget.accumulate}"
        run.extras["recomputed_activations"] = placed.recompute
        return placed.budget, placed.recompute

    def _budget(self, budget: Budget, run: RunContext) -> Budget:
        precision = self.precision
        if precision == "auto":
            fits = run.device.type == "cuda" and has_bf16()
            precision = "bf16-mixed" if fits else "32-true"
            run.extras["precision"] = precision
        return dataclasses.replace(budget, precision=precision)

    def _placed(self, model: DiADModel, run: RunContext) -> DiADModel:
        model.to(run.device)
        if self.channels_last:
            model.to(memory_format=torch.channels_last)
        return model


def size_notes(sizes: ModelConfig) -> list[str]:
    """Return a note if the networks differ in size from the authors'; ``scale`` is no size."""
    if dataclasses.replace(sizes, scale=ModelConfig.scale) == SIZES["sd15"]:
        return []
    return [f"DiAD at a small size ({sizes.channels[0]} channels)"]
