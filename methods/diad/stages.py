"""The two stages of training as Lightning modules: the autoencoder, then the SG network with the UNet's decoder."""

from __future__ import annotations

import importlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from torch import Tensor, nn

from diadbench.common.errors import Skip, unknown_name
from diadbench.methods.diad.diffusion import LEVELS
from diadbench.methods.diad.networks.discriminator import adaptive_weight, discriminator_loss, generator_loss, patch_gan
from diadbench.methods.diad.networks.model import DiADModel
from diadbench.methods.diad.reconstruct import normalise
from diadbench.methods.training import draws
from diadbench.methods.training.optimizers import Adafactor

OPTIMIZERS = ("adamw", "adamw8bit", "adafactor")
KL_WEIGHT = 1e-6
_VGG = "vgg16-397923af.pth"


def make_optimizer(name: str, parameters: Iterable[nn.Parameter], lr: float) -> torch.optim.Optimizer:
    """Return an optimiser: ``adamw``; ``adamw8bit`` (bitsandbytes, a byte a moment); ``adafactor`` (factored).

    Raises:
        UserError: Unknown name. Skip: bitsandbytes isn't installed.
    """
    parameters = list(parameters)
    if name == "adamw":
        real = all(parameter.device.type in ("cpu", "cuda") for parameter in parameters)
        return torch.optim.AdamW(parameters, lr=lr, fused=real)  # without temporaries as large as the model
    if name == "adafactor":
        return Adafactor(parameters, lr=lr)
    if name != "adamw8bit":
        raise unknown_name("optimizer of DiAD", name, OPTIMIZERS)
    try:
        package = importlib.import_module("bitsandbytes")
    except ImportError as error:
        raise Skip("optimizer: adamw8bit needs bitsandbytes; pip install bitsandbytes, or adafactor") from error
    optimizer: torch.optim.Optimizer = package.optim.AdamW8bit(parameters, lr=lr)
    return optimizer


class _Stage(pl.LightningModule):
    """Common parts of both stages: the optimiser and the decay of the learning rate."""

    def __init__(self, model: DiADModel, optimizer: str, lr: float, decay_steps: int) -> None:
        super().__init__()
        self.model = model
        self._optimizer, self._lr, self._decay_steps = optimizer, lr, decay_steps

    def trained(self) -> list[nn.Parameter]:
        """Return the parameters that need a gradient."""
        return [parameter for parameter in self.parameters() if parameter.requires_grad]

    def make_optimizer(self) -> torch.optim.Optimizer:
        """Return the optimiser of the option."""
        return make_optimizer(self._optimizer, self.trained(), self._lr)

    def configure_optimizers(self) -> Any:
        """Return the optimiser; the learning rate is constant or decreases linearly to zero."""
        optimizer = self.make_optimizer()
        if not self._decay_steps:
            return optimizer
        scheduler = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, total_iters=self._decay_steps)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}


