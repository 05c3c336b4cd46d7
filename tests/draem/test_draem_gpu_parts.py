"""What DRAEM does on a GPU instead, held against the CPU's on the CPU: painting, doubling, losses in half precision."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from diadbench.methods.draem import operations
from diadbench.methods.draem.losses import draem_loss
from diadbench.methods.draem.method import _Module
from diadbench.methods.draem.operations import resampled, turning
from diadbench.methods.draem.painting import CELLS, GRID, draw, paint, perlin
from diadbench.methods.draem.perlin import perlin_from
from diadbench.methods.draem.synthesis import corrupt_batch
from diadbench.methods.draem.textures import OPERATIONS, ProceduralTextures
from diadbench.methods.draem.upsampling import doubling_gradient

SIZE = (64, 64)


def images(count: int, seed: int = 0) -> Tensor:
    coarse = torch.rand(count, 3, 8, 8, generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.interpolate(coarse, SIZE, mode="bilinear")


def test_perlin_noise_is_the_same_function() -> None:
    shares = torch.rand(2, GRID, generator=torch.Generator().manual_seed(0))
    cells = [(4, 8), (32, 1)]
    found = perlin(shares, torch.tensor(cells, dtype=torch.float32), (64, 96))
    for noise, angles, (down, across) in zip(found, shares * 2 * torch.pi, cells, strict=True):
        grid = angles.view(CELLS + 1, CELLS + 1)[: down + 1, : across + 1]
        expected = perlin_from(torch.stack([grid.cos(), grid.sin()]), (64, 96))
        torch.testing.assert_close(noise, expected, rtol=0, atol=2e-5)


def test_a_quarter_turn_is_a_quarter_turn() -> None:
    image = images(2)
    turned = resampled(image, torch.from_numpy(turning(np.array([np.pi / 2, 0.0]), SIZE)).view(-1, 2, 3))
    torch.testing.assert_close(turned[1], image[1], rtol=0, atol=1e-5)
    assert min(float((turned[0] - image[0].rot90(k, (1, 2))).abs().max()) for k in (1, 3)) < 1e-3


def test_pairs_differ_under_the_mask_only_and_the_seed_decides() -> None:
    clean = images(64)
    pairs = paint(clean, images(64, 1), draw(3, range(64)), pieces=True)
    same = pairs.mask.expand_as(clean) == 0
    assert torch.equal(pairs.corrupted[same], pairs.clean[same])
    again = paint(clean, images(64, 1), draw(3, range(64)), pieces=True)
    assert torch.equal(again.corrupted, pairs.corrupted)
    assert not torch.equal(paint(clean, images(64, 1), draw(4, range(64)), pieces=True).corrupted, pairs.corrupted)


def test_the_distribution_is_the_cpus() -> None:
    clean, count = images(600), 600
    source = ProceduralTextures(lambda i: clean[i], count)
    cpu = corrupt_batch(clean, source, torch.Generator().manual_seed(0))
    gpu = paint(clean, clean.flip(0), draw(0, range(count)), pieces=True)

    def facts(pairs: object) -> list[float]:
        mask, change = pairs.mask, (pairs.corrupted - pairs.clean).abs()  # type: ignore[attr-defined]
        areas = mask.mean((1, 2, 3))
        normal, turned = float((areas == 0).float().mean()), float((pairs.clean == 0).float().mean())  # type: ignore[attr-defined]
        depth = float((change * mask).sum() / mask.sum() / 3)
        colour = pairs.corrupted[mask.expand_as(clean) > 0]  # type: ignore[attr-defined]
        return [normal, turned, float(areas[areas > 0].mean()), depth, float(colour.mean()), float(colour.std())]

    for name, one, other, slack in zip(
        ("normal", "corners", "area", "depth", "mean", "spread"),
        facts(cpu),
        facts(gpu),
        (0.06, 0.02, 0.03, 0.04, 0.05, 0.04),
    ):
        assert one == pytest.approx(other, abs=slack), name


def test_operations_are_the_cpus_in_their_order() -> None:
    names = [operation.__name__ for operation in OPERATIONS]
    assert [operation.__name__ for operation in operations.OPERATIONS] == names
    texture, generator = images(1), torch.Generator().manual_seed(0)
    for number in (6, 7, 8):  # those without numbers of their own: invert, autocontrast, equalize
        found = operations.OPERATIONS[number](texture, np.zeros((1, 4), np.float32))[0]
        expected = OPERATIONS[number](texture[0], generator)
        torch.testing.assert_close(found, expected, rtol=0, atol=0.02)


def test_the_doublings_gradient_is_torchs() -> None:
    small = torch.randn(2, 3, 6, 8, dtype=torch.float32, requires_grad=True)
    large = nn.functional.interpolate(small, scale_factor=2, mode="bilinear", align_corners=True)
    gradient = torch.randn_like(large)
    large.backward(gradient)
    torch.testing.assert_close(doubling_gradient(gradient, (6, 8)), small.grad, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_the_losses_gradient_is_that_of_float32(dtype: torch.dtype) -> None:
    clean = images(4)
    start = (clean + 0.05 * torch.randn(clean.shape, generator=torch.Generator().manual_seed(0))).clamp(0, 1)
    mask = torch.zeros(4, 1, *SIZE)
    mask[:, :, 10:20] = 1
    found = []
    for half in (False, True):
        reconstruction, logits = start.clone().requires_grad_(), torch.zeros(4, 2, *SIZE)
        with torch.autocast("cpu", dtype, enabled=half):
            given = reconstruction.to(dtype) if half else reconstruction
            draem_loss(given, clean, logits, mask)["loss"].backward()
        assert reconstruction.grad is not None
        found.append(reconstruction.grad.flatten())
    assert torch.isfinite(found[1]).all()
    assert float(nn.functional.cosine_similarity(found[0], found[1], dim=0)) > 0.98


def test_a_step_paints_what_the_batch_brings() -> None:
    module = _Module(4, 4, lr=1e-4, steps=10, source=ProceduralTextures(lambda i: images(1)[0], 1))
    module.log_dict = lambda *values: None  # type: ignore[method-assign,assignment]
    batch = {"image": images(4), "texture": images(4, 1)}
    torch.manual_seed(0)
    loss = module.training_step(batch, 0)
    assert torch.isfinite(loss)
    assert int(module.images) == 4
