"""DRAEM's losses against values worked out by hand and against formulas written another way."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.ndimage import correlate1d
from torch import Tensor

from diadbench.methods.draem.losses import draem_loss, focal, image_score, ssim

C1, C2 = 0.01**2, 0.03**2


def two_class(p_anomalous: float, size: int = 4) -> Tensor:
    return torch.tensor([1 - p_anomalous, p_anomalous]).view(1, 2, 1, 1).expand(1, 2, size, size)


def slow_ssim(first: Tensor, second: Tensor, span: float = 1.0) -> float:
    """The definition, in double precision, window sums by scipy; zeros beyond the border."""
    line = np.exp(-((np.arange(11) - 5) ** 2) / (2 * 1.5**2))
    line /= line.sum()

    def blur(x: np.ndarray) -> np.ndarray:
        rows = correlate1d(x, line, axis=-2, mode="constant", cval=0.0)
        return correlate1d(rows, line, axis=-1, mode="constant", cval=0.0)

    x, y = first.double().numpy(), second.double().numpy()
    mx, my = blur(x), blur(y)
    vx, vy, cov = blur(x * x) - mx**2, blur(y * y) - my**2, blur(x * y) - mx * my
    c1, c2 = (0.01 * span) ** 2, (0.03 * span) ** 2
    return float((((2 * mx * my + c1) * (2 * cov + c2)) / ((mx**2 + my**2 + c1) * (vx + vy + c2))).mean())


def test_ssim_of_one_pixel_by_hand() -> None:
    """White against black: only the window's middle weight w counts, the rest is padding."""
    w = 1 / sum(math.exp(-(i**2) / 4.5) for i in range(-5, 6)) ** 2
    expected = C1 * C2 / ((w**2 + C1) * (w - w**2 + C2))
    found = ssim(torch.ones(1, 1, 1, 1, dtype=torch.float64), torch.zeros(1, 1, 1, 1, dtype=torch.float64))
    assert found.item() == pytest.approx(expected, rel=1e-12)


def test_ssim_of_flat_images_by_hand() -> None:
    """Far from the border a flat .8 against a flat .4 gives (2ab+c1)/(a^2+b^2+c1)."""
    a, b = torch.full((1, 1, 31, 31), 0.8, dtype=torch.float64), torch.full((1, 1, 31, 31), 0.4, dtype=torch.float64)
    flat = (2 * 0.32 + C1) / (0.64 + 0.16 + C1)
    assert flat == pytest.approx(0.800024997)
    assert ssim(a, b).item() != pytest.approx(flat, abs=1e-3), "the zeros at the border must show"
    assert ssim(a, b).item() == pytest.approx(slow_ssim(a, b), abs=1e-12)


@pytest.mark.parametrize(("scale", "shift", "span"), [(1, 0, 1), (2, -1, 2), (200, 0, 255), (202, -1, 256)])
def test_ssim_equals_the_definition_for_each_guessed_range(scale: float, shift: float, span: float) -> None:
    generator = torch.Generator().manual_seed(0)
    first = torch.rand(2, 3, 17, 23, generator=generator, dtype=torch.float64) * scale + shift
    second = (first + 0.2 * torch.rand(first.shape, generator=generator, dtype=torch.float64)).clamp(0, 1)
    assert ssim(first, second).item() == pytest.approx(slow_ssim(first, second, span), abs=1e-10)


def test_the_range_is_guessed_from_the_first_argument() -> None:
    image, other = torch.full((1, 1, 12, 12), 0.5), torch.full((1, 1, 12, 12), -0.7)
    assert ssim(image, other).item() == pytest.approx(slow_ssim(image, other, 1.0), abs=1e-5)
    assert ssim(other, image).item() == pytest.approx(slow_ssim(other, image, 2.0), abs=1e-5)


