"""The discriminator of stage 1 (the authors' ``LPIPSWithDiscriminator``): a PatchGAN, hinge loss, adaptive weight."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

#: First step with the authors' discriminator, steps counted from 0.
START = 50_001
#: Weight of the discriminator in the autoencoder's loss, before the adaptive weight.
WEIGHT = 0.5
_LARGEST = 1e4


def patch_gan(width: int = 64) -> nn.Sequential:
    """Return a PatchGAN with three halving layers; images ``(B,3,H,W)`` from 32 pixels on give logits ``(B,1,h,w)``.

    Weights are normal with a standard deviation of 0.02, as in the authors' code.
    """
    layers: list[nn.Module] = [nn.Conv2d(3, width, 4, stride=2, padding=1), nn.LeakyReLU(0.2)]
    channels = width
    for stride in (2, 2, 1):
        wider = 2 * channels
        layers += [nn.Conv2d(channels, wider, 4, stride=stride, padding=1, bias=False), nn.BatchNorm2d(wider)]
        layers += [nn.LeakyReLU(0.2)]
        channels = wider
    network = nn.Sequential(*layers, nn.Conv2d(channels, 1, 4, padding=1))
    for module in network:
        if isinstance(module, nn.Conv2d):
            nn.init.normal_(module.weight, 0.0, 0.02)
        elif isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.weight, 1.0, 0.02)
            nn.init.zeros_(module.bias)
    return network


def generator_loss(discriminator: nn.Module, output: Tensor) -> Tensor:
    """Return the generator loss, small if reconstructions are classified as images. Only they get a gradient."""
    discriminator.requires_grad_(False)
    loss: Tensor = -discriminator(output).mean()
    discriminator.requires_grad_(True)
    return loss


def discriminator_loss(discriminator: nn.Module, images: Tensor, output: Tensor) -> Tensor:
    """Return the discriminator's hinge loss. The autoencoder gets no gradient."""
    real, fake = discriminator(images.detach()), discriminator(output.detach())
    loss: Tensor = 0.5 * (F.relu(1 - real).mean() + F.relu(1 + fake).mean())
    return loss


def adaptive_weight(reconstruction: Tensor, adversarial: Tensor, last: Tensor) -> Tensor:
    """Return the weight that makes both gradients equal at the decoder's ``last`` layer, at most 1e4, times 0.5."""
    (wanted,) = torch.autograd.grad(reconstruction, last, retain_graph=True)
    (found,) = torch.autograd.grad(adversarial, last, retain_graph=True)
    weight: Tensor = WEIGHT * (wanted.norm() / (found.norm() + 1e-4)).clamp(0, _LARGEST).detach()
    return weight
