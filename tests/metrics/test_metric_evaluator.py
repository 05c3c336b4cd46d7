"""The evaluator: bad input, holes, samples, streaming, what comes out."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from diadbench.benchmark.metrics import METRICS, Evaluator, evaluate, float16_effect
from diadbench.benchmark.metrics.curves import pr_curve, roc_curve, thin
from diadbench.benchmark.metrics.exact.ranking import average_precision, bounded, rank
from diadbench.benchmark.metrics.protocols import PROTOCOLS
from diadbench.common.errors import UserError
from diadbench.common.half import from_half, to_half

RNG = np.random.default_rng(5)
PIXEL = ("p_auroc", "p_ap", "p_f1max", "p_ioumax", "aupro")


def good(n=8, size=(20, 16), dtype=np.float32):
    rng = np.random.default_rng(5)  # of its own: tests run in any order
    maps = rng.standard_normal((n, *size)).astype(dtype)
    masks = np.zeros((n, *size), bool)
    masks[::2, 3:7, 4:9] = True
    return maps, masks


def fed(classes=("a", "b"), only=None, **options):
    evaluator = Evaluator(classes, **options)
    for one in range(len(classes)) if only is None else only:
        maps, masks = good()
        labels = masks.any(axis=(1, 2))
        evaluator.update(np.full(8, one), maps, masks, maps.max(axis=(1, 2)), labels, [f"s{i // 2}" for i in range(8)])
    return evaluator


def row(evaluation, name, metric):
    table = evaluation.table
    return table[(table["class"] == name) & (table["metric"] == metric)].iloc[0]


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_non_finite_maps_and_scores_give_nan_with_a_reason(bad):
    maps, masks = good()
    broken = maps.copy()
    broken[3, 2, 1] = bad
    found = evaluate(broken, masks, scores=maps.max(axis=(1, 2)))
    assert all(np.isnan(found[key]) for key in PIXEL)
    assert found.reasons["aupro"] == "NaN or infinity in 1 of 8 anomaly maps"
    assert found["i_auroc"] == evaluate(maps, masks)["i_auroc"]
    scores = maps.max(axis=(1, 2))
    scores[2] = bad
    found = evaluate(maps, masks, scores=scores)
    assert np.isnan(found["i_ap"])
    assert found.reasons["i_ap"] == "NaN or infinity in 1 of 8 image scores"
    assert found["p_ap"] == evaluate(maps, masks)["p_ap"]


def test_one_sided_classes_give_nan_with_a_reason():
    maps, masks = good()
    found = evaluate(maps, np.zeros_like(masks))
    assert all(np.isnan(value) for value in found.values())
    assert found.reasons["i_auroc"] == "no anomalous test image"
    assert found.reasons["p_auroc"] == "no anomalous pixel"
    found = evaluate(maps, np.ones_like(masks))
    assert all(np.isnan(value) for value in found.values())
    assert found.reasons["i_f1max"] == "no normal test image"
    assert found.reasons["aupro"] == "no normal pixel"
    found = evaluate(maps[:0], masks[:0])
    assert found.reasons["i_auroc"] == "no test image"
    found = evaluate(maps, None, labels=[0, 1] * 4)
    assert found["i_auroc"] >= 0
    assert found.reasons["p_ap"] == "no masks"


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda maps, masks: evaluate(maps, masks[:, :-1]), "expected the shape of the maps"),
        (lambda maps, masks: evaluate(maps, masks[:-1]), "expected the shape of the maps"),
        (lambda maps, masks: evaluate(maps, masks * np.uint8(255)), "found 255; binarise"),
        (lambda maps, masks: evaluate(maps, masks * 0.5), "found 0.5; binarise"),
        (lambda maps, masks: evaluate(maps, masks, labels=np.arange(8)), "labels: expected 0 and 1, found 2"),
        (lambda maps, masks: evaluate(maps, masks, scores=[1.0]), "scores: expected 8 values"),
        (lambda maps, masks: evaluate(maps, masks, scores=["a"] * 8), "scores: expected numbers"),
        (lambda maps, masks: evaluate(maps[0], masks[0]), r"expected the shape \(N, H, W\)"),
        (lambda maps, masks: evaluate(maps > 0, masks), "expected float16"),
        (lambda maps, masks: evaluate(maps, None), "labels: none given"),
        (lambda maps, masks: Evaluator(["a"]).update([1], maps[:1], masks[:1], [1.0], [1]), "expected 0 to 0, found 1"),
        (lambda maps, masks: Evaluator(["a"]).update([0.5], maps[:1], masks[:1], [1.0], [1]), "expected integers"),
        (lambda maps, masks: Evaluator(["a", "a"]), "distinct class names"),
        (lambda maps, masks: Evaluator(["a"], samples=True).update([0], maps[:1], masks[:1], [1.0], [1]), "sample ids"),
    ],
)
def test_wrong_input_is_said_in_one_line(call, text):
    with pytest.raises(UserError, match=text) as raised:
        call(*good())
    assert "\n" not in str(raised.value)


def test_a_hole_withholds_the_mean():
    evaluation = fed(only=[0]).compute()
    assert row(evaluation, "b", "i_auroc")["reason"] == "no test image"
    mean = evaluation.mean().set_index("metric")
    assert np.isnan(mean.loc["p_ap", "value"])
    assert mean.loc["p_ap", "reason"] == "1/2 classes"
    assert (mean.loc["p_ap", "n_defined"], mean.loc["p_ap", "n_classes"]) == (1, 2)
    assert evaluation.mean(["a"]).set_index("metric").loc["p_ap", "value"] == row(evaluation, "a", "p_ap")["value"]


def test_mad_is_the_mean_of_the_seven_and_of_no_fewer():
    evaluation = fed().compute()
    seven = [row(evaluation, "a", key)["value"] for key in list(METRICS)[:7]]
    assert row(evaluation, "a", "mad")["value"] == pytest.approx(np.mean(seven), abs=1e-15)
    bare = fed(has_masks=False).compute()
    assert np.isnan(row(bare, "a", "mad")["value"])
    assert row(bare, "a", "aupro")["reason"] == "no masks"
    assert bare.mean().set_index("metric").loc["aupro", "reason"] == "no masks"


def test_samples_take_the_largest_view_and_any_label():
    evaluator = Evaluator(["a"], samples=True, has_masks=False)
    evaluator.update([0] * 6, None, None, [0.1, 0.9, 0.3, 0.2, 0.8, 0.7], [0, 1, 0, 0, 0, 0], list("ppqqrr"))
    evaluation = evaluator.compute()
    assert row(evaluation, "a", "s_auroc")["value"] == 1.0  # p .9 anomalous, q .3, r .8
    assert tuple(row(evaluation, "a", "s_ap")[["n_normal", "n_anomalous"]]) == (2, 1)
    assert tuple(row(evaluation, "a", "i_ap")[["n_normal", "n_anomalous"]]) == (5, 1)
    assert row(evaluation, "a", "p_auroc")["reason"] == "no masks"


def test_tensors_of_any_kind_give_the_numbers_of_arrays():
    maps, masks = good(dtype=np.float16)
    expected = evaluate(maps, masks)
    for values in (torch.from_numpy(maps), torch.from_numpy(maps)[:, None], maps.astype(np.float64), maps.tolist()):
        assert evaluate(values, torch.from_numpy(masks).int()) == expected
    values = torch.from_numpy(maps).bfloat16()
    assert evaluate(values, masks) == evaluate(values.float().numpy(), masks)


def test_the_callers_buffer_may_change_after_update():
    maps, masks = good()
    evaluator, buffer = Evaluator(["a"]), maps.copy()
    evaluator.update(np.zeros(8, int), buffer, masks, None, None)
    buffer[:] = 0
    assert row(evaluator.compute(), "a", "p_ap")["value"] == evaluate(maps, masks)["p_ap"]


def test_batches_of_several_sizes_and_precisions():
    maps, masks = good()
    evaluator = Evaluator(["a"], memory=0)
    evaluator.update(np.zeros(4, int), maps[:4].astype(np.float64), masks[:4], None, None)
    evaluator.update(np.zeros(4, int), maps[4:].reshape(4, 10, 32), masks[4:].reshape(4, 10, 32), None, None)
    expected = evaluate(maps, masks)
    for key in ("p_auroc", "p_ap", "p_f1max"):
        assert row(evaluator.compute(), "a", key)["value"] == pytest.approx(expected[key], abs=1e-14)


def test_grouped_frees_a_class_and_refuses_it_later():
    grouped, plain = fed(grouped=True), fed()
    assert list(grouped._pixels) == [1]
    assert len(grouped.compute().table) == len(plain.compute().table)
    with pytest.raises(UserError, match="must be grouped by class"):
        grouped.update([0], *(one[:1] for one in good()), [1.0], [1])


def test_what_comes_out():
    evaluator = Evaluator(["a"])
    maps, masks = good()
    evaluator.update(np.zeros(8, int), maps, masks, np.arange(8.0), masks.any((1, 2)), index=np.arange(8) + 100)
    evaluation = evaluator.compute()
    assert evaluation.image_scores[103] == 3.0
    assert set(evaluation.curves["a"]) == {"image_roc", "image_pr", "roc", "pr", "pro"}
    threshold = evaluation.thresholds.set_index(["class", "level"]).loc[("a", "pixel"), "threshold"]
    predicted = maps >= threshold
    f1 = 2 * (predicted & masks).sum() / (predicted.sum() + masks.sum())
    assert f1 == pytest.approx(row(evaluation, "a", "p_f1max")["value"], abs=1e-15)
    evaluator.reset()
    assert evaluator.compute().table["value"].isna().all()


def test_thinned_curves_stay_within_a_pixel():
    labels = RNG.random(40_000) < 0.3
    ranking = rank(RNG.standard_normal(40_000) + labels, labels)
    for curve in (roc_curve, pr_curve):
        whole, thinned = curve(ranking, columns=10**9), curve(ranking, columns=500)
        assert len(thinned) < 2100 < len(whole)
        grid = np.linspace(0.001, 0.999, 997)
        for x in grid:  # the whole curve lies between the thinned one's values a column to the left and right
            near = thinned[np.abs(thinned[:, 0] - x) <= 2 / 500, 1]
            y = np.interp(x, whole[:, 0], whole[:, 1])
            assert near.min() - 1e-9 <= y <= near.max() + 1e-9
    points = np.array([[0.0, 0.0], [1.0, 1.0]])
    assert thin(points) is points


def test_float16_effect_says_how_far_each_metric_moves():
    maps, masks = good()
    frame = float16_effect(maps, masks).set_index("metric")
    assert frame.loc["p_ap", "float16"] == evaluate(from_half(*to_half(maps)), masks)["p_ap"]
    for other in (maps, maps * 1e6, maps + 1000):  # plain float16 loses the last two
        assert float16_effect(other, masks)["difference"].abs().max() < 1e-3


def test_spilled_maps_leave_nothing_behind(tmp_path):
    evaluator = fed(spill_dir=tmp_path / "spill", memory=100)
    assert evaluator._budget.used <= 100
    values = evaluator.compute().table["value"]
    assert values.notna().all()
    assert list((tmp_path / "spill").iterdir()) == []


def test_a_read_only_memory_map_is_not_copied(tmp_path):
    maps, masks = good()
    np.save(tmp_path / "maps.npy", maps)
    kept = np.load(tmp_path / "maps.npy", mmap_mode="r")
    evaluator = Evaluator(["a"])
    for start in range(0, 8, 3):
        part = slice(start, start + 3)
        evaluator.update(np.zeros(len(maps[part]), int), kept[part], masks[part], None, None)
    assert evaluator._budget.used == 0
    assert row(evaluator.compute(), "a", "aupro")["value"] == evaluate(maps, masks)["aupro"]


@pytest.mark.parametrize("protocol", list(PROTOCOLS))
def test_no_metric_leaves_zero_to_one(protocol):
    """A sum of precisions or of regions' shares that is 1 by definition may end one bit above it."""
    rng = np.random.default_rng(1)
    numbers = range(2, 60, 3 if PROTOCOLS[protocol].compare_size else 1)  # resizing takes a hundred times longer
    for n in numbers:
        maps = rng.uniform(0, 1, (n, 20, 22)).astype(np.float32)
        masks = np.zeros(maps.shape, bool)
        for one in range(n // 2):
            masks[one, 2 : 3 + one % 5, 3 : 5 + one % 7] = masks[one, 12:14, 1 : 2 + one % 11] = True
        maps[masks] += 2  # found without a fault
        found = evaluate(maps, masks, rng.uniform(0, 1, n) + masks.any((1, 2)), protocol=protocol)
        assert all(np.isnan(value) or 0 <= value <= 1 for value in found.values()), found


def test_average_precision_of_a_faultless_ranking_is_one():
    sums = [np.sum(np.full(n, 1 / n)) for n in range(1, 400)]
    assert max(sums) > 1  # what the test is about
    for n in range(1, 400):
        ranking = rank(np.arange(2 * n), np.arange(2 * n) >= n)
        assert average_precision(ranking) == pytest.approx(1, abs=1e-13)
        assert average_precision(ranking) <= 1
    assert bounded(1.01) == 1.01  # no rounding: a fault, which must be seen