def test_ssim_of_equal_images_is_one() -> None:
    image = torch.rand(2, 3, 20, 20, dtype=torch.float64)
    assert ssim(image, image).item() == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize(
    ("p", "truth", "expected"),
    [
        (0.5, 0, 0.25 * math.log(2)),  # .1733: a coin's toss on a normal pixel costs as much as on an anomalous one
        (0.5, 1, 0.25 * math.log(2)),
        (0.1, 1, 0.81 * math.log(10)),
        (0.9, 0, 0.81 * math.log(10)),
        (0.9, 1, 0.01 * -math.log(0.9)),
    ],
)
def test_focal_by_hand(p: float, truth: int, expected: float) -> None:
    mask = torch.full((1, 1, 4, 4), float(truth))
    assert focal(two_class(p), mask).item() == pytest.approx(expected, rel=2e-4)


def test_focal_equals_cross_entropy_in_another_form() -> None:
    """-(1-pt)^2 log pt per pixel, by torch's own cross entropy; equal up to the smoothing of 1e-5."""
    generator = torch.Generator().manual_seed(1)
    logits = torch.randn(2, 2, 9, 7, generator=generator)
    mask = (torch.rand(2, 1, 9, 7, generator=generator) > 0.7).float()
    minus_log = torch.nn.functional.cross_entropy(logits, mask[:, 0].long(), reduction="none")
    expected = ((1 - (-minus_log).exp()) ** 2 * minus_log).mean()
    assert focal(logits.softmax(1), mask).item() == pytest.approx(expected.item(), rel=1e-3)


def test_focal_smoothing_exactly() -> None:
    """A certain mistake costs -log(2e-5), not infinity; certain truth costs nothing."""
    wrong, right = two_class(1.0), two_class(0.0)
    normal = torch.zeros(1, 1, 4, 4)
    assert focal(wrong, normal).item() == pytest.approx((1 - 2e-5) ** 2 * -math.log(2e-5), rel=1e-5)
    assert focal(right, normal).item() == pytest.approx(0, abs=1e-6)


def test_normal_pixels_teach_the_segmentation_here_but_not_with_kornia() -> None:
    """anomalib 2.7's loss is kornia's FocalLoss(alpha=1): normal pixels get the weight 1 - alpha = 0."""
    kornia = pytest.importorskip("kornia.losses")
    logits = torch.randn(1, 2, 8, 8, generator=torch.Generator().manual_seed(2)).requires_grad_()
    mask = torch.zeros(1, 1, 8, 8)
    theirs = kornia.FocalLoss(alpha=1, reduction="mean")(logits, mask[:, 0].long())
    assert theirs.item() == 0.0, "kornia mended it: then say so in docs/draem.md"
    ours = focal(logits.softmax(1), mask)
    (gradient,) = torch.autograd.grad(ours, logits)
    assert ours.item() > 0.1
    assert (gradient[:, 1] > 0).all(), "less anomalous, everywhere"


def test_total_is_the_sum_of_three() -> None:
    generator = torch.Generator().manual_seed(3)
    clean, rec = torch.rand(2, 3, 16, 16, generator=generator), torch.rand(2, 3, 16, 16, generator=generator)
    logits = torch.randn(2, 2, 16, 16, generator=generator)
    mask = torch.zeros(2, 1, 16, 16)
    mask[:, :, 4:9, 4:9] = 1
    parts = draem_loss(rec, clean, logits, mask)
    assert parts["l2"].item() == pytest.approx(float(((rec - clean).numpy() ** 2).mean()), rel=1e-5)
    assert parts["ssim"].item() == pytest.approx(1 - slow_ssim(rec, clean), abs=1e-5)
    assert parts["loss"].item() == pytest.approx(sum(parts[key].item() for key in ("l2", "ssim", "focal")), rel=1e-6)


def test_image_score_counts_zeros_beyond_the_border() -> None:
    maps = torch.zeros(3, 40, 40)
    maps[0, 20, 20] = 1
    maps[1] = 1
    maps[2, 0, 0] = 1
    assert image_score(maps).tolist() == pytest.approx([1 / 441, 1, 1 / 441])
    corner_only = torch.ones(1, 11, 11)
    assert image_score(corner_only).item() == pytest.approx(121 / 441)
