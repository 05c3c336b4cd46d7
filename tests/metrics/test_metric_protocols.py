"""Each protocol against a naive implementation of what its source computes, on seeded maps."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import ndimage
from sklearn.metrics import auc, average_precision_score, precision_recall_curve, roc_auc_score
from torch.nn.functional import avg_pool2d

from diadbench.benchmark.metrics import PROTOCOLS, Protocol, evaluate, get_protocol
from diadbench.common.errors import UserError

KEYS = ("i_auroc", "i_ap", "i_f1max", "p_auroc", "p_ap", "p_f1max", "p_ioumax", "aupro")


@pytest.fixture(scope="module", params=[0, 1, 2])
def case(request):
    rng = np.random.default_rng(request.param)
    maps, masks = rng.standard_normal((14, 72, 80)), np.zeros((14, 72, 80), np.uint8)
    for i in range(0, 14, 2):
        for _ in range(int(rng.integers(1, 3))):
            y, x, size = rng.integers(0, 56), rng.integers(0, 64), rng.integers(3, 16)
            masks[i, y : y + size, x : x + size] = 1
    maps = ndimage.gaussian_filter(maps, (0, 3, 3)) * 6 + ndimage.gaussian_filter(masks * 1.0, (0, 2, 2))
    if request.param == 2:
        maps = -maps  # worse than chance
    return maps.astype(np.float32), masks


def naive_f1(labels, scores):
    precision, recall, _ = precision_recall_curve(labels, scores)
    with np.errstate(invalid="ignore"):
        f1 = 2 * precision * recall / (precision + recall)
    return np.max(f1[np.isfinite(f1)])


def naive_grid(masks, maps):
    normalised = (maps - maps.min()) / (maps.max() - maps.min())
    truth, f1s, ious = masks.astype(bool), [], []
    for threshold in np.arange(0, 1 + 1e-3, 0.05):
        predicted = normalised > threshold
        both = np.logical_and(truth, predicted).sum()
        precision, recall = both / (predicted.sum() + 1e-8), both / (truth.sum() + 1e-8)
        f1s.append(2 * precision * recall / (precision + recall + 1e-8))
        ious.append(both / (np.logical_or(truth, predicted).sum() + 1e-8))
    return max(f1s), max(ious)


def naive_steps(masks, maps, from_minimum):
    low, high = maps.min(), maps.max()
    points = []
    for threshold in np.arange(low, high, (high - low) / 200):
        predicted, overlaps = maps > threshold, []
        for one, mask in zip(predicted, masks):
            labels, count = ndimage.label(mask, np.ones((3, 3)))
            overlaps += [one[labels == region].mean() for region in range(1, count + 1)]
        points.append((predicted[masks == 0].mean(), np.mean(overlaps)))
    fpr, overlap = np.array([point for point in points if point[0] < 0.3]).T
    fpr = (fpr - fpr.min()) / (fpr.max() - fpr.min()) if from_minimum else fpr / fpr.max()
    return auc(fpr, overlap)


def exact_images(scores, masks):
    labels = masks.max(axis=(1, 2))
    return {
        "i_auroc": roc_auc_score(labels, scores),
        "i_ap": average_precision_score(labels, scores),
        "i_f1max": naive_f1(labels, scores),
    }


def exact_pixels(masks, maps):
    return {
        "p_auroc": roc_auc_score(masks.ravel(), maps.ravel()),
        "p_ap": average_precision_score(masks.ravel(), maps.ravel()),
    }


def pooled(maps, kernels):
    values = torch.tensor(maps)[:, None]
    for kernel in kernels:
        values = avg_pool2d(values, kernel, stride=1)
    return values.numpy().reshape(len(maps), -1).max(1)


def flipped(value):
    return 1 - value if value < 0.5 else value


def adeval(masks, maps, bins, monkeypatch):
    package = pytest.importorskip("adeval")
    monkeypatch.setattr(np, "trapz", np.trapezoid, raising=False)  # gone from numpy 2.4
    return package.auroc_aupr_aupro(maps, masks, nstrips=bins)


def check(found, expected):
    for key in KEYS:
        if key in expected:
            assert found[key] == pytest.approx(float(expected[key]), abs=1e-12), key
        else:
            assert np.isnan(found[key])
            assert found.reasons[key].endswith("does not compute it")


def test_ader_grid(case):
    maps, masks = case
    f1, iou = naive_grid(masks, maps)
    expected = exact_images(maps.max(axis=(1, 2)), masks) | exact_pixels(masks, maps)
    expected |= {"p_f1max": f1, "p_ioumax": iou, "aupro": naive_steps(masks, maps, True)}
    check(evaluate(maps, masks, protocol="ader-grid"), expected)


@pytest.mark.parametrize("name", ["ader", "ader-adeval50"])
def test_ader_as_published(case, name, monkeypatch):
    maps, masks = case
    f1, iou = naive_grid(masks, maps)
    p_auroc, p_ap, aupro = adeval(masks, maps, 50, monkeypatch)
    expected = exact_images(maps.max(axis=(1, 2)), masks)
    expected |= {"p_auroc": p_auroc, "p_ap": p_ap, "p_f1max": f1, "p_ioumax": iou, "aupro": aupro}
    check(evaluate(maps, masks, protocol=name), expected)


def test_ader_with_pooling(case):
    maps, masks = case
    found = evaluate(maps, masks, protocol="ader+pooled16")
    for key, value in exact_images(pooled(maps, [16]), masks).items():
        assert found[key] == pytest.approx(value, abs=1e-12)


@pytest.mark.parametrize("bins", [50, 1000])
def test_adeval(case, bins, monkeypatch):
    maps, masks = case
    p_auroc, p_ap, aupro = adeval(masks, maps, bins, monkeypatch)
    import adeval as package

    scores, labels = maps.max(axis=(1, 2)), masks.max(axis=(1, 2))
    i_auroc, i_ap = package.auroc_and_aupr(scores, labels, nstrips=bins)
    expected = {"i_auroc": i_auroc, "i_ap": i_ap, "p_auroc": p_auroc, "p_ap": p_ap, "aupro": aupro}
    check(evaluate(maps, masks, protocol=f"adeval{bins}"), expected)


def test_diad(case):
    maps, masks = case
    expected = exact_images(pooled(maps, [8] * 8), masks) | exact_pixels(masks, maps)
    expected |= {"p_f1max": naive_f1(masks.ravel(), maps.ravel()), "aupro": naive_steps(masks, maps, False)}
    expected |= {key: flipped(expected[key]) for key in ("i_auroc", "p_auroc")}
    check(evaluate(maps, masks, protocol="diad"), expected)


def test_uniad(case):
    maps, masks = case
    images = exact_images(pooled(maps, [16]), masks)
    expected = {"i_auroc": flipped(images["i_auroc"]), "p_auroc": flipped(exact_pixels(masks, maps)["p_auroc"])}
    check(evaluate(maps, masks, protocol="uniad"), expected)


def test_mvtec_is_exact_with_the_maximum(case):
    maps, masks = case
    assert evaluate(maps, masks, protocol="mvtec") == evaluate(maps, masks, protocol="exact+max")


def test_every_protocol_can_be_printed():
    for name, protocol in PROTOCOLS.items():
        text = protocol.describe()
        assert text.startswith(f"{name}: ")
        assert f"score: {protocol.score}" in text
        assert get_protocol(name) is protocol
    assert "pooling: 8 8 8 8 8 8 8 8" in PROTOCOLS["diad"].describe()
    assert get_protocol("ader+pooled8x3").pooling == (8, 8, 8)
    assert get_protocol("diad+method").score == "method"


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: get_protocol("aders"), "did you mean ader"),
        (lambda: get_protocol("ader+median"), "unknown score rule 'median'"),
        (lambda: Protocol("mine", pro_limit=0), "pro_limit"),
        (lambda: Protocol("mine", connectivity=6), "connectivity"),
        (lambda: Protocol("mine", score="pooled"), "kernel sizes"),
        (lambda: Protocol("mine", metrics=("p_auc",)), "did you mean p_auroc"),
        (lambda: evaluate(np.ones((2, 30, 30)), np.ones((2, 30, 30)), protocol="diad"), "at least 57x57"),
    ],
)
def test_a_wrong_protocol_is_said_in_one_line(make, text):
    with pytest.raises(UserError, match=text):
        make()


def test_constant_maps_get_no_number_from_a_grid():
    masks = np.zeros((4, 8, 8), bool)
    masks[0, 2:4, 2:4] = True
    found = evaluate(np.ones((4, 8, 8)), masks, protocol="ader")
    assert all(np.isnan(found[key]) for key in ("p_auroc", "p_ap", "p_f1max", "p_ioumax", "aupro"))
    assert "constant maps" in found.reasons["aupro"]
