"""DRAEM's networks, noise, textures and training pairs."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from diadbench.common.errors import UserError
from diadbench.methods.draem.networks import Reconstructor, Segmenter, initialise
from diadbench.methods.draem.perlin import octaves, perlin, perlin_from, perlin_mask
from diadbench.methods.draem.synthesis import blend, corrupt, corrupt_batch
from diadbench.methods.draem.textures import OPERATIONS, FolderTextures, ProceduralTextures, augmented


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def textures(count: int = 5) -> ProceduralTextures:
    images = torch.rand(count, 3, 64, 48, generator=seeded(9))
    return ProceduralTextures(lambda i: images[i], count)


def test_networks_have_the_authors_size() -> None:
    """69.05 and 28.37 million parameters (ADer's log of the authors' networks)."""
    with torch.device("meta"):
        counts = [sum(p.numel() for p in net.parameters()) / 1e6 for net in (Reconstructor(), Segmenter())]
    assert counts == pytest.approx([69.05, 28.37], abs=0.006)


def test_networks_give_image_size() -> None:
    images = torch.rand(2, 3, 64, 96)
    rec = Reconstructor(4)(images)
    assert rec.shape == images.shape
    assert Segmenter(4)(rec, images).shape == (2, 2, 64, 96)


@pytest.mark.slow
def test_networks_are_the_authors_as_anomalib_has_them() -> None:
    """Weights of one fit the other, and then both say the same."""
    theirs = pytest.importorskip("anomalib.models.image.draem.torch_model")
    images = torch.rand(2, 3, 64, 64, generator=seeded())
    rec_net, seg_net = Reconstructor(6).eval(), Segmenter(3).eval()
    rec_other = theirs.ReconstructiveSubNetwork(base_width=6).eval()
    seg_other = theirs.DiscriminativeSubNetwork(in_channels=6, out_channels=2, base_width=3).eval()
    rec_other.load_state_dict(rec_net.state_dict())
    seg_other.load_state_dict(seg_net.state_dict())
    with torch.no_grad():
        rec = rec_net(images)
        torch.testing.assert_close(rec, rec_other(images))
        torch.testing.assert_close(seg_net(rec, images), seg_other(torch.cat([rec, images], 1)))


def test_initialisation() -> None:
    torch.manual_seed(0)
    net = Reconstructor(16)
    before = net.get_submodule("encoder.block1.0").bias.clone()
    initialise(net)
    convs = [m for m in net.modules() if isinstance(m, torch.nn.Conv2d)]
    norms = [m for m in net.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    weights = torch.cat([m.weight.flatten() for m in convs])
    scales = torch.cat([m.weight.flatten() for m in norms])
    assert (weights.mean().item(), weights.std().item()) == pytest.approx((0, 0.02), abs=2e-4)
    assert (scales.mean().item(), scales.std().item()) == pytest.approx((1, 0.02), abs=2e-3)
    assert all((m.bias == 0).all() for m in norms)
    assert torch.equal(net.get_submodule("encoder.block1.0").bias, before), "torch's own start stays"


def test_perlin_noise_by_hand() -> None:
    """One cell, all gradients down the rows: sqrt(2) (y - fade(y)), the same in every column."""
    gradients = torch.zeros(2, 2, 2)
    gradients[0] = 1
    y = torch.arange(8) / 8
    expected = math.sqrt(2) * (y - (6 * y**5 - 15 * y**4 + 10 * y**3))
    torch.testing.assert_close(perlin_from(gradients, (8, 8)), expected[:, None].expand(8, 8), atol=1e-6, rtol=0)


def test_small_images_have_fewer_scales_of_masks() -> None:
    assert [octaves(side) for side in (256, 512, 128, 64, 32, 4)] == [6, 6, 5, 4, 3, 1]


def test_perlin_noise_vanishes_on_the_grid_and_stays_in_range() -> None:
    noise = perlin((64, 32), (8, 4), seeded())
    assert noise.shape == (64, 32)
    assert noise[::8, ::8].abs().max() < 1e-6
    assert 0.3 < noise.abs().max() <= 1.0001


def test_masks_are_binary_and_mostly_not_empty() -> None:
    generator = seeded()
    masks = [perlin_mask((64, 64), generator) for _ in range(200)]
    assert all(mask.shape == (1, 64, 64) and set(mask.unique().tolist()) <= {0.0, 1.0} for mask in masks)
    filled = np.mean([mask.any().item() for mask in masks])
    assert 0.5 < filled < 1.0
    assert 0.02 < np.mean([mask.mean().item() for mask in masks]) < 0.3


def test_blend_is_the_papers_formula() -> None:
    image, texture = torch.rand(3, 8, 8), torch.rand(3, 8, 8)
    mask = (torch.rand(1, 8, 8) > 0.5).float()
    expected = image * (1 - mask) + (1 - 0.3) * texture * mask + 0.3 * image * mask
    torch.testing.assert_close(blend(image, texture, mask, 0.3), expected)
    assert torch.equal(blend(image, texture, mask, 0.3)[:, mask[0] == 0], image[:, mask[0] == 0])


def test_pairs_differ_under_the_mask_only_and_half_stay_normal() -> None:
    generator, source = seeded(), textures()
    image = torch.rand(3, 64, 64, generator=seeded(5))
    normal = turned = 0
    for _ in range(150):
        clean, corrupted, mask = corrupt(image, source, generator)
        assert torch.equal(clean[:, mask[0] == 0], corrupted[:, mask[0] == 0])
        assert corrupted.min() >= 0
        assert corrupted.max() <= 1
        normal += not mask.any()
        turned += not torch.equal(clean, image)
    assert 75 - 20 < normal < 150 * 0.75
    assert 45 - 20 < turned < 45 + 20


def test_the_generator_decides_everything() -> None:
    images = torch.rand(6, 3, 32, 32, generator=seeded(5))
    first, again, other = (corrupt_batch(images, textures(), seeded(seed)) for seed in (3, 3, 4))
    assert torch.equal(first.corrupted, again.corrupted)
    assert torch.equal(first.mask, again.mask)
    assert not torch.equal(first.corrupted, other.corrupted)
    assert first.mask.shape == (6, 1, 32, 32)


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.__name__)
def test_each_operation_changes_a_texture_and_keeps_its_shape(operation) -> None:  # type: ignore[no-untyped-def]
    texture = torch.rand(3, 40, 40, generator=seeded(1)) * 0.7 + 0.1
    changed = [operation(texture, seeded(seed)) for seed in range(4)]
    assert all(one.shape == texture.shape and one.isfinite().all() for one in changed)
    assert any(not torch.allclose(one, texture) for one in changed)
    assert augmented(texture, seeded()).min() >= 0


def test_procedural_textures_vary() -> None:
    source, generator = textures(), seeded()
    made = [source((40, 56), generator) for _ in range(30)]
    assert all(one.shape == (3, 40, 56) and one.min() >= 0 and one.max() <= 1 for one in made)
    assert torch.stack([one.std() for one in made]).median() > 0.05


def test_folder_textures(tmp_path: Path) -> None:
    (tmp_path / "woven").mkdir()
    Image.new("RGB", (20, 10), (255, 128, 0)).save(tmp_path / "woven" / "a.png")
    texture = FolderTextures(tmp_path)((32, 48), seeded())
    assert texture.shape == (3, 32, 48)
    assert texture[:, 5, 5].tolist() == pytest.approx([1, 128 / 255, 0])
    with pytest.raises(UserError, match="no image"):
        FolderTextures(_empty(tmp_path))
    with pytest.raises(UserError, match="not a directory"):
        FolderTextures(tmp_path / "nowhere")


def _empty(tmp_path: Path) -> Path:
    (tmp_path / "empty").mkdir()
    return tmp_path / "empty"
