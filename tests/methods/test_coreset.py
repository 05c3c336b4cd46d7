"""The lazy greedy against a loop that takes one point at a time."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from diadbench.methods.patchcore import coreset as module
from diadbench.methods.patchcore.coreset import greedy_coreset


def cloud(n: int, d: int = 16, seed: int = 0) -> NDArray[np.float16]:
    generator = np.random.default_rng(seed)
    centres = generator.normal(size=(20, d))
    spread = generator.uniform(0.05, 0.5, size=(n, 1))
    return (centres[generator.integers(20, size=n)] + spread * generator.normal(size=(n, d))).astype(np.float16)


def one_at_a_time(points: NDArray[np.float16], k: int, start: int, initial: NDArray[np.float32] | None = None):
    x = points.astype(np.float64)
    distance = np.full(len(x), np.inf) if initial is None else initial.astype(np.float64)
    picks = [start] if initial is None else [int(distance.argmax())]
    while True:
        distance = np.minimum(distance, np.linalg.norm(x - x[picks[-1]], axis=1))
        if len(picks) == k:
            return picks, float(distance.max())
        picks.append(int(distance.argmax()))


@pytest.mark.parametrize("pool", [1, 7, 64, 1024, 10_000])
@pytest.mark.parametrize("k", [1, 2, 150])
def test_same_indices_as_one_at_a_time(pool: int, k: int) -> None:
    points = cloud(2000)
    expected, radius = one_at_a_time(points, k, start=17)
    found = greedy_coreset(points, k, start=17, pool=pool)
    assert found.indices.tolist() == expected
    assert found.radius == pytest.approx(radius, rel=1e-4)
    assert found.radius_999 <= found.radius


def test_initial_distances_decide_the_first_pick_and_stay() -> None:
    points = cloud(1500, seed=1)
    initial = np.random.default_rng(0).uniform(0.5, 3.0, size=1500).astype(np.float32)
    expected, _ = one_at_a_time(points, 120, start=0, initial=initial)
    assert greedy_coreset(points, 120, initial=initial, pool=50).indices.tolist() == expected


def test_agrees_with_anomalib() -> None:
    from anomalib.models.components import KCenterGreedy

    points = cloud(600, seed=2)
    sampler = KCenterGreedy(torch.from_numpy(points).float(), 0.1)
    sampler.model.fit = lambda x: sampler.model
    sampler.model.transform = lambda x: x
    torch.manual_seed(4)
    theirs = sampler.select_coreset_idxs()
    assert greedy_coreset(points, 60, start=theirs[0]).indices.tolist() == theirs


@pytest.mark.parametrize("pool", [3, 40])
def test_copies_are_taken_once_and_ties_go_to_the_lowest_index(pool: int) -> None:
    points = np.repeat(np.eye(5, dtype=np.float16), 100, axis=0)
    found = greedy_coreset(points, 50, start=499, pool=pool)
    assert found.indices.tolist() == [499, 0, 100, 200, 300]
    assert found.radius == 0


def test_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    points = cloud(1000, seed=3)
    whole = greedy_coreset(points, 80, start=0)
    monkeypatch.setattr(module, "_BLOCK", 1000)
    assert greedy_coreset(points, 80, start=0).indices.tolist() == whole.indices.tolist()


def test_a_killed_selection_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    points = cloud(3000, seed=5)
    expected = greedy_coreset(points, 300, start=1, pool=32)
    monkeypatch.setattr(module, "_CHECKPOINT_SECONDS", -1.0)

    class Killed(Exception):
        pass

    def stop(done: int, total: int) -> None:
        if done > 150:
            raise Killed

    with pytest.raises(Killed):
        greedy_coreset(points, 300, start=1, pool=32, progress=stop, checkpoint=tmp_path / "part.npz")
    seen: list[int] = []
    found = greedy_coreset(
        points, 300, start=1, pool=32, progress=lambda done, _: seen.append(done), checkpoint=tmp_path / "part.npz"
    )
    assert seen[0] > 100
    assert found.indices.tolist() == expected.indices.tolist()


def test_wrong_input_is_said() -> None:
    points = cloud(10)
    with pytest.raises(ValueError, match=r"1\.\.10"):
        greedy_coreset(points, 11)
    with pytest.raises(ValueError, match="start"):
        greedy_coreset(points, 1, start=10)
    points[3] = np.inf
    with pytest.raises(ValueError, match="not finite"):
        greedy_coreset(points, 2)
