"""DRAEM's three losses as the authors compute them, and the image score.

anomalib 2.7 takes SSIM and focal loss from kornia. With kornia 0.9 its ``FocalLoss(alpha=1)`` gives class 0 the
weight ``1 - alpha = 0``, so normal pixels have no loss. Here both classes have weight 1, as in the authors' code.
"""

from __future__ import annotations

import functools

import torch
from torch import Tensor
from torch.nn import functional

#: Side of the SSIM window and its Gaussian's standard deviation, in pixels.
WINDOW, SIGMA = 11, 1.5

#: Side of the window over which the anomaly map is averaged before its maximum is taken, at 256 pixels.
POOL = 21


def ssim(first: Tensor, second: Tensor) -> Tensor:
    """Return the mean structural similarity of ``(B,C,H,W)``, a scalar in [-1,1].

    Windows at the border are padded with zeros. The data range is derived from ``first`` as in the authors' code: 1, or
    255 if a value exceeds 128; plus 1 if a value is below -0.5.
    """
    c1, c2 = _constants(first.detach())
    mean_1, mean_2, var_1, var_2, covariance = _moments(first, second)
    similarity = (2 * mean_1 * mean_2 + c1) * (2 * covariance + c2)
    return (similarity / ((mean_1.square() + mean_2.square() + c1) * (var_1 + var_2 + c2))).mean()


def _constants(images: Tensor) -> tuple[Tensor | float, Tensor | float]:
    """Return SSIM's two constants for the data range; on a GPU as tensors, so that the host doesn't wait."""
    if images.device.type == "cpu":
        span: Tensor | float = (255.0 if images.max() > 128 else 1.0) + (1.0 if images.min() < -0.5 else 0.0)
    else:
        span = 1.0 + 254.0 * (images.max() > 128).double() + (images.min() < -0.5).double()
    return (0.01 * span) ** 2, (0.03 * span) ** 2


def _moments(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Return both means and variances and the covariance of each window; on a GPU with one convolution."""
    if first.device.type == "cpu":  # This order decides the order in which gradients are added.
        mean_1, mean_2 = _blur(first), _blur(second)
        var_1 = _blur(first * first) - mean_1.square()
        var_2 = _blur(second * second) - mean_2.square()
        return mean_1, mean_2, var_1, var_2, _blur(first * second) - mean_1 * mean_2
    blurred = _blur(torch.cat([first, second, first * first, second * second, first * second]))
    mean_1, mean_2, square_1, square_2, product = blurred.chunk(5)
    return mean_1, mean_2, square_1 - mean_1.square(), square_2 - mean_2.square(), product - mean_1 * mean_2


@functools.lru_cache(maxsize=8)
def _line(dtype: torch.dtype, device: torch.device) -> Tensor:
    """Return the weights of a one-dimensional Gaussian; they sum to 1."""
    with torch.inference_mode(False):
        place = torch.arange(WINDOW, device=device, dtype=dtype) - WINDOW // 2
        line = torch.exp(-place.square() / (2 * SIGMA**2))
        return line / line.sum()


def _blur(images: Tensor) -> Tensor:
    """Apply a separable Gaussian with zero padding to each channel."""
    line = _line(images.dtype, images.device)
    channels = images.shape[1]
    rows = line.view(1, 1, -1, 1).expand(channels, 1, -1, 1)
    images = functional.conv2d(images, rows, padding=(WINDOW // 2, 0), groups=channels)
    return functional.conv2d(images, rows.transpose(2, 3), padding=(0, WINDOW // 2), groups=channels)


def focal(probability: Tensor, mask: Tensor, gamma: float = 2.0, smooth: float = 1e-5) -> Tensor:
    """Return the focal loss with equal class weights: a scalar, the mean over pixels.

    Args:
        probability: Softmax output ``(B,2,H,W)``.
        mask: 1 where anomalous, ``(B,1,H,W)``.
        gamma: Power of ``1 - p``.
        smooth: The target is clamped to ``[smooth, 1 - smooth]``, and ``smooth`` is added to the target's probability.
    """
    target = torch.cat([1 - mask, mask], 1).clamp(smooth, 1 - smooth)
    p = (target * probability).sum(1) + smooth
    return -((1 - p).pow(gamma) * p.log()).mean()


def draem_loss(reconstruction: Tensor, clean: Tensor, logits: Tensor, mask: Tensor) -> dict[str, Tensor]:
    """Return the parts ``l2``, ``ssim``, ``focal`` and their sum ``loss``, all scalars, in float32 in any precision.

    Args:
        reconstruction: Reconstruction of the corrupted image, ``(B,3,H,W)``.
        clean: The image before the corruption, ``(B,3,H,W)`` in [0,1].
        logits: Logits of the segmentation, ``(B,2,H,W)``.
        mask: Corrupted pixels, ``(B,1,H,W)``.
    """
    # SSIM's variances are differences of large squares, of which half precision leaves only rounding errors.
    with torch.autocast(reconstruction.device.type, enabled=False):
        reconstruction, clean, logits = reconstruction.float(), clean.float(), logits.float()
        parts = {
            "l2": functional.mse_loss(reconstruction, clean),
            "ssim": 1 - ssim(reconstruction, clean),
            "focal": focal(logits.softmax(1), mask),
        }
    return {**parts, "loss": parts["l2"] + parts["ssim"] + parts["focal"]}


def image_score(anomaly_map: Tensor, pool: int = POOL) -> Tensor:
    """Return the largest mean of ``pool`` x ``pool`` pixels (odd) of each map ``(B,H,W)``: ``float32 (B,)``.

    Pixels beyond the border count as zeros.
    """
    return functional.avg_pool2d(anomaly_map[:, None], pool, stride=1, padding=pool // 2).flatten(1).amax(1)
