"""The compiled passes give the integers of the numpy reference, bit for bit."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from scipy import ndimage

from diadbench.benchmark.metrics import evaluate
from diadbench.benchmark.metrics.exact import kernels, pixels
from diadbench.benchmark.metrics.exact.counting import Anomalies, Counter
from diadbench.benchmark.metrics.exact.kernels import FastAnomalies, FastCounter, sortable_bits

RNG = np.random.default_rng(7)
KINDS = {
    "random": lambda x: x,
    "tied": lambda x: np.round(3 * x),
    "constant": lambda x: np.full_like(x, -2.5),
    "zeros of both signs": lambda x: np.where(x > 0, 0.0, -0.0),
    "skewed": lambda x: np.exp(6 * x),
    "outlier": lambda x: np.where(x == x.max(), 1e9, x),
    "denormal": lambda x: x * 1e-40,
    "the whole range": lambda x: x * 1e38 / 2,
}


def passes(anomalies, counter_class, maps, masks, dtype):
    for start in range(0, len(maps), 3):
        anomalies.add(maps[start : start + 3], masks[start : start + 3])
    [(score, positives, weight)] = anomalies.distinct()
    counter = counter_class(score.astype(dtype))
    for one in maps:
        counter.add(one.ravel())
    return counter.ranking(anomalies, positives, weight)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("kind", KINDS)
def test_same_ranking(kind, dtype):
    maps = KINDS[kind](RNG.standard_normal((10, 37, 29)).clip(-3, 3)).astype(dtype)
    masks = ndimage.uniform_filter(RNG.random(maps.shape), (0, 3, 3)) > 0.58
    fast = passes(FastAnomalies(), FastCounter, maps, masks, dtype)
    slow = passes(Anomalies(), Counter, maps, masks, dtype)
    for name in ("score", "positives", "below", "equal", "n_positive", "n_negative"):
        np.testing.assert_array_equal(getattr(fast, name), getattr(slow, name), err_msg=name)
    np.testing.assert_allclose(fast.weight, slow.weight, rtol=1e-13)


@pytest.mark.parametrize("connectivity", [4, 8])
@pytest.mark.parametrize("density", [0.02, 0.3, 0.5, 0.65, 1.0])
def test_same_regions(density, connectivity):
    masks = RNG.random((6, 23, 31)) < density
    maps = RNG.random(masks.shape, dtype=np.float32)
    fast, slow = FastAnomalies(connectivity), Anomalies(connectivity)
    for one in (fast, slow):
        one.add(maps, masks)
    assert fast.n_regions == slow.n_regions
    for mine, other in zip(next(fast.distinct()), next(slow.distinct())):
        np.testing.assert_allclose(mine, other, rtol=1e-13)


def test_a_spiral_is_one_region():
    mask = np.zeros((1, 11, 11), bool)
    y = x = 0
    dy, dx = 0, 1
    for length in (10, 10, 10, 8, 8, 6, 6, 4, 4, 2):
        for _ in range(length):
            mask[0, y, x] = True
            y, x = y + dy, x + dx
        dy, dx = dx, -dy
    for connectivity in (4, 8):
        found = FastAnomalies(connectivity)
        found.add(np.zeros(mask.shape, np.float32), mask)
        assert found.n_regions == 1


def test_counts_beyond_31_bits_are_folded_in_time(monkeypatch):
    score = np.array([1.0, 2.0], np.float32)
    counter = FastCounter(score)
    counter._pending = 2**31 - 3
    counter.add(np.array([0.0, 0.5, 1.0, 1.5, 3.0], np.float32))
    counter.add(np.array([1.7], np.float32))
    below, equal = counter._totals()
    assert below.tolist() == [2, 5]
    assert equal.tolist() == [1, 0]


def test_bits_keep_the_order():
    values = np.array([-np.finfo(np.float32).max, -1.0, -1e-45, -0.0, 0.0, 1e-45, 1.0, 3e38], np.float32)
    bits = sortable_bits(values)
    assert (np.diff(bits) >= 0).all()
    assert bits[3] == bits[4]
    assert len(np.unique(bits)) == len(values) - 1


def test_without_numba_the_numpy_reference_answers(monkeypatch):
    maps = RNG.random((6, 20, 20), dtype=np.float32)
    masks = RNG.random(maps.shape) < 0.1
    masks[:3] = False
    expected = evaluate(maps, masks)
    monkeypatch.setitem(sys.modules, kernels.__name__, None)
    pixels.engine.cache_clear()
    try:
        assert pixels.engine() == (Anomalies, Counter)
        assert evaluate(maps, masks) == pytest.approx(expected, abs=1e-14)
    finally:
        pixels.engine.cache_clear()
