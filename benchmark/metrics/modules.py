"""torchmetrics classes of the exact metrics: ``update``, ``compute``, ``reset``, gathered over processes.

Unlike torchmetrics' own AU-ROC and AP, nothing is sent through a sigmoid, whatever the range of a batch.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torchmetrics import Metric

from diadbench.benchmark.metrics.exact import ranking as exact
from diadbench.benchmark.metrics.exact.inputs import as_binary, as_column, as_floats, as_maps, as_masks
from diadbench.benchmark.metrics.exact.pixels import PixelClass
from diadbench.benchmark.metrics.exact.ranking import Ranking
from diadbench.benchmark.metrics.exact.scores import score_metrics
from diadbench.benchmark.metrics.exact.spill import Budget
from diadbench.benchmark.metrics.protocols import Protocol

__all__ = [
    "AUPRO",
    "ImageAUROC",
    "ImageAveragePrecision",
    "ImageF1Max",
    "PixelAUROC",
    "PixelAveragePrecision",
    "PixelF1Max",
    "PixelIoUMax",
]

_EXACT = Protocol("exact")


class _Ranked(Metric):
    """Base state: the scores and labels given so far, on the CPU. ``compute`` sees those of all processes."""

    is_differentiable = False
    higher_is_better = True
    full_state_update = False
    plot_lower_bound = 0.0
    plot_upper_bound = 1.0

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(compute_on_cpu=True, **kwargs)
        # A single list would not tell the two apart; "cat" gathers lists of unequal length from all processes.
        self.add_state("scores", default=[], dist_reduce_fx="cat")
        self.add_state("labels", default=[], dist_reduce_fx="cat")

    scores: list[Tensor]
    labels: list[Tensor]

    def _value(self, ranking: Ranking) -> float:
        raise NotImplementedError

    def _fed(self) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
        parts = []
        for state in (self.scores, self.labels):
            tensors = [state] if isinstance(state, Tensor) else state
            parts.append(torch.cat(tensors).cpu().numpy() if tensors else np.empty(0))
        return parts[0], parts[1]


class _Image(_Ranked):
    """Metric of image scores, with ``update(scores (B,), labels (B,) 0/1)``. NaN if undefined."""

    def update(self, scores: Tensor, labels: Tensor) -> None:
        """Add a batch of scores (any range, larger is more anomalous) with 0/1 labels."""
        values = as_column(scores, len(scores), "scores").astype(np.float64)
        marks = as_binary(as_column(labels, len(values), "labels"), "labels", "1 is anomalous, 0 is normal")
        self.scores.append(torch.from_numpy(values).to(scores.device))
        self.labels.append(torch.from_numpy(marks.copy()).to(scores.device))

    def compute(self) -> Tensor:
        """Return the metric as a float64 scalar; NaN where it is undefined."""
        scores, labels = self._fed()
        _, ranking, _ = score_metrics(scores, labels.astype(bool), _EXACT)
        return torch.tensor(self._value(ranking) if ranking else float("nan"), dtype=torch.float64)


class _Pixel(_Ranked):
    """Metric of anomaly maps, with ``update(maps (B,H,W), masks (B,H,W) bool or 0/1)``. NaN if undefined.

    All maps have the same size and dtype and stay in memory until ``reset``. For maps that don't fit use
    :class:`diadbench.benchmark.metrics.Evaluator`, which spills to disk.
    """

    protocol = _EXACT

    def update(self, maps: Tensor, masks: Tensor) -> None:
        """Add a batch of maps (any range, larger is more anomalous) with 0/1 masks of the same size."""
        values = as_floats(as_maps(maps))
        marks = as_masks(masks, values.shape)
        self.scores.append(torch.from_numpy(values).to(maps.device))
        self.labels.append(torch.from_numpy(marks.copy()).to(maps.device))

    def compute(self) -> Tensor:
        """Return the metric as a float64 scalar; NaN where it is undefined."""
        scores, labels = self._fed()
        pixels = PixelClass(self.protocol, Budget())
        if len(scores):
            pixels.add(scores, labels.astype(bool), borrow=True)
        ranking = pixels.compute().ranking
        return torch.tensor(self._value(ranking) if ranking else float("nan"), dtype=torch.float64)


def _valued(base: type[_Ranked], name: str, doc: str, value: Callable[[Ranking], float]) -> Any:
    """Return a metric class for a pure function; the class can be pickled by its name."""
    body = {"__doc__": doc, "__module__": __name__, "_value": lambda self, ranking: value(ranking)}
    return type(name, (base,), body)


ImageAUROC = _valued(_Image, "ImageAUROC", "Image-level AU-ROC.", exact.auroc)
ImageAveragePrecision = _valued(_Image, "ImageAveragePrecision", "Image-level AP.", exact.average_precision)
ImageF1Max = _valued(_Image, "ImageF1Max", "Image-level F1-max.", lambda ranking: exact.f1_max(ranking)[0])
PixelAUROC = _valued(_Pixel, "PixelAUROC", "Pixel-level AU-ROC.", exact.auroc)
PixelAveragePrecision = _valued(_Pixel, "PixelAveragePrecision", "Pixel-level AP.", exact.average_precision)
PixelF1Max = _valued(_Pixel, "PixelF1Max", "Pixel-level F1-max.", lambda ranking: exact.f1_max(ranking)[0])
PixelIoUMax = _valued(_Pixel, "PixelIoUMax", "Pixel-level IoU-max.", exact.iou_max)


class AUPRO(_Pixel):
    """Area under the per-region-overlap curve up to a false positive rate, divided by it.

    Args:
        limit: Largest false positive rate, above 0 and at most 1.
        connectivity: Neighbourhood of regions, 8 or 4.
    """

    def __init__(self, limit: float = 0.3, connectivity: int = 8, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.protocol = Protocol("exact", pro_limit=limit, connectivity=connectivity)  # type: ignore[arg-type]

    def _value(self, ranking: Ranking) -> float:
        return exact.aupro(ranking, self.protocol.pro_limit)
