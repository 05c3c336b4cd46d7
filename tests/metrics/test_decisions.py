"""Thresholds and the classes as one set, against sklearn on the concatenated scores."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import (
    average_precision_score,
    f1_score,
    jaccard_score,
    precision_score,
    recall_score,
    roc_auc_score,
)

from diadbench.benchmark.metrics import Evaluator
from diadbench.benchmark.metrics.decisions.histogram import Counts, StepHistogram, end_of, moved_up, steps_of
from diadbench.benchmark.metrics.names import ORACLE

CLASSES = ("bolt", "nut", "gear")


def seeded(seed=0, images=10):
    """Maps, masks of three classes whose scores lie apart, and normal maps of each."""
    rng = np.random.default_rng(seed)
    maps, masks, normal = [], [], []
    for place in range(3):
        mask = np.zeros((images, 24, 24), bool)
        mask[::2, 4:12, 5:11] = True
        values = rng.gamma(2, 1, mask.shape) + 2.5 * place + 6 * mask
        maps.append(values.astype(np.float32))
        masks.append(mask)
        normal.append((rng.gamma(2, 1, (6, 24, 24)) + 2.5 * place).astype(np.float32))
    return maps, masks, normal


def evaluated(maps, masks, normal, protocol="exact+max+seg_f1+class_f1+p_iou@q0.99"):
    evaluator = Evaluator(CLASSES, protocol, decisions=True, grouped=True)
    for one, values in enumerate(normal):
        evaluator.calibrate(np.full(len(values), one), values, None)
    for one, (values, mask) in enumerate(zip(maps, masks)):
        for start in range(0, len(values), 4):
            part = slice(start, start + 4)
            evaluator.update(np.full(len(values[part]), one), values[part], mask[part], None, mask[part].any((1, 2)))
    return evaluator.compute()


def row(evaluation, **wanted):
    table = evaluation.decisions
    for key, value in wanted.items():
        table = table[table[key] == value]
    assert len(table) == 1
    return table.iloc[0]


@pytest.mark.parametrize("rule", ["q0.95", "q0.99", "3sigma", ORACLE])
@pytest.mark.parametrize("level", ["image", "pixel"])
def test_each_figure_is_what_sklearn_gives_at_the_threshold(level, rule):
    maps, masks, normal = seeded()
    evaluation = evaluated(maps, masks, normal)
    scores = [one.max((1, 2)) if level == "image" else one.ravel() for one in maps]
    labels = [one.any((1, 2)) if level == "image" else one.ravel() for one in masks]
    for place, name in enumerate(CLASSES):
        found = row(evaluation, level=level, scope="own", rule=rule, **{"class": name})
        called = scores[place] > found["threshold"]
        _check(found, labels[place], called)
    found = row(evaluation, level=level, scope="one", rule=rule, kind="pooled")
    _check(found, np.concatenate(labels), np.concatenate(scores) > found["threshold"])


def _check(found, labels, called):
    assert found["f1"] == pytest.approx(f1_score(labels, called), abs=1e-12)
    assert found["precision"] == pytest.approx(
        precision_score(labels, called, zero_division=np.nan), abs=1e-12, nan_ok=True
    )
    assert found["recall"] == pytest.approx(recall_score(labels, called), abs=1e-12)
    assert found["fpr"] == pytest.approx(called[~labels].mean(), abs=1e-12)
    assert found["iou"] == pytest.approx(jaccard_score(labels, called), abs=1e-12)


def test_thresholds_follow_from_the_normal_images():
    maps, masks, normal = seeded()
    evaluation = evaluated(maps, masks, normal)
    for place, name in enumerate(CLASSES):
        scores = normal[place].max((1, 2)).astype(float)
        own = {"level": "image", "scope": "own", "class": name}
        assert row(evaluation, rule="q0.95", **own)["threshold"] == pytest.approx(np.quantile(scores, 0.95))
        assert row(evaluation, rule="3sigma", **own)["threshold"] == pytest.approx(scores.mean() + 3 * scores.std())
        own["level"] = "pixel"
        pixels = normal[place].astype(float).ravel()
        for rule, exact in (
            ("q0.99", np.quantile(pixels, 0.99, method="higher")),
            ("3sigma", pixels.mean() + 3 * pixels.std()),
        ):
            assert row(evaluation, rule=rule, **own)["threshold"] == pytest.approx(exact, rel=1e-4)
    one = row(evaluation, level="image", scope="one", rule="q0.99", kind="pooled")
    everything = np.concatenate([each.max((1, 2)) for each in normal]).astype(float)
    assert one["threshold"] == pytest.approx(np.quantile(everything, 0.99))


def test_no_threshold_but_the_oracle_sees_a_test_label():
    maps, masks, normal = seeded()
    swapped = [np.roll(mask, 1, axis=0) for mask in masks]
    before, after = (evaluated(maps, each, normal).decisions for each in (masks, swapped))
    rules = before["rule"] != ORACLE
    assert before[rules]["threshold"].equals(after[rules]["threshold"])
    assert not before[rules]["f1"].equals(after[rules]["f1"])
    assert not before[~rules]["threshold"].equals(after[~rules]["threshold"])


def test_the_oracle_is_the_largest_f1_on_the_grid():
    maps, masks, normal = seeded()
    evaluation = evaluated(maps, masks, normal)
    for place, name in enumerate(CLASSES):
        found = row(evaluation, level="pixel", scope="own", rule=ORACLE, **{"class": name})["f1"]
        table = evaluation.table
        exact = table[(table["class"] == name) & (table["metric"] == "p_f1max")]["value"].iloc[0]
        assert exact - 1e-3 < found <= exact + 1e-12
        assert place >= 0


def test_all_classes_as_one_set_are_what_sklearn_gives():
    maps, masks, normal = seeded()
    evaluation = evaluated(maps, masks, normal)
    pooled = evaluation.pooled.set_index("metric")
    images = np.concatenate([one.any((1, 2)) for one in masks]), np.concatenate([one.max((1, 2)) for one in maps])
    pixels = np.concatenate([one.ravel() for one in masks]), np.concatenate([one.ravel() for one in maps])
    for letter, items in (("i", images), ("p", pixels)):
        for name, measure in (("auroc", roc_auc_score), ("ap", average_precision_score)):
            found = pooled.loc[f"{letter}_{name}"]
            assert abs(found["pooled"] - measure(*items)) <= found["error"] + 1e-12
            assert found["error"] <= (0 if letter == "i" else 2e-3)
    mean = evaluation.mean().set_index("metric")["value"]
    assert pooled.loc["i_auroc", "mean"] == pytest.approx(mean["i_auroc"])
    assert pooled.loc["i_auroc", "difference"] < -0.02  # the classes' scores lie apart


def test_metrics_at_a_chosen_threshold_agree_with_the_table():
    evaluation = evaluated(*seeded())
    table = evaluation.table.set_index(["class", "metric"])["value"]
    for name in CLASSES:
        own = {"scope": "own", "class": name}
        assert table[name, "seg_f1"] == row(evaluation, level="pixel", rule="3sigma", **own)["f1"]
        assert table[name, "class_f1"] == row(evaluation, level="image", rule="3sigma", **own)["f1"]
        assert table[name, "p_iou@q0.99"] == row(evaluation, level="pixel", rule="q0.99", **own)["iou"]


def test_without_normal_images_there_is_a_reason_and_the_oracle():
    maps, masks, _ = seeded()
    evaluation = evaluated(maps, masks, [])
    found = row(evaluation, level="image", scope="own", rule="q0.99", **{"class": "nut"})
    assert np.isnan(found["f1"])
    assert "no normal training or validation image" in found["reason"]
    assert row(evaluation, level="image", scope="own", rule=ORACLE, **{"class": "nut"})["f1"] > 0.5
    table = evaluation.table
    assert "no normal training" in table[table["metric"] == "seg_f1"]["reason"].iloc[0]


def test_steps_keep_the_order_of_floats():
    values = np.sort(np.concatenate([np.random.default_rng(0).standard_normal(400) * 10.0**p for p in (-30, 0, 30)]))
    steps = steps_of(values.astype(np.float32))
    assert (np.diff(steps) >= 0).all()
    for value, step in zip(values[::50], steps[::50]):
        end = moved_up(value)
        assert np.float32(value) <= end
        assert (steps_of(np.array([end, np.nextafter(np.float32(end), np.float32(np.inf))])) == [step, step + 1]).all()
        assert end == end_of(int(step))


def test_counts_are_those_of_the_values():
    values = np.random.default_rng(1).standard_normal(3000).astype(np.float32)
    found = StepHistogram()
    for part in np.split(values, 3):
        found.add(part)
    counts: Counts = found.counts
    assert counts.total == 3000
    for threshold in (-1.0, 0.0, 0.7):
        end = moved_up(threshold)
        assert counts.above(end) == int((values > end).sum())


def test_a_class_without_an_anomalous_image_is_said_and_withholds_the_mean():
    maps, masks, normal = seeded()
    masks[1] = np.zeros_like(masks[1])
    evaluation = evaluated(maps, masks, normal)
    found = row(evaluation, level="image", scope="own", rule="q0.99", **{"class": "nut"})
    assert (found["reason"], np.isnan(found["f1"])) == ("no anomalous test item", True)
    assert found["fpr"] == pytest.approx((maps[1].max((1, 2)) > found["threshold"]).mean())
    assert np.isnan(row(evaluation, level="image", scope="own", rule="q0.99", kind="mean")["f1"])
