"""What is decided before anything runs on a GPU: determinism, TF32, precisions, keys of caches, placement."""

from __future__ import annotations

import json

import pytest
import torch
from gpu_stand_in import ROOT, is_real, run_case

from diadbench.benchmark.cells.determinism import STRICT, gpu_notes, set_tf32
from diadbench.benchmark.cells.provenance import seed_everything
from diadbench.common.errors import UserError
from diadbench.methods.diad import config
from diadbench.methods.diad.networks.card import KEPT, RECOMPUTED, place, standing
from diadbench.methods.diad.networks.model import DiADModel
from diadbench.methods.features.feature_cache import arithmetic
from diadbench.methods.training.lightning import Budget


@pytest.fixture(autouse=True)
def _as_before() -> object:
    deterministic = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    tf32 = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    yield
    torch.use_deterministic_algorithms(deterministic[0], warn_only=deterministic[1])
    torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = tf32


@pytest.mark.parametrize(("method", "warns"), [("diad", False), ("draem", False), ("padim", True), ("x.py:Y", True)])
def test_our_methods_are_held_to_deterministic_algorithms(method: str, warns: bool) -> None:
    seed_everything(0, method)
    assert torch.are_deterministic_algorithms_enabled()
    assert torch.is_deterministic_algorithms_warn_only_enabled() is warns
    assert torch.utils.deterministic.fill_uninitialized_memory is False  # type: ignore[attr-defined]
    noted = any("not held to" in note for note in gpu_notes(method, torch.device("cuda"), tf32=True))
    assert noted is warns is (method not in STRICT)
    assert gpu_notes(method, torch.device("cpu"), tf32=True) == []


def test_tf32_is_one_option_and_part_of_the_keys_of_caches() -> None:
    keys = []
    for allowed in (True, False):
        set_tf32(allowed)
        assert torch.backends.cuda.matmul.allow_tf32 is allowed
        assert torch.backends.cudnn.allow_tf32 is allowed
        keys.append(arithmetic(torch.device("cuda")))
        assert f"tf32: {str(allowed).lower()}" in gpu_notes("diad", torch.device("cuda"), tf32=allowed)[0]
    assert keys[0] != keys[1]
    assert arithmetic(torch.device("cpu"))["device"] == "cpu"


@pytest.mark.parametrize(
    ("gigabytes", "asked", "half", "expected"),
    [
        (80, True, False, (48, 1)),
        (32, True, True, (48, 1)),
        (24, True, True, (24, 2)),
        (24, True, False, (12, 4)),
        (20, True, True, (6, 8)),  # 12 images need 19.5 GB beside the libraries
        (19, True, True, (1, 48)),
        (24, False, False, (6, 8)),  # 12 images whose activations are all kept would need 23.2 GB beside the libraries
    ],
)
def test_a_batch_is_as_large_as_the_card_allows(
    gigabytes: float, asked: bool, half: bool, expected: tuple[int, int]
) -> None:
    with torch.device("meta"):
        model = DiADModel(config.size("sd15"))
    budget = Budget(10, 12, 4, precision="bf16-mixed")
    placed = place(model, budget, (256, 256), int(gigabytes * 1e9), recompute=asked, half=half)
    assert (placed.budget.batch_size, placed.budget.accumulate) == expected
    assert placed.recompute is (asked and gigabytes < 40)


@pytest.mark.parametrize(
    ("side", "gigabytes", "expected"), [(512, 24, (12, 4)), (768, 24, (4, 12)), (512, 80, (24, 2))]
)
def test_a_batch_of_large_images_is_divided_where_it_does_not_fit(
    side: int, gigabytes: int, expected: tuple[int, int]
) -> None:
    with torch.device("meta"):
        model = DiADModel(config.size("sd15"))
    budget = Budget(10, 12, 4, precision="bf16-mixed")
    placed = place(model, budget, (side, side), int(gigabytes * 1e9), recompute=True, half=True).budget
    assert (placed.batch_size, placed.accumulate) == expected
    assert placed.batch_size * placed.accumulate == 48, "the step is the configuration's"


def test_networks_that_do_not_fit_are_refused_with_what_would() -> None:
    with torch.device("meta"):
        model = DiADModel(config.size("sd15"))
    budget = Budget(10, 12, 4, precision="bf16-mixed")
    with pytest.raises(UserError, match=r"18\.4 GB without an image, this GPU has 16\.0; set optimizer: adafactor"):
        place(model, budget, (256, 256), int(16e9), recompute=True, half=True)
    placed = place(model, budget, (256, 256), int(16e9), recompute=True, optimizer="adafactor", half=True)
    assert (placed.budget.batch_size, placed.budget.accumulate) == (12, 4)


@pytest.mark.parametrize(
    ("kept", "images", "bytes_each", "optimizer", "half"),
    [
        ("diad12", 12, RECOMPUTED, "adamw", True),
        ("diad12f32", 12, RECOMPUTED, "adamw", False),
        ("diad12keep", 12, KEPT, "adamw", True),
        ("diad12save", 12, RECOMPUTED, "adafactor", True),
        ("diad48", 48, RECOMPUTED, "adamw", True),
        ("diad48keep", 48, KEPT, "adamw", True),
    ],
)
def test_the_plan_of_a_cards_memory_is_what_was_measured(
    kept: str, images: int, bytes_each: float, optimizer: str, half: bool
) -> None:
    with torch.device("meta"):
        model = DiADModel(config.size("sd15"))
    measured = json.loads((ROOT / "perf" / "gpu_steps.json").read_text(encoding="utf-8"))["steps"][kept]["peak_gib"]
    expected = standing(model, optimizer, "bf16-mixed", half=half) + images * bytes_each
    assert expected / 2**30 == pytest.approx(measured, rel=0.03)


def test_default_and_memory_saving_fit_the_cards_that_the_docs_name() -> None:
    steps = json.loads((ROOT / "perf" / "gpu_steps.json").read_text(encoding="utf-8"))["steps"]
    assert max(steps[name]["peak_gib"] for name in ("diad12", "diad12f32")) < 24e9 / 2**30
    assert steps["diad12save"]["peak_gib"] < 16e9 / 2**30


@pytest.mark.slow
@pytest.mark.skipif(is_real(), reason="what this GPU has is its own")
@pytest.mark.parametrize(("major", "expected"), [(7, "32-true"), (8, "bf16-mixed")])
def test_emulated_bfloat16_is_none(major: int, expected: str) -> None:
    found = run_case("precision", gpu={"major": major, "minor": 5})
    assert found["precision"] == expected


def test_the_conformance_suite_runs_on_a_gpu() -> None:
    found = run_case("conforms", name="mean-image", options={})
    assert "error" not in found, found["error"]
    status = {name: status for name, status, _ in found["outcomes"]}
    added = ("results on the device", "images of the CPU", "as on the CPU", "same bits twice")
    assert set(added) < set(status)
    if is_real():
        assert set(status.values()) == {"passed"}, found["outcomes"]
    else:  # values mean nothing there: what is told of them can't hold; where results lie and what raises can
        of_values = ("not finite", "predicts otherwise on the GPU")
        wrong = [
            one
            for one in found["outcomes"]
            if one[1] not in ("passed", "open") and not any(text in one[2] for text in of_values)
        ]
        assert not wrong
        assert status["as on the CPU"] == "failed"
