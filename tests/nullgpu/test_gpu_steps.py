"""A steady step waits for nothing, starts few kernels, and does no work on the CPU; nor does a batch of prediction."""

from __future__ import annotations

from typing import Any

import pytest
from gpu_options import METHODS
from gpu_stand_in import is_real, run_case

#: Most kernels of a step at these small sizes: their number is the full size's but for DiAD, which has fewer blocks.
LAUNCHES = {"diad": 7600, "uniad": 20, "draem": 800}
#: Steps before the steady ones: three without a graph, and the one that captures it.
WARM = {"uniad": 4}
#: Most elements of a tensor that a step may make on the CPU: batches are read by workers.
CPU_ELEMENTS = 100_000


@pytest.mark.slow
@pytest.mark.parametrize("name", LAUNCHES)
def test_a_step_waits_for_nothing(name: str) -> None:
    method, options, size = METHODS[name]
    options = {**options, next(key for key in ("train_steps", "steps") if key in options): 6 + WARM.get(name, 0)}
    found = run_case("method", name=method, options=options, size=size, warm=WARM.get(name, 0))
    assert "error" not in found, found["error"]
    step: dict[str, Any] = found["phases"]["step"]
    assert step["times"] == 6
    assert step["mean"]["waits"] == 0, step["syncs_lines"]
    assert not step["alerts_lines"]
    assert max(step["cpu_lines"].values(), default=0) <= CPU_ELEMENTS, step["cpu_lines"]
    predict = found["phases"]["predict"]
    assert predict["mean"]["waits"] <= 2, predict["syncs_lines"]
    if not is_real():
        assert step["mean"]["syncs"] == 0
        assert step["mean"]["h2d"] == step["mean"]["h2d_pinned"], step["copy_lines"]


@pytest.mark.slow
def test_a_batch_of_patchcore_waits_for_little() -> None:
    method, options, size = METHODS["patchcore"]
    found = run_case("method", name=method, options=options, size=size)
    assert "error" not in found, found["error"]
    predict = found["phases"]["predict"]
    assert predict["mean"]["waits"] <= 2, predict["syncs_lines"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "what", "images"), [("uniad", "features", 40), ("diad", "latents", 40), ("patchcore", "images", 8)]
)
def test_a_pass_over_the_training_images_does_not_wait_for_their_copies(name: str, what: str, images: int) -> None:
    """Images are sent as bytes from pinned memory; only the results of a batch are waited for."""
    method, options, size = METHODS[name]
    batch = {"batch_size": 2} if name == "patchcore" else {}
    found = run_case("passes", name=method, options={**options, **batch}, size=size, images=images)
    assert "error" not in found, found["error"]
    phase = found["phases"][what]
    assert phase["times"] >= 2
    sent = {line: count for line, count in phase["copy_lines"].items() if line.startswith("to the GPU")}
    assert any("images_on" in line for line in sent), "the recorder sees the copies"
    assert not [line for line in sent if "pinned" not in line], sent
    assert phase["mean"]["waits"] <= 1, phase["syncs_lines"]


@pytest.mark.slow
@pytest.mark.skipif(is_real(), reason="only the null GPU counts launches")
@pytest.mark.parametrize("name", LAUNCHES)
def test_a_step_starts_few_kernels(name: str) -> None:
    method, options, size = METHODS[name]
    warm = WARM.get(name, 0)
    options = {**options, next(key for key in ("train_steps", "steps") if key in options): 4 + warm}
    found = run_case("method", name=method, options=options, size=size, operations=False, warm=warm)
    assert "error" not in found, found["error"]
    assert 0 < found["phases"]["step"]["mean"]["launches"] <= LAUNCHES[name]


@pytest.mark.slow
@pytest.mark.skipif(is_real(), reason="only the null GPU counts launches")
@pytest.mark.parametrize("graph", [True, False])
def test_a_step_of_uniad_is_one_graph(graph: bool) -> None:
    """With a graph of as many kernels as a step has without; the option turns it off."""
    method, options, size = METHODS["uniad"]
    options = {**options, "steps": 8, "cuda_graph": graph}
    found = run_case("method", name=method, options=options, size=size, operations=False, warm=4)
    assert "error" not in found, found["error"]
    assert found["extras"]["cuda_graph"] == ("replayed" if graph else "cuda_graph: false")
    step = found["phases"]["step"]["mean"]
    assert step["graphs"] == graph
    assert 600 < step["graph_launches" if graph else "launches"] < 900


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed", "16-mixed"])
def test_clipping_and_every_precision_go_together(precision: str) -> None:
    options = {"steps": 2, "width": 4, "batch_size": 4, "clip": 1.0, "precision": precision}
    found = run_case("trained", name="draem", options=options, half=True)
    assert "error" not in found, found["error"]
