"""Every metric against sklearn and a from-definition AU-PRO, in float64, on maps of every kind."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from sklearn.metrics import average_precision_score, precision_recall_curve, roc_auc_score

from diadbench.benchmark.metrics import METRICS, Evaluator, evaluate, get_protocol
from diadbench.common.errors import UserError

TOLERANCE = 1e-12


def defined_f1(labels, scores):
    """Largest F1 over every distinct threshold, from sklearn's curve."""
    precision, recall, _ = precision_recall_curve(labels, scores)
    total = precision + recall
    return float(np.max(np.divide(2 * precision * recall, total, out=np.zeros_like(total), where=total > 0)))


def defined_pro(maps, masks, limit=0.3, connectivity=8):
    """AU-PRO by its definition: the overlap with each region at each distinct score, trapezoid up to the limit."""
    structure = np.ones((3, 3)) if connectivity == 8 else None
    overlaps = []
    normal = maps[masks == 0]
    thresholds = np.unique(maps)[::-1]
    ordered = np.sort(normal)
    fpr = np.concatenate([[0.0], 1 - np.searchsorted(ordered, thresholds, "left") / len(normal)])
    for one_map, mask in zip(maps, masks):
        labels, count = ndimage.label(mask, structure)
        for region in range(1, count + 1):
            inside = np.sort(one_map[labels == region])
            overlaps.append(np.concatenate([[0.0], 1 - np.searchsorted(inside, thresholds, "left") / len(inside)]))
    pro = np.mean(overlaps, axis=0)
    last = int(np.flatnonzero(fpr <= limit)[-1])
    area = np.trapezoid(pro[: last + 1], fpr[: last + 1])
    if fpr[last] < limit:
        at_limit = pro[last] + (pro[last + 1] - pro[last]) * (limit - fpr[last]) / (fpr[last + 1] - fpr[last])
        area += (limit - fpr[last]) * (pro[last] + at_limit) / 2
    return float(area / limit)


def defined(maps, masks, scores, labels):
    maps = maps.astype(np.float64)
    flat, mask = maps.ravel(), masks.ravel().astype(int)
    f1 = defined_f1(mask, flat)
    return {
        "i_auroc": roc_auc_score(labels, scores),
        "i_ap": average_precision_score(labels, scores),
        "i_f1max": defined_f1(labels, scores),
        "p_auroc": roc_auc_score(mask, flat),
        "p_ap": average_precision_score(mask, flat),
        "p_f1max": f1,
        "p_ioumax": f1 / (2 - f1),
        "aupro": defined_pro(maps, masks),
    }


@st.composite
def cases(draw):
    """Maps (N,H,W) with masks: random, tied, constant, negative, tiny, non-square, scaled; three dtypes."""
    n, height, width = draw(st.integers(2, 6)), draw(st.integers(1, 17)), draw(st.integers(1, 13))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    maps = rng.standard_normal((n, height, width))
    dtype = draw(st.sampled_from([np.float16, np.float32, np.float64]))
    kinds = {
        "random": lambda x: x,
        "tied": lambda x: np.round(2 * x) / 2,
        "constant": lambda x: np.full_like(x, 0.37),
        "negative": lambda x: -np.abs(x) - 3,
        "tiny": lambda x: 1e-4 * x if dtype == np.float16 else 1e-30 * x,
        "scaled": lambda x: 1e4 * x if dtype == np.float16 else 1e6 * x,
        "huge": lambda x: x if dtype == np.float16 else 1e37 * x,
        "outlier": lambda x: np.where(x == x.max(), 6e4, x),
        "skewed": lambda x: np.minimum(np.exp(3 * x), 6e4),
    }
    maps = kinds[draw(st.sampled_from(sorted(kinds)))](maps).astype(dtype)
    masks = rng.random(maps.shape) < draw(st.sampled_from([0.02, 0.2, 0.5]))
    masks = masks.astype(draw(st.sampled_from([bool, np.uint8])))
    masks[0], masks[1] = 0, 0
    masks[1, 0, 0] = 1
    scores = np.round(rng.standard_normal(n), draw(st.integers(0, 3)))
    return maps, masks, scores, rng.permutation(np.arange(n) % 2)