class AutoencoderStage(_Stage):
    """Stage 1: the whole autoencoder. L1, summed over an image, + LPIPS for each pixel if there is one + KL.

    With a discriminator, its loss is added from step ``discriminator_start`` on. One Adam updates both networks. Since
    their parameters are separate, this equals two optimisers, except that the discriminator sees reconstructions from
    before the autoencoder's update, while the authors' sees those from after it.

    Args:
        model: The networks.
        lpips: Perceptual distance of normalised images, or ``None``.
        lr: Learning rate of Adam.
        betas: Adam's betas; the authors use (0.5, 0.9) because of the discriminator.
        decay_steps: Steps after which the learning rate is zero; 0 keeps it.
        discriminator_start: First step with the discriminator, counted from 0; ``None``: no discriminator.
    """

    def __init__(
        self,
        model: DiADModel,
        lpips: nn.Module | None,
        lr: float,
        decay_steps: int,
        *,
        betas: tuple[float, float] = (0.5, 0.9),
        discriminator_start: int | None = None,
    ) -> None:
        super().__init__(model, "adam", lr, decay_steps)
        self._betas = betas
        self._lpips = [lpips]  # in a list, so that its weights are not part of the checkpoint
        model.requires_grad_(False)
        model.vae.requires_grad_(True)
        self._start = discriminator_start
        self.discriminator = None if discriminator_start is None else patch_gan()

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        """Return the loss of a batch of images in [0,1]."""
        images = normalise(batch["image"])
        mean, logvar = (each.float() for each in self.model.encode(images))
        z = self.model.sample_latent(mean, logvar, draws.normal(mean))
        output = self.model.decode(z).float()  # Sums over an image exceed the range of half precision.
        pixels = (images - output).abs()
        l1 = pixels.sum() / len(images)
        kl = 0.5 * (mean**2 + logvar.exp() - 1 - logvar).sum() / len(images)
        loss = l1 + KL_WEIGHT * kl
        lpips = self._lpips[0]
        if lpips is not None:
            distance = lpips.to(images.device)(images, output).mean()
            loss = loss + distance * pixels[0].numel()
            self.log("lpips", distance)
        self.log_dict({"loss": loss, "l1": pixels.mean(), "kl": kl})
        return loss if self.discriminator is None else self._judged(self.discriminator, loss, images, output)

    def _judged(self, discriminator: nn.Module, loss: Tensor, images: Tensor, output: Tensor) -> Tensor:
        """Return the loss with the discriminator's share, and the discriminator's own loss."""
        if self._start is None or self.global_step < self._start:
            # Zero gradients instead of none, because distributed processes wait for every parameter's gradient.
            return loss + 0.0 * sum(parameter.sum() for parameter in discriminator.parameters())
        adversarial = generator_loss(discriminator, output)
        weight = adaptive_weight(loss, adversarial, self.model.vae.decoder.conv_out.weight)
        own = discriminator_loss(discriminator, images, output)
        self.log_dict({"fooling": adversarial, "telling": own, "adaptive_weight": weight})
        return loss + weight * adversarial + own

    def make_optimizer(self) -> torch.optim.Optimizer:
        """Return Adam with betas of its own."""
        return torch.optim.Adam(self.trained(), lr=self._lr, betas=self._betas)


class DiffusionStage(_Stage):
    """Stage 2: mean squared error of the noise estimate. Batches hold ``image``, with or without ``mean``, ``logvar``.

    Args:
        model: The networks.
        optimizer: See :func:`make_optimizer`.
        lr: Learning rate.
        decay_steps: Steps after which the learning rate is zero; 0 keeps it.
        levels: Noise levels that are drawn, from 0 on.
    """

    def __init__(self, model: DiADModel, optimizer: str, lr: float, decay_steps: int, *, levels: int = LEVELS) -> None:
        super().__init__(model, optimizer, lr, decay_steps)
        self._levels = levels
        trained = model.trained_parameters()
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(name in trained)

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        """Return the loss of a batch, and log it."""
        loss = self.loss(batch)
        self.log("loss", loss)
        return loss

    def loss(self, batch: dict[str, Tensor]) -> Tensor:
        """Return the loss of a batch; the posterior is sampled here, at every step."""
        images = normalise(batch["image"])
        if "mean" in batch:
            mean, logvar = batch["mean"], batch["logvar"]
        else:
            with torch.no_grad():
                mean, logvar = self.model.encode(images)
        z = self.model.sample_latent(mean, logvar, draws.normal(mean))
        t = draws.integers(self._levels, len(z), z.device)
        return self.model.loss(z, images, draws.normal(z), t)


def find_lpips() -> nn.Module | None:
    """Return LPIPS (VGG16) if torchvision's weights are in the local cache; they are never downloaded."""
    if not (Path(torch.hub.get_dir()) / "checkpoints" / _VGG).is_file():
        return None
    from torchmetrics.image.lpip import LearnedPerceptualImagePatchSimilarity

    network: nn.Module = LearnedPerceptualImagePatchSimilarity(net_type="vgg").net
    return network.requires_grad_(False).eval()
