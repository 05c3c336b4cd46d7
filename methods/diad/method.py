"""DiAD as a method of the benchmark: trained in two stages, predicts by reconstruction."""

from __future__ import annotations

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
from diadbench.methods.diad.diffusion import LEVELS, Spacing, timesteps
from diadbench.methods.diad.networks.discriminator import START
from diadbench.methods.diad.networks.model import DiADModel
from diadbench.methods.diad.reconstruct import (
    STEPS,
    Estimate,
    denormalise,
    image_noise,
    normalise,
    reconstruct,
    sampling_notes,
    trajectory,
    with_half_weights,
)
from diadbench.methods.diad.score_maps import (
    BACKBONE,
    FEATURE_LEVELS,
    POOL,
    SIGMA,
    anomaly_map,
    feature_notes,
    image_score,
    level_maps,
)
from diadbench.methods.diad.training import DiADTraining, size_notes
from diadbench.methods.features.backbone_tags import check_backbone
from diadbench.methods.features.backbones import Backbone, backbone_of_run
from diadbench.methods.features.origin import Origin, add, one_source
from diadbench.methods.training.lightning import Budget, Precision, Stages

if TYPE_CHECKING:
    from diadbench.datasets.decoding.data import TrainData


class DiAD(DiADTraining):
    """Latent diffusion with a semantic-guided network; the map compares features of input and reconstruction.

    Args:
        size: ``sd15``, ``small`` or ``tiny``.
        width: Channels of the finest level, for the authors' layout at another width; 0 takes ``size``.
        weights: Stable Diffusion 1.5 (a diffusers folder, a ``.safetensors``/``.ckpt`` file, a repository on the hub),
            or ``random``, which is noted.
        autoencoder: A finetuned autoencoder, as a file or as diffusers' folder; stage 1 is then left out unless it has
            steps.
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
        spacing: ``leading``: the steps are counted up from level 1, as the authors do, so that few steps begin far
            below ``start``; ``trailing``: down from ``start``, which is noted.
        n_samples: Reconstructions with different noise whose maps are averaged.
        posterior: What the reconstruction starts from: ``sample`` (a draw from the posterior, as the authors do) or
            ``mean`` (its mean, which is noted). Training always draws.
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
        steps: int = STEPS,
        start: int = LEVELS - 1,
        spacing: Spacing = "leading",
        n_samples: int = 1,
        posterior: Literal["sample", "mean"] = "sample",
        backbone: str = BACKBONE,
        backbone_weights: str = "hub",
        levels: Sequence[int] = FEATURE_LEVELS,
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
        timesteps(steps, start, spacing)
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
        self.steps, self.start, self.spacing = steps, start, spacing
        self.n_samples, self.posterior = n_samples, posterior
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
        """Refuse a backbone from the hub without a tag, and two sources of the same weights."""
        check_backbone(options["backbone"], options["backbone_weights"])
        one_source("diad", options, cls, "weights", "autoencoder")

    @property
    def model(self) -> DiADModel:
        """The networks; they are set by training. RuntimeError before :meth:`fit` and :meth:`load`."""
        return self.fitted()

    @model.setter
    def model(self, model: DiADModel) -> None:
        self._model = model

    def stages(self, train: TrainData, run: RunContext) -> Stages:
        """Train stage 1 (if it has steps) and stage 2; neither if the option ``checkpoint`` provides the networks."""
        self._prepare(run)
        yield from super().stages(train, run)

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
        posterior = self._encode(images)
        draws = self.n_samples if self.ablation == "none" else 1  # an autoencoder alone draws nothing
        maps, outputs = [], []
        for draw in range(draws):
            output = denormalise(self.reconstruct(images, draw=draw, posterior=posterior))
            maps.append(level_maps(before, self._features(output), size))
            outputs.append(output)
        return torch.stack(maps).mean(dim=0), torch.stack(outputs).mean(dim=0)

    @torch.no_grad()
    def reconstruct(self, images: Tensor, *, draw: int = 0, posterior: tuple[Tensor, Tensor] | None = None) -> Tensor:
        """Return normalised reconstructions ``(B,3,H,W)`` of images in [0,1].

        Args:
            images: ``float32 (B,3,H,W)``.
            draw: Number of the noise, if several reconstructions are averaged.
            posterior: Mean and log-variance ``(B,4,h,w)`` where the images are encoded already.
        """
        mean, logvar = posterior or self._encode(images)
        model = self._predictor or self.fitted()
        with self._autocast(images):
            if self.ablation == "autoencoder":
                return model.decode(model.config.scale * mean).float()
            noises = self._noises(images, mean, draw)
            return reconstruct(
                model,
                normalise(images),
                (mean, logvar),
                noises,
                steps=self.steps,
                start=self.start,
                spacing=self.spacing,
                estimate=self._estimate,
            )

    def _encode(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return the posterior's mean and log-variance, ``float32 (B,4,h,w)`` each."""
        with self._autocast(images):
            mean, logvar = (self._predictor or self.fitted()).encode(normalise(images))
        return mean.float(), logvar.float()

    def _autocast(self, images: Tensor) -> torch.autocast:
        return torch.autocast(images.device.type, torch.bfloat16, enabled=self.inference_precision == "bfloat16")

    def _noises(self, images: Tensor, mean: Tensor, draw: int = 0) -> tuple[Tensor | None, Tensor]:
        """Return the posterior's noise, ``None`` where its mean is taken, and the diffusion's noise."""
        assert self._run is not None
        posterior, diffusion = image_noise(images, mean.shape[1:], seed=self._run.seed, draw=draw)
        return None if self.posterior == "mean" else posterior, diffusion

    @torch.no_grad()
    def denoising(self, images: Tensor) -> tuple[list[int], Tensor, Tensor]:
        """Return intermediate results of a reconstruction's steps for drawing.

        Returns:
            The steps' times; the decoded latents after each step, and the decoded estimates of the clean latents in
            it: ``float32 (steps,B,3,H,W)`` each, in [0,1] but for what isn't clamped.
        """
        model, x = self.fitted(), normalise(images)
        posterior = model.encode(x)
        noises = self._noises(images, posterior[0])
        steps = list(trajectory(model, x, posterior, noises, steps=self.steps, start=self.start, spacing=self.spacing))
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
        self._backbone = backbone_of_run(
            run,
            self.backbone_name,
            weights=self.backbone_weights,
            out_indices=self.levels,
            trained_before=trained_before,
        )
        notes = feature_notes(self.backbone_name, self.levels)
        if self.ablation == "none":
            notes += sampling_notes(self.steps, self.start, self.spacing, self.n_samples, self.posterior)
        if self.train_levels != LEVELS and not self.checkpoint:
            notes.append(f"DiAD trained on noise levels below {self.train_levels} only")
        if not self.checkpoint:
            notes += size_notes(self.config)
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