@settings(max_examples=80, deadline=None)
@given(cases())
def test_equal_to_the_definition(case):
    maps, masks, scores, labels = case
    found = evaluate(maps, masks, scores, labels)
    expected = defined(maps, masks, scores, labels)
    assert list(found) == ["i_auroc", "i_ap", "i_f1max", "p_auroc", "p_ap", "p_f1max", "p_ioumax", "aupro"]
    for key, value in expected.items():
        assert found[key] == pytest.approx(value, abs=TOLERANCE, rel=0), key


@settings(max_examples=25, deadline=None)
@given(cases(), st.floats(0.001, 1.0), st.sampled_from([4, 8]))
def test_any_limit_and_connectivity(case, limit, connectivity):
    from dataclasses import replace

    maps, masks, scores, labels = case
    protocol = replace(get_protocol("exact"), pro_limit=limit, connectivity=connectivity)
    expected = defined_pro(maps.astype(np.float64), masks, limit, connectivity)
    assert evaluate(maps, masks, scores, labels, protocol)["aupro"] == pytest.approx(expected, abs=TOLERANCE, rel=0)


@settings(max_examples=25, deadline=None)
@given(cases(), st.integers(0, 2**32 - 1), st.booleans())
def test_order_and_batch_size_change_nothing(case, seed, spill):
    maps, masks, scores, labels = case
    rng = np.random.default_rng(seed)
    evaluator = Evaluator(["a", "b"], memory=64 if spill else 1 << 20)
    jobs = [(one, i) for one in (0, 1) for i in range(len(maps))]
    rng.shuffle(jobs)
    while jobs:
        size = int(rng.integers(1, 4))
        batch, jobs = jobs[:size], jobs[size:]
        ids, at = np.array(batch).T
        sign = np.where(ids == 1, -1, 1).astype(maps.dtype)[:, None, None]
        evaluator.update(ids, maps[at] * sign, masks[at], scores[at], labels[at])
    table = evaluator.compute().table.set_index(["class", "metric"])["value"]
    for name, expected in (("a", evaluate(maps, masks, scores, labels)), ("b", evaluate(-maps, masks, scores, labels))):
        for key, value in expected.items():
            assert table[name, key] == pytest.approx(value, abs=1e-14, rel=0)


def test_known_values_by_hand():
    maps = np.array([[[0.0, 0.0], [0.0, 0.0]], [[4.0, 3.0], [2.0, 1.0]]])
    masks = np.array([[[0, 0], [0, 0]], [[1, 0], [1, 0]]])
    found = evaluate(maps, masks)
    assert found["i_auroc"] == 1.0
    assert found["p_auroc"] == pytest.approx((6 + 5) / 12)
    assert found["p_ap"] == pytest.approx(0.5 * 1 + 0.5 * 2 / 3)
    assert found["p_f1max"] == pytest.approx(0.8)
    assert found["p_ioumax"] == pytest.approx(2 / 3)
    # one region of two pixels: PRO is 1/2 up to FPR 1/6, then 1
    assert found["aupro"] == pytest.approx((0.5 / 6 + (0.3 - 1 / 6)) / 0.3)


def test_a_constant_map_ranks_nothing():
    masks = np.zeros((4, 5, 5), bool)
    masks[2:, 1:3, 1:3] = True
    found = evaluate(np.full((4, 5, 5), 7.0), masks)
    assert found["p_auroc"] == 0.5
    assert found["p_ap"] == pytest.approx(0.08)
    assert found["aupro"] == pytest.approx(0.15)  # one ramp from (0,0) to (1,1)


def test_the_table_of_metrics():
    assert list(METRICS)[:9] == ["i_auroc", "i_ap", "i_f1max", "p_auroc", "p_ap", "p_f1max", "aupro", "p_ioumax", "mad"]
    assert METRICS["aupro"].label == "mAU-PRO_R"
    assert all(info.higher_is_better and info.bounds == (0.0, 1.0) for info in METRICS.values())


def test_unknown_protocol_says_what_was_meant():
    with pytest.raises(UserError, match="did you mean exact"):
        get_protocol("exakt")
