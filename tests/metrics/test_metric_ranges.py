"""A class that is too large for the memory is ranked range by range: same numbers, and little in memory."""

import dataclasses

import numpy as np
import pytest
from scipy import ndimage

from diadbench.benchmark.metrics import curves
from diadbench.benchmark.metrics.exact import bag, ranking
from diadbench.benchmark.metrics.exact.pixels import PixelClass
from diadbench.benchmark.metrics.exact.spill import Budget, DiskArray
from diadbench.benchmark.metrics.protocols import get_protocol

RNG = np.random.default_rng(3)
KINDS = {
    "float32": lambda x: x.astype(np.float32),
    "float64": lambda x: x.astype(np.float64),
    "two precisions": lambda x: x.astype(np.float64),
    "few values": lambda x: np.round(x * 4).astype(np.float32),
    "negative": lambda x: (-np.exp(x)).astype(np.float32),
    "float16": lambda x: x.astype(np.float16),
    "saturated": lambda x: np.minimum(x, -1).astype(np.float32),  # most scores are the largest one
    "one score": lambda x: np.ones(x.shape, np.float32) * 0.5,
}


@pytest.fixture
def narrow(monkeypatch):
    monkeypatch.setattr(bag, "PENDING", 64)
    monkeypatch.setattr(bag, "RANGE", 200)
    for module in (bag, ranking, curves):
        monkeypatch.setattr(module, "BLOCK", 50)


def scene(kind):
    maps = KINDS[kind](RNG.standard_normal((12, 32, 32)).clip(-3, 3))
    if kind == "two precisions":
        maps[:6] = maps[:6].astype(np.float32)
    masks = ndimage.uniform_filter(RNG.random(maps.shape), (0, 3, 3)) > 0.6
    masks[:4] = False
    return maps, masks


def fed(kind, maps, masks, protocol, limit, order=slice(None)):
    one = PixelClass(get_protocol(protocol), Budget(limit))
    for number, (a_map, mask) in enumerate(zip(maps[order], masks[order])):
        if kind == "two precisions" and number < 6:
            a_map = a_map.astype(np.float32)
        one.add(a_map[None], mask[None])
    return one


@pytest.mark.parametrize("protocol", ["exact", "ader", "ader-grid", "diad", "uniad"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("limit", [0, 30_000, 1 << 30])
def test_ranges_change_nothing(kind, protocol, limit, narrow, monkeypatch):
    maps, masks = scene(kind)
    found = fed(kind, maps, masks, protocol, limit)
    got = found.compute()
    assert len(got.ranking.score) == len(np.unique(maps[masks]))
    monkeypatch.undo()
    expected = fed(kind, maps, masks, protocol, 1 << 30).compute()
    assert got.threshold == expected.threshold
    for key, (value, reason) in expected.values.items():
        assert got.values[key] == (pytest.approx(value, abs=1e-13, nan_ok=True), reason), key
    for field in dataclasses.fields(expected.ranking):
        mine, theirs = getattr(got.ranking, field.name), getattr(expected.ranking, field.name)
        mine = mine[:] if isinstance(mine, DiskArray) else mine
        np.testing.assert_allclose(mine, theirs, rtol=1e-12, err_msg=field.name)


def test_ranges_lie_on_disk_and_more_may_be_added(narrow):
    maps, masks = scene("float32")
    found = fed("float32", maps[:8], masks[:8], "exact", 0)
    assert isinstance(found.compute().ranking.score, DiskArray)
    for one, mask in zip(maps[8:], masks[8:]):
        found.add(one[None], mask[None])
    whole = fed("float32", maps, masks, "exact", 1 << 30).compute()
    assert found.compute().values["p_ap"][0] == pytest.approx(whole.values["p_ap"][0], abs=1e-13)


def test_the_order_of_images_changes_no_count(narrow):
    maps, masks = scene("float32")
    one = fed("float32", maps, masks, "exact", 0).compute()
    other = fed("float32", maps, masks, "exact", 0, slice(None, None, -1)).compute()
    assert one.values == other.values


def test_curves_by_blocks_are_the_curves_at_once(narrow, monkeypatch):
    maps, masks = scene("float32")
    by_blocks = curves.curves(None, fed("float32", maps, masks, "exact", 0).compute().ranking)
    monkeypatch.undo()
    at_once = curves.curves(None, fed("float32", maps, masks, "exact", 1 << 30).compute().ranking)
    for kind, (x, y) in at_once.items():
        mine = by_blocks[kind]
        grid = np.linspace(0, 1, 501)
        np.testing.assert_allclose(np.interp(grid, *mine), np.interp(grid, x, y), atol=2e-2, err_msg=kind)
        assert {(0.0, 0.0), (1.0, 1.0)} <= set(zip(*mine)) or kind == "pr"


def test_the_bag_gives_its_memory_back(narrow):
    budget = Budget(1000)
    one = bag.Bag(budget)
    for start in range(0, 4000, 100):
        one.add(np.arange(start, start + 100, dtype=np.float32), np.zeros(100, np.int32))
    pieces = [scores for part in one.ranges() for scores, _ in part]
    assert budget.used == 0
    one.add(np.arange(9, dtype=np.float32), np.zeros(9, np.int32))
    assert budget.used == 0
    np.testing.assert_array_equal(np.concatenate(pieces), np.arange(4000))


def test_slices_of_a_disk_array():
    whole = np.arange(100, dtype=np.int32)
    on_disk = DiskArray(Budget(0), whole.dtype)
    for start, stop in ((0, 7), (7, 7), (7, 40), (40, 100)):
        on_disk.append(whole[start:stop])
    for part in (slice(None), slice(5, 9), slice(39, 41), slice(90, 200), slice(7, 7), slice(0, 1)):
        np.testing.assert_array_equal(on_disk[part], whole[part])
    assert len(on_disk) == 100


def test_a_bag_in_memory_is_charged_once():
    budget = Budget(1 << 30)
    one = bag.Bag(budget)
    for _ in range(3):
        one.add(np.zeros(bag.PENDING, np.float32), np.zeros(bag.PENDING, np.int32))
        assert sum(len(scores) for part in one.ranges() for scores, _ in part) * 8 == budget.used
