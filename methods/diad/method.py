"""DiAD as a method of the benchmark: trained in two stages, predicts by reconstruction."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from diadbench.common.errors import UserError
from diadbench.methods.base import Prediction, RunContext
from diadbench.methods.catalog import CATALOG
from diadbench.methods.diad import checkpoints as weights
from diadbench.methods.diad import config
from diadbench.methods.diad.diffusion import LEVELS, timesteps
from diadbench.methods.diad.latents import CachedLatents, deviation, forget_own, posteriors
from diadbench.methods.diad.networks.card import memory_of, place
from diadbench.methods.diad.networks.discriminator import START
from diadbench.methods.diad.networks.half_weights import with_half_weights
from diadbench.methods.diad.networks.memory import reduced_memory
from diadbench.methods.diad.networks.model import DiADModel
from diadbench.methods.diad.noise import image_noise
from diadbench.methods.diad.normalise import denormalise, normalise
from diadbench.methods.diad.prompt import ZERO
from diadbench.methods.diad.reconstruct import Estimate, reconstruct, trajectory
from diadbench.methods.diad.score_maps import POOL, SIGMA, anomaly_map, image_score, level_maps
from diadbench.methods.diad.stages import AutoencoderStage, DiffusionStage, find_lpips
from diadbench.methods.features.backbone_tags import check_backbone
from diadbench.methods.features.backbones import Backbone, load_backbone
from diadbench.methods.features.origin import Origin, add, notes_of
from diadbench.methods.training.devices import has_bf16
from diadbench.methods.training.feeding import Fetch
from diadbench.methods.training.lightning import Budget, LightningMethod, Precision, Stage, Stages, train_stages

if TYPE_CHECKING:
    from diadbench.datasets.decoding.data import TrainData


class DiAD(LightningMethod[DiADModel]):
    """Latent diffusion with a semantic-guided network; the map compares features of input and reconstruction.

    Args:
        size: ``sd15``, ``small`` or ``tiny``.
        width: Channels of the finest level, for the authors' layout at another width; 0 takes ``size``.
        weights: Stable Diffusion 1.5 (a diffusers folder, a ``.safetensors``/``.ckpt`` file, a repository on the hub),
            or ``random``, which is noted.
        autoencoder: A file with a finetuned autoencoder; stage 1 is then left out unless it has steps.
        checkpoint: The authors' trained ``.ckpt``, one in their layout, or a file or folder that ``methods export``
            wrote; nothing is trained then, the checkpoint's sizes count, and notes say where it comes from.
        autoencoder_steps: Steps of stage 1; 0 leaves it out.
        autoencoder_batch_size: Images a step of stage 1.
        autoencoder_accumulate: Batches a step of stage 1.
        autoencoder_lr: Learning rate of stage 1.
        autoencoder_betas: Adam's betas in stage 1; a short one without a discriminator does better with (0.9, 0.99).
        discriminator: Add a PatchGAN to stage 1, as the authors have it.
        discriminator_start: First step of stage 1 with it, counted from 0.
        train_steps: Steps of stage 2.
        batch_size: Images a batch of stage 2.
        accumulate: Batches a step of stage 2.
        lr: Learning rate of stage 2.
        lr_decay: Let both learning rates fall to zero in a straight line.
        train_levels: Noise levels that stage 2 learns, from 0 on; the paper's are all 1000. Fewer must reach ``start``.
        sff_init: ``official`` (SFF never learns) or ``active``; see docs/diad.md.
        optimizer: Of stage 2: ``adamw``, ``adamw8bit`` or ``adafactor`` (least memory, 14,000 more kernels a step).
        precision: Of training, Lightning's name; ``auto`` is bf16 where the GPU has it.
        checkpointing: Recompute activations in the backward pass, to save memory; a GPU of 40 GB or more keeps them
            where they fit. ``extras`` say what was done, and how many images a GPU takes at a time.
        frozen_precision: Of the UNet's frozen half during stage 2; its float32 weights come back afterwards.
        cache_latents: Encode each training image once; the autoencoder leaves the device during stage 2.
        scale_latents: Scale latents to a standard deviation of one after stage 1 (for autoencoders trained here).
        steps: DDIM steps.
        start: Noise level that the reconstruction starts from.
        n_samples: Reconstructions with different noise whose maps are averaged.
        backbone: timm name of the network that compares input and reconstruction, ``model.tag`` for weights from
            the hub.
        backbone_weights: As for every backbone: ``hub``, a file, a folder, ``package``, ``random``.
        levels: Feature levels that are compared.
        feature_size: Side to which images are resized for the backbone; 0 leaves them.
        sigma: Of the Gaussian that smooths the map, in pixels.
        pool: Side of the eight average poolings before the image score's maximum; 8 is for 256 pixels.
        ablation: ``autoencoder`` reconstructs with the autoencoder alone, to see what the diffusion adds.
        inference_precision: ``float32`` or ``bfloat16`` (autocast) in prediction.
        channels_last: Memory order of the networks; faster, same maps up to rounding.
        checkpoint_minutes: Minutes between two checkpoints of a training.
        compile: Predict with ``torch.compile``; the first batch takes minutes, and a C++ compiler on a CPU.
    """

    info = CATALOG["diad"].info

    def __init__(
        self,
        size: str = "sd15",
        width: int = 0,
        weights: str = "stable-diffusion-v1-5/stable-diffusion-v1-5",
        autoencoder: str = "",
        checkpoint: str = "",
        autoencoder_steps: int = 0,
        autoencoder_batch_size: int = 4,
        autoencoder_accumulate: int = 8,
        autoencoder_lr: float = 1.8e-4,
        autoencoder_betas: tuple[float, float] = (0.5, 0.9),
        discriminator: bool = False,
        discriminator_start: int = START,
        train_steps: int = 20000,
        batch_size: int = 12,
        accumulate: int = 4,
        lr: float = 1e-5,
        lr_decay: bool = False,
        train_levels: int = LEVELS,
        sff_init: Literal["official", "active"] = "active",
        optimizer: Literal["adamw", "adamw8bit", "adafactor"] = "adamw",
        precision: Literal["auto"] | Precision = "auto",
        checkpointing: bool = True,
        frozen_precision: Literal["float32", "bfloat16"] = "float32",
        cache_latents: bool = True,
        scale_latents: bool = False,
        steps: int = 10,
        start: int = LEVELS - 1,
        n_samples: int = 1,
        backbone: str = "resnet50.a1_in1k",
        backbone_weights: str = "hub",
        levels: Sequence[int] = (1, 2, 3),
        feature_size: int = 0,
        sigma: float = SIGMA,
        pool: int = POOL,
        ablation: Literal["none", "autoencoder"] = "none",
        inference_precision: Literal["float32", "bfloat16"] = "float32",
        channels_last: bool = True,
        compile: bool = False,
        checkpoint_minutes: float = 5.0,
    ) -> None:
        self.config = config.of_width(width) if width else config.size(size)
        self._size_is_chosen = bool(width) or size != "sd15"
        if n_samples < 1:
            raise UserError(f"diad: n_samples is {n_samples}; expected 1 or more")
        timesteps(steps, start)
        if not start < train_levels <= LEVELS:
            raise UserError(f"diad: train_levels is {train_levels}; expected {start + 1} (above the start) to {LEVELS}")
        self.train_levels = train_levels
        self.weights, self.autoencoder, self.checkpoint = weights, autoencoder, checkpoint
        self.stage1 = Budget(
            autoencoder_steps,
            autoencoder_batch_size,
            autoencoder_accumulate,
            checkpoint_minutes=checkpoint_minutes,
            called={name: f"autoencoder_{name}" for name in ("steps", "batch_size", "accumulate")},
        )
        self.stage2 = Budget(
            train_steps, batch_size, accumulate, checkpoint_minutes=checkpoint_minutes, called={"steps": "train_steps"}
        )
        if discriminator_start < 0:
            raise UserError(f"diad: discriminator_start is {discriminator_start}; expected a step from 0 on")
        self.discriminator_start = discriminator_start if discriminator else None
        self.autoencoder_lr, self.lr, self.lr_decay = autoencoder_lr, lr, lr_decay
        if not all(0 <= beta < 1 for beta in autoencoder_betas):
            raise UserError(f"diad: autoencoder_betas are {autoencoder_betas}; expected two numbers from 0 to below 1")
        self.autoencoder_betas = autoencoder_betas
        self.sff_init, self.optimizer, self.precision = sff_init, optimizer, precision
        self.checkpointing, self.cache_latents, self.scale_latents = checkpointing, cache_latents, scale_latents
        self.frozen_precision = frozen_precision
        self.steps, self.start, self.n_samples = steps, start, n_samples
        self.backbone_name, self.backbone_weights, self.levels = backbone, backbone_weights, tuple(levels)
        self.feature_size, self.sigma, self.pool, self.ablation = feature_size, sigma, pool, ablation
        self.inference_precision, self.channels_last = inference_precision, channels_last
        self.compile = compile
        self._estimate: Estimate | None = None
        self._predictor: DiADModel | None = None
        self._backbone: Backbone | None = None
        self._run: RunContext | None = None

    @classmethod
    def check_options(cls, options: Mapping[str, Any]) -> None:
        """Refuse a backbone from the hub without a tag."""
        check_backbone(options["backbone"], options["backbone_weights"])

    @property
    def model(self) -> DiADModel:
        """The networks; they are set by training. RuntimeError before :meth:`fit` and :meth:`load`."""
        return self.fitted()

    @model.setter
    def model(self, model: DiADModel) -> None:
        self._model = model

    # -- training -------------------------------------------------------------------------------------------

    def stages(self, train: TrainData, run: RunContext) -> Stages:
        """Train stage 1 (if it has steps) and stage 2; neither if the option ``checkpoint`` provides the networks."""
        self._prepare(run)
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
        add(run.notes, _small(found.model.config))
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

    # -- prediction -----------------------------------------------------------------------------------------

    def predict(self, images: Tensor) -> Prediction:
        """Reconstruct, compare features, smooth, pool. Noise depends only on each image and the seed."""
        with torch.no_grad():
            maps, reconstruction = self.explain(images.to(self.fitted().text.device))
            total = anomaly_map(maps, self.sigma)
            return Prediction(total.float(), image_score(total, self.pool).float(), reconstruction.clamp(0, 1))

    @torch.no_grad()
    def explain(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return the map of each level ``(B,levels,H,W)`` and the reconstruction in [0,1] (not clamped).

        Both are means over ``n_samples``.
        """
        size = (images.shape[2], images.shape[3])
        before = self._features(images)
        maps, outputs = [], []
        for draw in range(self.n_samples):
            output = denormalise(self.reconstruct(images, draw=draw))
            maps.append(level_maps(before, self._features(output), size))
            outputs.append(output)
        return torch.stack(maps).mean(dim=0), torch.stack(outputs).mean(dim=0)

    @torch.no_grad()
    def reconstruct(self, images: Tensor, *, draw: int = 0) -> Tensor:
        """Return normalised reconstructions ``(B,3,H,W)`` of images in [0,1]."""
        assert self._run is not None
        model, x = self._predictor or self.fitted(), normalise(images)
        half = self.inference_precision == "bfloat16"
        with torch.autocast(images.device.type, torch.bfloat16, enabled=half):
            mean, logvar = model.encode(x)
            mean, logvar = mean.float(), logvar.float()
            if self.ablation == "autoencoder":
                return model.decode(model.config.scale * mean).float()
            noises = image_noise(images, mean.shape[1:], seed=self._run.seed, draw=draw)
            return reconstruct(
                model, x, (mean, logvar), noises, steps=self.steps, start=self.start, estimate=self._estimate
            )

    @torch.no_grad()
    def denoising(self, images: Tensor) -> tuple[list[int], Tensor, Tensor]:
        """Return intermediate results of a reconstruction's steps for drawing.

        Returns:
            The steps' times; the decoded latents after each step, and the decoded estimates of the clean latents in
            it: ``float32 (steps,B,3,H,W)`` each, in [0,1] but for what isn't clamped.
        """
        assert self._run is not None
        model, x = self.fitted(), normalise(images)
        posterior = model.encode(x)
        noises = image_noise(images, posterior[0].shape[1:], seed=self._run.seed)
        steps = list(trajectory(model, x, posterior, noises, steps=self.steps, start=self.start))
        after = torch.stack([denormalise(model.decode(step.x)) for step in steps])
        clean = torch.stack([denormalise(model.decode(step.x0)) for step in steps])
        return [step.t for step in steps], after, clean

    def _features(self, images: Tensor) -> list[Tensor]:
        assert self._backbone is not None
        if self.feature_size:
            images = F.interpolate(images, size=self.feature_size, mode="bilinear", align_corners=False)
        features: list[Tensor] = self._backbone(images)
        return features

    # -- keeping --------------------------------------------------------------------------------------------

    def save(self, directory: Path) -> None:
        """Write the networks; the backbone is loaded again by its name."""
        weights.save(self.fitted(), directory)

    def load(self, directory: Path, run: RunContext) -> None:
        """Read the files that :meth:`save` wrote."""
        self._prepare(run, trained_before=True)
        model = weights.load(directory)
        model.config.check_size(*run.image_size)
        self.keep(model, run)

    @staticmethod
    def export(directory: Path, format: str, out: Path, origin: Origin | None = None) -> None:
        """Write a kept model for other programs; see :func:`diadbench.methods.diad.checkpoints.export`."""
        weights.export(directory, format, out, origin)

    def _prepare(self, run: RunContext, *, trained_before: bool = False) -> None:
        self._run = run
        if not self.checkpoint:  # its own sizes are used
            self.config.check_size(*run.image_size)
        backbone = load_backbone(
            self.backbone_name, weights=self.backbone_weights, out_indices=self.levels, trained_before=trained_before
        )
        backbone.tell(run)
        self._backbone = backbone.to(run.device)
        notes: list[str] = []
        if self.start != LEVELS - 1:
            notes.append(f"DiAD starts from noise level {self.start}")
        if self.train_levels != LEVELS and not self.checkpoint:
            notes.append(f"DiAD trained on noise levels below {self.train_levels} only")
        if not self.checkpoint:
            notes += _small(self.config)
        if self.ablation != "none":
            notes.append("DiAD's autoencoder alone, without diffusion")
        add(run.notes, notes)

    def keep(self, model: DiADModel, run: RunContext) -> None:
        """Keep the networks for prediction: on the device, frozen, and compiled if requested."""
        super().keep(self._placed(model, run), run)
        model.requires_grad_(False)
        once = self.inference_precision == "bfloat16" and run.device.type == "cuda"
        self._predictor = with_half_weights(model) if once else None
        self._estimate = torch.compile((self._predictor or model).eps) if self.compile else None

    def _placed(self, model: DiADModel, run: RunContext) -> DiADModel:
        model.to(run.device)
        if self.channels_last:
            model.to(memory_format=torch.channels_last)
        return model


def _small(sizes: config.ModelConfig) -> list[str]:
    """Return a note if the networks differ in size from the authors'; ``scale`` is no size."""
    if dataclasses.replace(sizes, scale=config.ModelConfig.scale) == config.SIZES["sd15"]:
        return []
    return [f"DiAD at a small size ({sizes.channels[0]} channels)"]
