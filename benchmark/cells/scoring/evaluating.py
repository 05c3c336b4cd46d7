"""Pass test images to the metrics. A cell, a re-evaluation and DiAD's steps all use these functions."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from diadbench.benchmark.metrics import Evaluator

if TYPE_CHECKING:
    from diadbench.benchmark.metrics.protocols import Protocol
    from diadbench.datasets.base import Dataset
    from diadbench.datasets.decoding.data import Batch


#: Bytes of maps that an evaluator keeps in memory.
MEMORY = 256 << 20


def make_evaluator(
    dataset: Dataset, protocol: Protocol, spill: Path, *, thresholds: bool = True, memory: int = MEMORY
) -> Evaluator:
    """Return the evaluator of a dataset's test images, class after class; large maps are written to ``spill``.

    ``thresholds`` says whether the tables of thresholds and of all classes as one set are made; ``memory`` bounds the
    bytes of maps in memory, and with them the pixels that are ranked at a time.
    """
    return Evaluator(
        dataset.classes,
        protocol,
        has_masks=dataset.info.has_masks,
        samples=has_views(dataset),
        grouped=True,
        spill_dir=spill,
        decisions=thresholds,
        memory=memory,
    )


def evaluate_batch(
    evaluator: Evaluator,
    dataset: Dataset,
    batch: Batch,
    maps: Tensor,
    scores: Tensor,
    pooled: Tensor | None = None,
) -> None:
    """Feed a batch's maps ``(B,H,W)``, at the evaluation size, and image scores ``(B,)`` to the evaluator.

    ``pooled`` are the image scores of the evaluator's protocol, where a GPU has computed them.
    """
    rows = dataset.samples.iloc[batch.index.tolist()]
    position = {name: place for place, name in enumerate(dataset.classes)}
    evaluator.update(
        class_id=torch.tensor([position[name] for name in rows["class"]]),
        anomaly_map=maps,
        mask=batch.mask,
        score=scores,
        label=batch.label,
        sample_id=list(rows["sample_id"]),
        index=batch.index,
        pooled=pooled,
    )


def has_views(dataset: Dataset) -> bool:
    """Whether physical samples have several images (Real-IAD), so that sample-level metrics are defined."""
    return bool((dataset.samples["view"] != "").any())
