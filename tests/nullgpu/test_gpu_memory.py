"""Out of memory on a GPU, on one card and in a process of two, is recognised; a second try divides the batches."""

from __future__ import annotations

import pytest
from gpu_stand_in import is_real, run_case

OPTIONS = {"steps": 2, "width": 32, "batch_size": 16}


@pytest.mark.slow
@pytest.mark.skipif(is_real(), reason="a real GPU has the memory that it has")
def test_a_small_card_is_out_of_memory_and_parts_of_the_batch_fit() -> None:
    whole = run_case("trained", name="draem", options=OPTIONS, size=128, gpu={"gigabytes": 1.0})
    assert whole["out_of_memory"], whole
    parts = run_case("trained", name="draem", options=OPTIONS, size=128, split=4, gpu={"gigabytes": 1.0})
    assert "error" not in parts, parts["error"]
    assert any("divided into 4 parts" in note for note in parts["notes"])


@pytest.mark.slow
def test_padim_keeps_a_mean_and_a_covariance_on_a_gpu_not_all_embeddings() -> None:
    found = run_case("padim")
    assert "error" not in found, found["error"]
    assert found["added"] == [2] * 8
    assert is_real() or found["pinned"] >= 8, "the images of each batch come from pinned memory"


@pytest.mark.slow
@pytest.mark.skipif(is_real(), reason="two GPUs are not sure to be there")
def test_out_of_memory_in_one_of_two_processes() -> None:
    gpu = {"gigabytes": 0.6, "count": 2}
    found = run_case("trained", name="draem", options=OPTIONS, size=128, devices=2, gpu=gpu)
    assert found["out_of_memory"], found


@pytest.mark.slow
@pytest.mark.skipif(is_real(), reason="two GPUs are not sure to be there")
@pytest.mark.parametrize("cache", [True, False])
def test_two_devices_share_the_batch(cache: bool) -> None:
    """Each has its own backbone; the peak of both cards is told; the steps are the one device's."""
    options = {"backbone": "tf_efficientnet_b4", "weights": "random", "steps": 3, "neighbor_size": 3, "cache": cache}
    found = run_case("trained", name="uniad", options=options, devices=2, gpu={"count": 2})
    assert "error" not in found, found["error"]
    assert sorted(found["peaks"]) == ["0", "1"]
    assert any("trained on 2 devices that share each batch" in note for note in found["notes"])
