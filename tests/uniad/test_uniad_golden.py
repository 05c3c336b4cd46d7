"""UniAD against numbers that the authors' code gave (tests/golden/uniad)."""

from __future__ import annotations

import json
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from diadbench.methods.features.backbones import load_backbone
from diadbench.methods.uniad import (
    HeadConfig,
    UniADHead,
    align,
    feature_loss,
    image_score,
    jitter,
    load_backbone_state,
    load_head,
    neighbour_mask,
    score_map,
    use_official_padding,
)

GOLDEN = Path(__file__).parents[1] / "golden" / "uniad"
META = json.loads((GOLDEN / "meta.json").read_text())
IO = {key: torch.from_numpy(value) for key, value in np.load(GOLDEN / "io.npz").items()}


def noise(name: str, shape: list[int], salt: str) -> np.ndarray[Any, np.dtype[np.float32]]:
    seed = zlib.crc32((salt + name).encode())
    return np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)


def head_weight(name: str, shape: list[int], salt: str) -> Tensor:
    r, leaf = noise(name, shape, salt), name.rsplit(".", 1)[-1]
    if leaf in ("bias", "in_proj_bias"):
        return torch.from_numpy(r * np.float32(0.02))
    if "norm" in name.split(".")[-2]:
        return torch.from_numpy(1 + r * np.float32(0.1))
    if "embed" in name:
        return torch.from_numpy(r * np.float32(0.5))
    return torch.from_numpy((r * np.float32(1 / np.sqrt(shape[-1]))).astype(np.float32))


@pytest.fixture
def head() -> UniADHead:
    config = META["config"]
    fields = {key: config[key] for key in HeadConfig.__dataclass_fields__}
    made = UniADHead(HeadConfig(**fields)).eval()
    keys = json.loads((GOLDEN / "keys.json").read_text())
    assert {key: list(value.shape) for key, value in made.state_dict().items()} == keys
    load_head(made, {key: head_weight(key, shape, config["salt"]) for key, shape in keys.items()})
    return made


def close(found: Tensor, expected: Tensor, atol: float) -> None:
    torch.testing.assert_close(found, expected, atol=atol, rtol=0)


def test_head_and_its_stages(head: UniADHead) -> None:
    out = head(IO["feature_align"])
    close(out.encoder_out, IO["encoder_out"], 1e-5)
    close(out.decoder_out, IO["decoder_out"], 1e-5)
    close(out.feature_rec, IO["feature_rec"], 1e-5)
    close(head.pos_embed(), IO["pos_embed"], 0)
    assert torch.equal(head.mask == -torch.inf, IO["mask_is_neginf"])


def test_loss(head: UniADHead) -> None:
    loss = feature_loss(head(IO["feature_align"]).feature_rec, IO["feature_align"])
    assert loss.item() == pytest.approx(IO["loss"].item(), abs=1e-6)


def test_score_map_and_image_scores(head: UniADHead) -> None:
    maps = score_map(head(IO["feature_align"]).feature_rec, IO["feature_align"], META["config"]["instride"])
    close(maps, IO["pred"], 1e-5)
    close(image_score(maps, "max"), IO["score_max_avgpool16"], 1e-5)
    close(image_score(maps, "std"), IO["score_std"], 1e-5)
    close(image_score(maps, "mean"), IO["score_mean"], 1e-5)


def test_gradients_and_one_clipped_adamw_step(head: UniADHead) -> None:
    optimizer = torch.optim.AdamW(head.parameters(), lr=1e-4, betas=(0.9, 0.999), weight_decay=1e-4)
    feature_loss(head(IO["feature_align"]).feature_rec, IO["feature_align"]).backward()
    for name, parameter in head.named_parameters():
        assert parameter.grad is not None
        assert parameter.grad.norm().item() == pytest.approx(META["grad_norms"][name], rel=1e-4), name
    norm = torch.nn.utils.clip_grad_norm_(head.parameters(), 0.1)
    assert norm.item() == pytest.approx(META["total_grad_norm"], rel=1e-5)
    optimizer.step()
    rec = head(IO["feature_align"]).feature_rec
    close(rec, IO["feature_rec_after_step"], 1e-4)
    assert feature_loss(rec, IO["feature_align"]).item() == pytest.approx(META["loss_after_one_step"], abs=1e-5)


