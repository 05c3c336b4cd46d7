"""The protocols of Dinomaly and INP-Former against a naive implementation of what their code computes."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import ndimage
from sklearn.metrics import auc, average_precision_score, precision_recall_curve, roc_auc_score
from torch.nn import functional

from diadbench.benchmark.metrics import Protocol, evaluate, get_protocol
from diadbench.benchmark.metrics.comparing import compared_maps, compared_masks
from diadbench.common.errors import UserError
from diadbench.datasets.decoding.masks import resize_mask


def seeded(seed, side=128, images=8):
    rng = np.random.default_rng(seed)
    masks = np.zeros((images, side, side), bool)
    for i in range(0, images, 2):
        for _ in range(int(rng.integers(1, 3))):
            y, x, size = rng.integers(0, side - 30), rng.integers(0, side - 30), rng.integers(5, 28)
            masks[i, y : y + size, x : x + size] = True
    noise = ndimage.gaussian_filter(rng.standard_normal(masks.shape), (0, 3, 3)) * 5
    return (noise + ndimage.gaussian_filter(masks * 1.0, (0, 2, 2))).astype(np.float32), masks


def naive_kernel():
    place = torch.arange(5).float()
    grid = torch.stack(torch.meshgrid(place, place, indexing="ij"), dim=-1)
    kernel = (1 / (2 * math.pi * 16)) * torch.exp(-torch.sum((grid - 2.0) ** 2, dim=-1) / 32)
    return (kernel / kernel.sum()).view(1, 1, 5, 5)


def naive_f1(labels, scores):
    precision, recall, _ = precision_recall_curve(labels, scores)
    return (2 * precision * recall / (precision + recall + 1e-7))[:-1].max()


def naive_pro(masks, maps):
    low, high = maps.min(), maps.max()
    labelled = [ndimage.label(mask, np.ones((3, 3))) for mask in masks]
    points = []
    for threshold in np.arange(low, high, (high - low) / 200):
        called = maps > threshold
        overlaps = [
            one[labels == region].mean()
            for one, (labels, count) in zip(called, labelled)
            for region in range(1, count + 1)
        ]
        points.append((called[~masks].mean(), np.mean(overlaps)))
    fpr, overlap = np.array([point for point in points if point[0] < 0.3]).T
    return auc(fpr / fpr.max(), overlap)


def naive(maps, masks):
    """Resize to 256, blur, highest 655 pixels, as the facts describe Dinomaly's evaluation."""
    values = functional.interpolate(torch.tensor(maps)[:, None], 256, mode="bilinear", align_corners=False)
    values = functional.conv2d(values, naive_kernel(), padding=2)[:, 0]
    truth = functional.interpolate(torch.tensor(masks)[:, None].float(), 256, mode="nearest")[:, 0].bool().numpy()
    scores = torch.sort(values.flatten(1).double(), dim=1, descending=True)[0][:, :655].mean(dim=1).numpy()
    values, labels = values.numpy(), masks.any(axis=(1, 2))
    pixels = truth.ravel(), values.ravel()
    return {
        "i_auroc": roc_auc_score(labels, scores),
        "i_ap": average_precision_score(labels, scores),
        "i_f1max": naive_f1(labels, scores),
        "p_auroc": roc_auc_score(*pixels),
        "p_ap": average_precision_score(*pixels),
        "p_f1max": naive_f1(*pixels),
        "aupro": naive_pro(truth, values),
    }, (values, truth, scores)


@pytest.mark.parametrize(("seed", "side"), [(0, 128), (1, 256)])
def test_dinomaly_is_what_its_code_computes(seed, side):
    maps, masks = seeded(seed, side)
    expected, _ = naive(maps, masks)
    found = evaluate(maps, masks, protocol="dinomaly")
    for key, value in expected.items():
        assert found[key] == pytest.approx(value, abs=1e-9), key
    assert "does not compute it" in found.reasons["p_ioumax"]


