"""Transformers as backbones: at any size that they allow, or refused before a run."""

from __future__ import annotations

from pathlib import Path

import pytest
import timm
import torch

from diadbench.benchmark.planning.grid import parse_grid
from diadbench.benchmark.planning.plan import make_plan
from diadbench.benchmark.records.store import RunDirectory
from diadbench.common.errors import UserError
from diadbench.methods.features.any_size import any_size_options, check_size
from diadbench.methods.features.backbones import load_backbone

TOY = {"options": {"size": 32, "train": 4, "test_good": 2, "test_bad": 1}}


@pytest.mark.parametrize(
    ("name", "size", "stride"),
    [
        ("vit_tiny_patch16_224", 64, 16),
        ("vit_small_patch14_dinov2", 70, 14),
        ("swin_tiny_patch4_window7_224", 64, 8),
        ("swin_tiny_patch4_window7_224", 96, 8),
    ],
)
def test_maps_have_channels_first_at_another_size(name: str, size: int, stride: int) -> None:
    backbone = load_backbone(name, weights="random", out_indices=(1,))
    (maps,) = backbone(torch.rand(1, 3, size, size))
    assert maps.shape == (1, backbone.channels[0], size // stride, size // stride)
    check_size(name, (size, size))


def test_at_its_own_size_features_are_timms(tmp_path: Path) -> None:
    torch.manual_seed(0)
    whole = timm.create_model("vit_tiny_patch16_224", pretrained=False).eval()
    torch.save(whole.state_dict(), tmp_path / "vit.pth")
    backbone = load_backbone("vit_tiny_patch16_224", weights=str(tmp_path / "vit.pth"), out_indices=(2,))
    images = torch.rand(1, 3, 224, 224)
    with torch.no_grad():
        (expected,) = whole.forward_intermediates(
            (images - torch.tensor(backbone.mean).view(1, 3, 1, 1)) / torch.tensor(backbone.std).view(1, 3, 1, 1),
            indices=[2],
            intermediates_only=True,
            norm=False,
        )
    torch.testing.assert_close(backbone(images)[0], expected)


def test_convolutions_are_made_as_before() -> None:
    assert any_size_options("tf_efficientnet_lite0") == {}
    assert any_size_options("resnet18") == {}


@pytest.mark.parametrize(
    ("name", "size"),
    [("vit_tiny_patch16_224", 250), ("vit_small_patch14_dinov2", 64), ("cait_xxs24_224", 64)],
)
def test_a_size_that_it_does_not_allow_is_one_line(name: str, size: int) -> None:
    with pytest.raises(UserError, match=f"takes no images of {size}x{size}") as caught:
        check_size(name, (size, size))
    assert len(str(caught.value)) < 300


def test_a_grid_is_refused_before_it_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DIADBENCH_CACHE", str(tmp_path / "cache"))
    options = {"backbone": "vit_tiny_patch16_224", "weights": "random", "level": 2}
    values = {"name": "x", "methods": {"global-knn": {"options": options}}, "datasets": {"toy": TOY}, "threads": 1}
    directory = RunDirectory(tmp_path / "run", must_exist=False)
    for _ in range(2):  # the second answer is a remembered one
        with pytest.raises(UserError, match=r"^methods.global-knn: backbone vit_tiny_\w+: takes no images of 50x50"):
            make_plan(parse_grid({**values, "image_size": 50}), directory)
    assert len(make_plan(parse_grid({**values, "image_size": 64}), directory).pending) == 1
