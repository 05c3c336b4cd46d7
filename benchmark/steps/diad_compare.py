"""Compare faster ways of inference of a trained DiAD by their effect on its maps."""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from diadbench.benchmark.cells.scoring.evaluating import evaluate_batch, make_evaluator
from diadbench.benchmark.metrics import get_protocol
from diadbench.benchmark.steps.diad_steps import Made, Steps
from diadbench.common.files import write_with
from diadbench.datasets.base import Dataset
from diadbench.datasets.decoding.data import TestData, TrainData
from diadbench.methods.base import RunContext

#: The plain way of inference, with which the others are compared.
PLAIN: dict[str, Any] = {"channels_last": False, "inference_precision": "float32", "compile": False}
WAYS: dict[str, dict[str, Any]] = {
    "plain float32": {},
    "channels-last": {"channels_last": True},
    "bfloat16": {"inference_precision": "bfloat16"},
    "torch.compile": {"compile": True},
}


def compare_inference(
    steps: Steps, dataset: str, root: str | None, checkpoint: str | None, batch_size: int, *, compiled: bool
) -> Made:
    """Predict the test images in each way, and write the table ``OUT/compare.csv``."""
    source = steps.source(checkpoint)
    data, train, test = steps.data(dataset, root)
    run = steps.run(train.class_names)
    given = steps.options
    rows: list[dict[str, Any]] = []
    plain = torch.zeros(0)
    for name, changes in WAYS.items():
        if "compile" in changes and not compiled:
            continue
        steps.options = {**given, **PLAIN, **changes}
        maps, row = _predicted(steps, source, data, train, test, run, batch_size)
        plain = maps if not rows else plain
        off = (maps - plain).abs() / plain.abs().max()
        rows.append({"way": name, "largest": float(off.max()), "mean": float(off.mean()), **row})
    steps.options = given
    table = pd.DataFrame(rows)
    write_with(steps.out / "compare.csv", lambda path: table.to_csv(path, index=False))
    return Made("results", steps.out / "compare.csv", list(dict.fromkeys(run.notes)), table)


def _predicted(
    steps: Steps,
    source: Path,
    dataset: Dataset,
    train: TrainData,
    test: TestData,
    run: RunContext,
    batch_size: int,
) -> tuple[Tensor, dict[str, float]]:
    """Return all maps, and metrics and seconds per image. The first batch is predicted twice, to warm up."""
    method = steps.trained(source, train, run)
    evaluator = make_evaluator(dataset, get_protocol("exact"), steps.out / "spill")
    maps: list[Tensor] = []
    seconds = 0.0
    for batch in test.batches(batch_size):
        images = batch.image.to(steps.device)
        if not maps:
            method.predict(images)
        start = time.perf_counter()
        found = method.predict(images)
        maps.append(found.anomaly_map.cpu())
        seconds += time.perf_counter() - start
        evaluate_batch(evaluator, dataset, batch, maps[-1], found.score.cpu())
    computed = evaluator.compute()
    shutil.rmtree(steps.out / "spill", ignore_errors=True)
    mean = computed.mean().set_index("metric")["value"]
    aurocs = {name: float(mean[name]) for name in ("i_auroc", "p_auroc") if name in mean}
    return torch.cat(maps), {**aurocs, "seconds_an_image": seconds / max(len(test), 1)}