def test_inp_former_is_dinomaly_with_200_bins(monkeypatch):
    package = pytest.importorskip("adeval")
    monkeypatch.setattr(np, "trapz", np.trapezoid, raising=False)  # gone from numpy 2.4
    maps, masks = seeded(2)
    expected, (values, truth, _) = naive(maps, masks)
    found = evaluate(maps, masks, protocol="inp-former")
    p_auroc, p_ap, aupro = package.auroc_aupr_aupro(values, truth.astype(np.uint8), nstrips=200)
    assert found["i_auroc"] == pytest.approx(expected["i_auroc"], abs=1e-12)
    assert [found[key] for key in ("p_auroc", "p_ap", "aupro")] == pytest.approx([p_auroc, p_ap, aupro], abs=1e-9)
    for key in ("i_f1max", "p_f1max"):
        assert found[key] == pytest.approx(expected[key], abs=1e-9), key


@pytest.mark.parametrize(("name", "threshold"), [("dinomaly", 0.0), ("inp-former", 0.5)])
def test_a_masks_way_from_its_file_is_that_of_their_code(name, threshold):
    """Resized by PIL to 448, the middle 392 cut out, to 256 by nearest neighbour, above 0 or one half."""
    from PIL import Image
    from torchvision.transforms.v2.functional import center_crop, pil_to_tensor, resize

    rng = np.random.default_rng(6)
    native = np.zeros((700, 900), np.uint8)
    for _ in range(40):
        y, x, height, width = rng.integers(0, 690), rng.integers(0, 890), *rng.integers(1, 60, 2)
        native[y : y + height, x : x + width] = 255
    grey = pil_to_tensor(center_crop(resize(Image.fromarray(native), [448, 448]), [392, 392])).float() / 255
    expected = functional.interpolate(grey[None], 256, mode="nearest")[0, 0].numpy() > threshold
    protocol = get_protocol(f"{name}+crop0.875")
    found = compared_masks(resize_mask(native, (448, 448), protocol.mask_rule)[None], protocol)[0]
    assert np.array_equal(found, expected)
    assert 0.05 < expected.mean() < 0.95


def test_no_image_depends_on_its_batch():
    maps, _ = seeded(3, 64, 6)
    protocol = get_protocol("dinomaly")
    single = np.concatenate([compared_maps(maps[i : i + 1], protocol) for i in range(6)])
    assert np.array_equal(single, compared_maps(maps, protocol))


def test_a_centre_is_compared_alone():
    maps, masks = seeded(4, 128)
    found = evaluate(maps, masks, labels=masks.any(axis=(1, 2)), protocol="exact+max+crop0.875")
    inner = slice(8, 120)
    labels = masks.any(axis=(1, 2))
    cut = evaluate(maps[:, inner, inner], masks[:, inner, inner], labels=labels, protocol="exact+max")
    assert dict(found) == dict(cut)


def test_the_mean_of_the_highest_share_is_a_score_of_its_own():
    maps, masks = seeded(5, 64)
    found = evaluate(maps, masks, protocol="exact+top0.05")
    scores = np.sort(maps.reshape(len(maps), -1).astype(float), axis=1)[:, -204:].mean(axis=1)
    assert found["i_auroc"] == roc_auc_score(masks.any(axis=(1, 2)), scores)
    assert get_protocol("diad+top0.05").pooling == ()


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: Protocol("mine", blur=(4, 1.0)), "odd kernel"),
        (lambda: Protocol("mine", top=0.0), "above 0"),
        (lambda: Protocol("mine", compare_size=0), "compare_size"),
        (lambda: Protocol("mine", further=("aupro",)), "aupro@0.05"),
        (lambda: get_protocol("exact+aupro@1.5"), "at most 1.*found '1.5'"),
        (lambda: get_protocol("exact+aupimo@1e-4:1e-5"), "smaller first"),
        (lambda: get_protocol("exact+seg_f1@q2"), "quantile"),
        (lambda: get_protocol("exact+top"), "top0.01"),
    ],
)
def test_a_wrong_rule_is_said_in_one_line(make, text):
    with pytest.raises(UserError, match=text):
        make()
