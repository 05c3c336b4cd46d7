"""Backbones: levels, normalisation, every key accounted for, nothing made up in silence."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from diadbench.common.errors import Skip, UserError
from diadbench.methods.features import backbone_weights
from diadbench.methods.features.backbone_weights import RANDOM_NOTE, untrained_network
from diadbench.methods.features.backbones import load_backbone

LITE0 = "tf_efficientnet_lite0"


def small_state() -> dict[str, torch.Tensor]:
    torch.manual_seed(3)
    return dict(timm.create_model("resnet10t").state_dict())


def test_the_package_gives_channels_strides_and_its_own_normalisation() -> None:
    backbone = load_backbone(LITE0, weights="package", out_indices=(0, 1, 2, 3, 4))
    assert backbone.channels == (16, 24, 40, 112, 320)
    assert backbone.strides == (2, 4, 8, 16, 32)
    assert (backbone.mean, backbone.std) == ((0.5,) * 3, (0.5,) * 3)
    assert backbone.notes == []
    assert not any(parameter.requires_grad for parameter in backbone.parameters())
    maps = backbone(torch.rand(2, 3, 64, 96))
    assert [tuple(m.shape[1:]) for m in maps] == [(16, 32, 48), (24, 16, 24), (40, 8, 12), (112, 4, 6), (320, 2, 3)]


def test_the_package_is_mapped_strictly_onto_all_of_timm() -> None:
    network = timm.create_model(LITE0, pretrained=False)
    network.load_state_dict(backbone_weights._package_state(LITE0), strict=True)
    assert sum(p.numel() for p in network.parameters()) == 4_652_008


def test_a_frozen_network_stays_in_evaluation_mode() -> None:
    backbone = load_backbone("resnet10t", weights="random", out_indices=(1,))
    nn.Sequential(backbone).train()
    assert not backbone.training
    assert not any(module.training for module in backbone.modules())


def test_random_weights_are_said_and_are_the_same_each_time() -> None:
    torch.manual_seed(1)
    before = torch.random.get_rng_state()
    first = load_backbone("resnet10t", weights="random", out_indices=(1, 2))
    assert torch.equal(before, torch.random.get_rng_state())
    second = load_backbone("resnet10t", weights="random", out_indices=(1, 2))
    assert first.notes == [RANDOM_NOTE]
    assert first.digest == second.digest


@pytest.mark.parametrize("kind", ["safetensors", "pth", "wrapped", "folder"])
def test_weights_from_a_file(tmp_path: Path, kind: str) -> None:
    state = small_state()
    if kind == "safetensors":
        path = tmp_path / "w.safetensors"
        save_file(state, path)
    elif kind == "folder":
        path = tmp_path
        torch.save(state, tmp_path / "pytorch_model.bin")
        (tmp_path / "config.json").write_text('{"pretrained_cfg": {"mean": [0.1, 0.2, 0.3], "std": [1, 1, 1]}}')
    else:
        path = tmp_path / "w.pth"
        torch.save(state if kind == "pth" else {"state_dict": {f"module.{k}": v for k, v in state.items()}}, path)
    backbone = load_backbone("resnet10t", weights=str(path), out_indices=(2,))
    assert torch.equal(backbone.network.state_dict()["layer1.0.conv1.weight"], state["layer1.0.conv1.weight"])
    assert backbone.notes == []
    assert (backbone.mean == (0.1, 0.2, 0.3)) is (kind == "folder")


def test_digest_follows_the_weights(tmp_path: Path) -> None:
    state = small_state()
    digests = []
    for i in range(2):
        state["conv1.0.weight"] = state["conv1.0.weight"] + i
        save_file(state, tmp_path / f"{i}.safetensors")
        digests.append(load_backbone("resnet10t", weights=str(tmp_path / f"{i}.safetensors"), out_indices=(1,)).digest)
    assert digests[0] != digests[1]


def change(state: dict[str, torch.Tensor], how: str) -> dict[str, torch.Tensor]:
    if how == "missing":
        del state["layer1.0.bn1.weight"]
    elif how == "unexpected":
        state["neck.weight"] = torch.zeros(3)
    elif how == "shape":
        state["layer1.0.bn1.weight"] = torch.zeros(3)
    return state


@pytest.mark.parametrize(
    ("how", "text"),
    [("missing", "1 missing (layer1.0.bn1.weight)"), ("unexpected", "1 unexpected (neck.weight)"), ("shape", "(3,)")],
)
def test_keys_that_do_not_fit_are_named(tmp_path: Path, how: str, text: str) -> None:
    save_file(change(small_state(), how), tmp_path / "w.safetensors")
    with pytest.raises(UserError, match=r"w\.safetensors") as caught:
        load_backbone("resnet10t", weights=str(tmp_path / "w.safetensors"), out_indices=(2,))
    assert text in str(caught.value)


def test_old_files_without_batch_counters_and_files_without_a_head(tmp_path: Path) -> None:
    state = {k: v for k, v in small_state().items() if not k.endswith("num_batches_tracked") and not k.startswith("fc")}
    save_file(state, tmp_path / "w.safetensors")
    load_backbone("resnet10t", weights=str(tmp_path / "w.safetensors"), out_indices=(4,))


@pytest.mark.parametrize(
    ("name", "weights", "levels", "text"),
    [
        ("wide_resnet50", "random", (1,), "wide_resnet50_2"),
        ("resnet18.nothing", "random", (1,), "weights of resnet18"),
        ("resnet10t", "random", (9,), "0 to 4"),
        ("resnet10t", "package", (1,), "tf_efficientnet_lite0"),
        ("resnet10t", "hubb", (1,), "expected hub, package, random"),
        ("resnet10t", "pyproject.toml", (1,), "another kind of file"),
    ],
)
def test_wrong_requests_are_one_line(name: str, weights: str, levels: tuple[int, ...], text: str) -> None:
    with pytest.raises(UserError) as caught:
        load_backbone(name, weights=weights, out_indices=levels)
    assert text in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_broken_file_is_one_line(tmp_path: Path) -> None:
    for suffix in (".pth", ".safetensors"):
        path = tmp_path / f"broken{suffix}"
        path.write_bytes(b"not weights")
        with pytest.raises(UserError, match="can't be read as tensors"):
            load_backbone("resnet10t", weights=str(path), out_indices=(1,))


def test_offline_hub_is_a_skip_with_advice_and_prompt(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(Skip, match="weights: package"):
        load_backbone("resnet18.tv_in1k", weights="hub", out_indices=(1,))


def test_a_hub_that_gives_something_else_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("Error(s) in loading state_dict:\n\tsize mismatch for fc.weight")

    monkeypatch.setattr("timm.models._builder.load_pretrained", broken)
    with pytest.raises(UserError, match=r"from the hub can't be loaded \(Error\(s\) in loading") as caught:
        load_backbone("resnet18.tv_in1k", out_indices=(1,))
    assert "\n" not in str(caught.value)


def _file_of(state: dict[str, Tensor], place: Path, **more: Any) -> str:
    torch.save({"state_dict": state, **more}, place)
    return str(place)


def test_what_a_file_of_weights_holds_besides_is_said_and_what_no_network_can_use_is_refused(tmp_path: Path) -> None:
    state = dict(untrained_network("resnet10t").state_dict())
    averaged = {key: value + 1 for key, value in state.items()}
    optimizer = {"state": {0: {"exp_avg": state["fc.bias"]}}}
    file = _file_of(state, tmp_path / "a.pth", state_dict_ema=averaged, optimizer=optimizer)
    found = load_backbone("resnet10t", weights=file, out_indices=(1,))
    assert found.notes == ["weights a.pth: its entries state_dict hold weights too and are left out"]
    assert torch.equal(found.network.state_dict()["layer1.0.bn1.weight"], averaged["layer1.0.bn1.weight"])

    half = {key: value.half() if value.is_floating_point() else value for key, value in state.items()}
    noted = load_backbone("resnet10t", weights=_file_of(half, tmp_path / "b.pth"), out_indices=(1,))
    assert noted.notes == ["weights b.pth: stored as float16, so rounded"]

    name = "layer1.0.conv1.weight"
    infinite = torch.full_like(state[name], torch.inf)
    for value, told in ((state[name].to(torch.int8), "holds int8, expected floating"), (infinite, "not finite")):
        damaged = _file_of({**state, name: value}, tmp_path / "c.pth")
        with pytest.raises(UserError, match=f"{name} .*{told}"):
            load_backbone("resnet10t", weights=damaged, out_indices=(1,))
