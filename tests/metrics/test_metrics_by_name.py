"""Metrics by name against naive implementations of their definitions, in float64."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import ndimage

from diadbench.benchmark.metrics import Evaluator
from diadbench.benchmark.metrics.exact.ranking import rank
from diadbench.benchmark.metrics.further.pimo import PerImage, aupimo
from diadbench.benchmark.metrics.further.selection import order_statistics
from diadbench.benchmark.metrics.names import metric_info

NAMES = ("aupro@0.05", "aupro@0.3", "aupimo@1e-3:1e-1", "i_pg", "i_pb@0.2", "p_pg", "p_pb@0.01", "p_pb")
PROTOCOL = "exact+max+" + "+".join(NAMES)


def seeded(seed, dtype=np.float32, images=8):
    rng = np.random.default_rng(seed)
    masks = np.zeros((images, 60, 70), bool)
    for i in range(0, images, 2):
        y, x, size = rng.integers(0, 40), rng.integers(0, 50), rng.integers(4, 18)
        masks[i, y : y + size, x : x + size] = True
    noise = ndimage.gaussian_filter(rng.standard_normal(masks.shape), (0, 1, 1)) * 3
    maps = (noise + ndimage.gaussian_filter(masks * 1.0, (0, 2, 2))).astype(dtype)
    return maps if seed % 2 else np.round(maps, 1).astype(dtype), masks


def naive_pro(maps, masks, limit):
    """A point at each distinct score, trapezoid, interpolated at the limit."""
    overlaps, normal = [], np.sort(maps[~masks])
    thresholds = np.unique(maps)[::-1]
    fpr = np.append(0.0, 1 - np.searchsorted(normal, thresholds, "left") / len(normal))
    for one, mask in zip(maps, masks):
        labels, count = ndimage.label(mask, np.ones((3, 3)))
        for region in range(1, count + 1):
            inside = np.sort(one[labels == region])
            overlaps.append(np.append(0.0, 1 - np.searchsorted(inside, thresholds, "left") / len(inside)))
    pro = np.mean(overlaps, axis=0)
    inner = np.append(fpr[fpr < limit], limit)
    return np.trapezoid(np.append(pro[fpr < limit], np.interp(limit, fpr, pro)), inner) / limit


def naive_pimo(maps, masks, low, high, steps=300_000):
    """Rates at equally spaced thresholds of the normal images; each image's recall over the logarithm of the rate."""
    anomalous = masks.any(axis=(1, 2))
    normal = maps[~anomalous]
    thresholds = np.linspace(float(normal.min()), float(normal.max()), steps).astype(maps.dtype)
    ordered = [np.sort(one.ravel()) for one in normal]
    rates = np.mean([1 - np.searchsorted(one, thresholds, "left") / len(one) for one in ordered], axis=0)
    first, last = np.argmin(np.abs(rates - high)), np.argmin(np.abs(rates - low))
    place, found = np.log(rates[first : last + 1])[::-1], []
    for one, mask in zip(maps[anomalous], masks[anomalous]):
        inside = np.sort(one[mask])
        recall = 1 - np.searchsorted(inside, thresholds[first : last + 1], "left") / len(inside)
        found.append(np.clip(np.trapezoid(recall[::-1], place) / math.log(high / low), 0, 1))
    return np.mean(found)


def naive_pg(scores, labels, misses):
    return np.mean(scores[~labels] < np.quantile(scores[labels].astype(float), misses))


def naive_pb(scores, labels, alarms):
    return np.mean(scores[labels] > np.quantile(scores[~labels].astype(float), 1 - alarms))


def values_of(maps, masks, protocol=PROTOCOL, batch=3):
    evaluator = Evaluator(["a"], protocol, memory=0)
    for start in range(0, len(maps), batch):
        part = slice(start, start + batch)
        evaluator.update(np.zeros(len(maps[part]), int), maps[part], masks[part], None, None)
    table = evaluator.compute().table
    return dict(zip(table["metric"], table["value"])), dict(zip(table["metric"], table["reason"]))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("seed", [0, 1, 2, 3])
def test_each_is_what_its_definition_says(seed, dtype):
    maps, masks = seeded(seed, dtype)
    scores, labels = maps.max(axis=(1, 2)), masks.any(axis=(1, 2))
    flat, truth = maps.ravel(), masks.ravel()
    found, reasons = values_of(maps, masks)
    expected = {
        "aupro@0.05": naive_pro(maps, masks, 0.05),
        "aupro@0.3": naive_pro(maps, masks, 0.3),
        "i_pg": naive_pg(scores, labels, 0.05),
        "i_pb@0.2": naive_pb(scores, labels, 0.2),
        "p_pg": naive_pg(flat, truth, 0.05),
        "p_pb": naive_pb(flat, truth, 0.05),
        "p_pb@0.01": naive_pb(flat, truth, 0.01),
        "aupimo@1e-3:1e-1": naive_pimo(maps, masks, 1e-3, 1e-1),
    }
    for key, value in expected.items():
        assert found[key] == pytest.approx(value, abs=1e-12), (key, reasons[key])
    assert found["aupro@0.3"] == pytest.approx(found["aupro"], abs=1e-15)


def test_aupimo_is_that_of_anomalib():
    functional = pytest.importorskip("anomalib.metrics.pimo.functional")
    maps, masks = seeded(1, np.float64)
    *_, scores, points = functional.aupimo_scores(
        torch.from_numpy(maps), torch.from_numpy(masks.astype(int)), num_thresholds=3000, fpr_bounds=(1e-3, 1e-1)
    )
    images = PerImage()
    images.add(maps, masks)
    value, reason = aupimo(
        images, lambda: images.normal_pixels(iter([maps.ravel()]), maps.dtype), maps.dtype, (1e-3, 1e-1), 3000
    )
    anomalous = masks.any(axis=(1, 2))
    assert (reason, points > 300) == ("", True)
    assert value == pytest.approx(float(scores[torch.from_numpy(anomalous)].mean()), abs=1e-6)


def test_a_rate_that_no_threshold_gives_has_a_reason_and_no_number():
    maps, masks = seeded(1)
    found, reasons = values_of(maps, masks, "exact+aupimo")
    assert np.isnan(found["aupimo"])
    assert "normal pixels" in reasons["aupimo"]
    found, reasons = values_of(maps, np.ones_like(masks), "exact+aupimo+p_pb")
    assert np.isnan(found["p_pb"])
    assert reasons["p_pb"] == "no normal pixel"


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_order_statistics_of_any_floats_are_exact(dtype):
    rng = np.random.default_rng(0)
    values = np.concatenate([rng.standard_normal(500), 1e-30 * rng.standard_normal(300), [0.0, -0.0, 1e30, -1e30]])
    values = np.round(values, 2).astype(dtype) if dtype == np.float32 else values.astype(dtype)
    anomalous = rng.random(len(values)) < 0.3
    ranking = rank(values, anomalous)
    normal = np.sort(values[~anomalous])
    for at in (0, 1, len(normal) // 2, len(normal) - 1):
        found = order_statistics(lambda: iter([values[:400], values[400:]]), np.dtype(dtype), [at], ranking)
        assert found == [normal[at]]


def test_names_have_labels_for_tables():
    assert metric_info("aupro@0.05").label == "mAU-PRO@0.05_R"
    assert metric_info("seg_f1").label == "mSegF1_P"
    assert metric_info("i_auroc").label == "mAU-ROC_I"
