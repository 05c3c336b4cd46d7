"""Every method fits, keeps, loads and predicts on a GPU, without mixing devices."""

from __future__ import annotations

from typing import Any

import pytest
from gpu_options import METHODS
from gpu_stand_in import run_case

QUICK = ("mean-image",)


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[] if name in QUICK else pytest.mark.slow) for name in METHODS]
)
def test_a_method_lives_on_the_gpu(name: str) -> None:
    method, options, size = METHODS[name]
    found = run_case("method", name=method, options=options, size=size)
    assert "error" not in found, found["error"]
    assert found["shape"] == [4, size, size]
    assert found["devices"] == [["cuda", "cuda"]] * 2, "images of the GPU, then of the CPU"
    for phase in ("step", "predict", "predict images of the CPU"):
        mixed: dict[str, Any] = found["phases"].get(phase, {}).get("mixed_lines", {})
        assert not mixed, mixed


def test_a_step_seeds_every_gpu() -> None:
    found = run_case("seeds", gpu={"count": 2})
    assert "error" not in found, found["error"]
    assert found["seeds"]
    assert set(found["seeds"]) == {7}
