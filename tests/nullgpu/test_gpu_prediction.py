"""Test images on a GPU: as many at a time as its memory takes, which is said; maps are pooled there."""

from __future__ import annotations

from typing import Any

import pytest
from gpu_stand_in import is_real, run_case

OPTIONS: dict[str, Any] = {"backbone": "wide_resnet50_2", "weights": "random", "start": "random"}


def ended(gigabytes: float = 80.0, **grid: Any) -> dict[str, Any]:
    found = run_case("cell", method="patchcore", options=OPTIONS, gpu={"gigabytes": gigabytes}, **grid)
    assert "error" not in found, found["error"]
    assert found["state"] == "done", found["reason"]
    return found


@pytest.mark.slow
@pytest.mark.skipif(is_real(), reason="a real GPU has the memory that it has")
def test_a_batch_is_as_large_as_the_cards_memory_allows() -> None:
    large, middle, small = (ended(size)["extras"].get("test_batch") for size in (80.0, 0.8, 0.5))
    assert large == 1024, "64 images of 256 x 256 are as many pixels"
    assert 8 <= small < middle < large


@pytest.mark.slow
def test_a_grids_own_batch_is_kept() -> None:
    assert "test_batch" not in ended(batch_size=4)["extras"]
    assert ended(protocol="diad")["extras"]["test_batch"] >= 8


@pytest.mark.slow
@pytest.mark.skipif(not is_real(), reason="the null GPU computes no values")
def test_scores_pooled_on_a_gpu_are_the_cpus() -> None:
    found = run_case("pooling")
    assert "error" not in found, found["error"]
    for name in ("diad", "uniad", "ader+pooled21"):
        assert found[name] <= 1e-6, name
