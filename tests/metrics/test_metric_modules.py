"""The torchmetrics classes: the engine's numbers, one process or two."""

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torchmetrics import MetricCollection

from diadbench.benchmark.metrics import evaluate, modules

SHARE = Path(__file__).parents[1] / "helpers" / "gloo_share.py"
CLASSES = {
    "p_auroc": "PixelAUROC",
    "p_ap": "PixelAveragePrecision",
    "p_f1max": "PixelF1Max",
    "p_ioumax": "PixelIoUMax",
    "aupro": "AUPRO",
}
IMAGE = {"i_auroc": "ImageAUROC", "i_ap": "ImageAveragePrecision", "i_f1max": "ImageF1Max"}


def data(n=7):
    rng = np.random.default_rng(3)
    maps = torch.from_numpy(np.round(rng.standard_normal((n, 12, 10)) * 4).astype(np.float32) + 9)
    masks = torch.from_numpy(rng.random((n, 12, 10)) < 0.2)
    masks[::2] = False
    return maps, masks


def collections():
    pixel = MetricCollection({key: getattr(modules, name)() for key, name in CLASSES.items()})
    image = MetricCollection({key: getattr(modules, name)() for key, name in IMAGE.items()})
    return pixel, image


def feed(pixel, image, maps, masks):
    for start in range(0, len(maps), 2):
        part = slice(start, start + 2)
        pixel.update(maps[part], masks[part])
        image.update(maps[part].amax((1, 2)), masks[part].flatten(1).any(1))


def test_same_numbers_as_the_plain_call():
    maps, masks = data()
    pixel, image = collections()
    feed(pixel, image, maps, masks)
    found = {key: float(value) for key, value in {**pixel.compute(), **image.compute()}.items()}
    assert found == pytest.approx(evaluate(maps, masks), abs=1e-13)


@pytest.mark.filterwarnings("ignore:The ``compute`` method")
def test_reset_pickle_and_facts():
    maps, masks = data()
    for name in {**CLASSES, **IMAGE}.values():
        metric = getattr(modules, name)()
        assert metric.higher_is_better
        assert np.isnan(float(metric.compute()))
        metric.reset()
        feed_one = (maps, masks) if name in CLASSES.values() else (maps.amax((1, 2)), masks.flatten(1).any(1))
        metric.update(*feed_one)
        value = float(metric.compute())
        assert float(pickle.loads(pickle.dumps(metric)).compute()) == value
        metric.reset()
        assert metric.scores == []
        metric.update(*feed_one)
        assert float(metric.compute()) == value


def test_limit_and_connectivity_of_aupro():
    maps, masks = data()
    values = set()
    for options in ({}, {"limit": 0.05}, {"connectivity": 4}):
        metric = modules.AUPRO(**options)
        metric.update(maps, masks)
        values.add(round(float(metric.compute()), 9))
    assert len(values) == 3


def test_two_gloo_processes_give_the_numbers_of_one(tmp_path):
    maps, masks = data()
    torch.save({"maps": maps, "masks": masks, "classes": {**CLASSES, **IMAGE}}, tmp_path / "data.pt")
    paths = [str(tmp_path / name) for name in ("rendezvous", "data.pt")]
    commands = [[sys.executable, str(SHARE), str(rank), *paths, str(tmp_path / f"found.{rank}")] for rank in (0, 1)]
    processes = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for command in commands]
    for process in processes:
        _, errors = process.communicate(timeout=300)
        assert process.returncode == 0, errors
    expected = evaluate(maps, masks)
    for rank in (0, 1):
        assert torch.load(tmp_path / f"found.{rank}", weights_only=True) == pytest.approx(expected, abs=1e-13)
