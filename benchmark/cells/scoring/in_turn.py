"""Score the same test images with several fitted methods, batch by batch in turn, and time each."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from diadbench.benchmark.cells.scoring.answering import brought
from diadbench.benchmark.cells.scoring.evaluating import evaluate_batch, make_evaluator
from diadbench.benchmark.cells.scoring.evaluation_size import Size
from diadbench.benchmark.metrics import Evaluation
from diadbench.methods.base import Prediction, no_progress

if TYPE_CHECKING:
    from diadbench.benchmark.metrics.protocols import Protocol
    from diadbench.datasets.base import Dataset
    from diadbench.datasets.decoding.data import TestData
    from diadbench.methods.base import Method


@dataclass(frozen=True)
class Turn:
    """One method's result.

    Attributes:
        evaluation: Its metrics.
        seconds: The method's own time for one image: CPU seconds of all threads on a CPU, wall seconds on a GPU.
    """

    evaluation: Evaluation
    seconds: float


def score_in_turn(
    methods: Mapping[str, Method],
    dataset: Dataset,
    test: TestData,
    protocol: Protocol,
    spill: Path,
    *,
    device: torch.device,
    batch_size: int,
    size: Size | None = None,
    watch: Callable[[str, Tensor], None] = lambda name, maps: None,
    progress: Callable[[int, int, str], None] = no_progress,
) -> dict[str, Turn]:
    """Score test images with each method; each batch is scored by all methods before the next one.

    A change in the machine's load thus falls on all methods. A different method begins at each batch. The first batch
    is predicted twice by each method and the first time doesn't count.

    Args:
        methods: Fitted methods by name. All of them are in memory at once.
        dataset: The dataset.
        test: Its test images.
        protocol: How the metrics are computed.
        spill: Directory for maps that don't fit in memory; each method has its own below it.
        device: Where the methods are.
        batch_size: Images a batch.
        size: ``(H, W)`` of the evaluation; by default that of the images.
        watch: Called with each name and its maps ``float32 (B,H,W)``, at the evaluation size.
        progress: Called as ``progress(done, total, what)``.
    """
    names = list(methods)
    evaluators = {name: make_evaluator(dataset, protocol, spill / str(place)) for place, name in enumerate(names)}
    seconds = dict.fromkeys(names, 0.0)
    done = 0
    for number, batch in enumerate(test.batches(batch_size)):
        images = batch.image.to(device)
        first = number % len(names)
        for name in [*names[first:], *names[:first]]:
            if number == 0:
                timed(methods[name], images)
            found, spent = timed(methods[name], images)
            seconds[name] += spent
            answer = brought(found, batch.image, size, protocol)
            watch(name, answer.maps)
            evaluate_batch(evaluators[name], dataset, batch, answer.maps, answer.scores, answer.pooled)
        done += len(images)
        progress(done, len(test), "predict")
    return {name: Turn(each.compute(), seconds[name] / max(done, 1)) for name, each in evaluators.items()}


def timed(method: Method, images: Tensor) -> tuple[Prediction, float]:
    """Return a prediction and the seconds that it took: of all threads' CPU time, or of the wall on a GPU."""
    images = images.clone()  # a method that changes its input must not change that of the next one
    with torch.inference_mode():
        if images.device.type == "cpu":
            start = time.process_time()
            found = method.predict(images)
            return found, time.process_time() - start
        torch.cuda.synchronize(images.device)
        start = time.perf_counter()
        found = method.predict(images)
        torch.cuda.synchronize(images.device)
        return found, time.perf_counter() - start