def test_neck_samples_with_aligned_corners() -> None:
    maps = [IO[f"neck_in_{i}"] for i in range(4)]
    assert torch.equal(align(maps, META["config"]["neck_strides"]), IO["neck_out"])


def test_jitter_is_drawn_in_token_order(head: UniADHead) -> None:
    tokens = IO["feature_align"].flatten(2).permute(2, 0, 1)
    close(jitter(tokens, IO["jitter_noise"], 20.0), IO["jittered_tokens"], 1e-6)
    torch.manual_seed(META["config"]["jitter_torch_seed"])
    seen: list[Tensor] = []
    head.input_proj.register_forward_pre_hook(lambda module, args: seen.append(args[0]))
    head.train()(IO["feature_align"])
    close(seen[0], IO["jittered_tokens"], 1e-6)


def test_even_neighbourhoods_act_like_the_next_odd_one() -> None:
    assert torch.equal(neighbour_mask((16, 16), (8, 8)), neighbour_mask((16, 16), (9, 9)))
    corner, middle = (neighbour_mask((14, 14), (7, 7)) == -torch.inf)[[0, 7 * 14 + 7]]
    assert corner.sum() == 16
    assert middle.sum() == 49


@pytest.mark.parametrize("size", [224, 256])
def test_backbone_with_official_padding(size: int) -> None:
    spec = json.loads((GOLDEN / "backbone.json").read_text())
    golden = np.load(GOLDEN / "backbone.npz")
    backbone = official_backbone(spec["salt"])
    use_official_padding(backbone.network, backbone.name)
    generator = np.random.default_rng(spec["seed"] * 1000 + size)
    images = torch.from_numpy(generator.standard_normal((1, 3, size, size), dtype=np.float32))
    with torch.no_grad():
        maps = backbone.network(images)
    worst = []
    for i, one in enumerate(maps):
        h = one.shape[2]
        picked = one[0, ::4, :: h // 14, :: h // 14]
        worst.append(((picked - torch.from_numpy(golden[f"f{size}_{i}"])).abs().max() / one.std()).item())
        assert one.std(correction=0).item() == pytest.approx(float(golden[f"std{size}_{i}"]), rel=1e-4)
    assert max(worst) < 1e-5, worst
    aligned = align(maps, backbone.strides)
    close(aligned[0, ::4], torch.from_numpy(golden[f"align{size}"]), 1e-5)


def test_padding_makes_a_difference_behind_the_third_stage_only() -> None:
    """The trap itself: without the switch the maps of stages 1 and 2 agree and the others are far off."""
    spec = json.loads((GOLDEN / "backbone.json").read_text())
    golden = np.load(GOLDEN / "backbone.npz")
    backbone = official_backbone(spec["salt"])
    generator = np.random.default_rng(spec["seed"] * 1000 + 224)
    images = torch.from_numpy(generator.standard_normal((1, 3, 224, 224), dtype=np.float32))
    with torch.no_grad():
        maps = backbone.network(images)
    off = [
        (
            (one[0, ::4, :: one.shape[2] // 14, :: one.shape[2] // 14] - torch.from_numpy(golden[f"f224_{i}"]))
            .abs()
            .max()
            / one.std()
        ).item()
        for i, one in enumerate(maps)
    ]
    assert max(off[:2]) < 1e-5
    assert off[2] > 0.1
    assert off[3] > 1e-3


def official_backbone(salt: str) -> Any:
    keys = json.loads((GOLDEN / "official_mvtec_full_keys.json").read_text())
    state = {
        key.removeprefix("backbone."): backbone_weight(key.removeprefix("backbone."), shape, salt)
        for key, shape in keys.items()
        if key.startswith("backbone.")
    }
    backbone = load_backbone("tf_efficientnet_b4", weights="random", out_indices=(0, 1, 2, 3))
    load_backbone_state(backbone, state)
    return backbone


def backbone_weight(name: str, shape: list[int], salt: str) -> Tensor:
    if name.endswith("num_batches_tracked"):
        return torch.tensor(0)
    r = noise(name, shape, salt)
    if "_bn" in name:
        leaf = name.rsplit(".", 1)[-1]
        value = {"weight": 1 + 0.1 * r, "running_var": 0.5 + 0.5 * np.abs(r)}.get(leaf, 0.1 * r)
    elif name.endswith("bias"):
        value = 0.02 * r
    else:
        value = r / np.sqrt(np.prod(shape[1:]))
    return torch.from_numpy(np.asarray(value, dtype=np.float32))
