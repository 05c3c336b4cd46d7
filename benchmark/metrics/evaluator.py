"""Compute all metrics of a test set from batches, in any order."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import repeat
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from diadbench.benchmark.metrics.class_images import ClassImages, sample_values
from diadbench.benchmark.metrics.class_result import ClassResult
from diadbench.benchmark.metrics.comparing import compared_maps, compared_masks
from diadbench.benchmark.metrics.curves import curves
from diadbench.benchmark.metrics.decisions.deciding import Decider
from diadbench.benchmark.metrics.decisions.normal_scores import NormalSummary
from diadbench.benchmark.metrics.evaluation import Evaluation, mean_of_seven
from diadbench.benchmark.metrics.exact.batch_checks import checked_ids, checked_labels, checked_names, checked_scores
from diadbench.benchmark.metrics.exact.inputs import as_array, as_column, as_floats, as_maps, as_masks
from diadbench.benchmark.metrics.exact.pixels import PixelClass, PixelResult, Values
from diadbench.benchmark.metrics.exact.scores import score_metrics, undefined_reason
from diadbench.benchmark.metrics.exact.spill import Budget, blocks
from diadbench.benchmark.metrics.further.by_name import FurtherClass
from diadbench.benchmark.metrics.further.further_names import named
from diadbench.benchmark.metrics.names import SAMPLE, SEVEN, in_order
from diadbench.benchmark.metrics.protocols import Protocol, get_protocol
from diadbench.common.errors import UserError


class Evaluator:
    """Compute all metrics of a test set, class by class, from maps, masks, scores and labels.

    Args:
        classes: Class names; a class id is a position in it.
        protocol: Name of a protocol, or a protocol.
        has_masks: Whether the data has masks. ``False``: pixel metrics are NaN with the reason ``no masks``.
        samples: Whether to add the sample-level metrics (Real-IAD): the score of a sample is the largest of its images'
            scores, and it is anomalous if any of them is.
        spill_dir: Directory of the maps that exceed ``memory``; ``None``: the system's temporary directory.
        memory: Number of bytes of maps that are kept in memory.
        grouped: The batches come grouped by class. A class is then computed and its state freed as soon as the next
            one begins, so memory is bounded by one class; a batch of a class that is over is an error.
        with_curves: Whether to make the curves for plots; without them ``Evaluation.curves`` is empty for each class.
        decisions: Whether to make the tables of thresholds and of the classes as one set; about 15 ns a pixel.

    Raises:
        UserError: Unknown protocol, no class, a class named twice.
    """

    def __init__(
        self,
        classes: Sequence[str],
        protocol: str | Protocol = "exact",
        *,
        has_masks: bool = True,
        samples: bool = False,
        spill_dir: Path | str | None = None,
        memory: int = 256 << 20,
        grouped: bool = False,
        with_curves: bool = True,
        decisions: bool = False,
    ) -> None:
        self.classes = tuple(classes)
        if not self.classes or len(set(self.classes)) != len(self.classes):
            raise UserError(f"evaluator: expected distinct class names, found {list(self.classes)}")
        self.protocol = get_protocol(protocol)
        self.has_masks, self.samples, self.grouped = has_masks, samples, grouped
        self.with_curves, self.decisions = with_curves, decisions
        self._directory, self._memory = Path(spill_dir) if spill_dir is not None else None, memory
        self.reset()

    def reset(self) -> None:
        """Remove all images."""
        self._budget = Budget(self._memory, self._directory)
        self._images: dict[int, ClassImages] = {}
        self._pixels: dict[int, PixelClass] = {}
        self._further: dict[int, FurtherClass] = {}
        self._closed: dict[int, ClassResult] = {}
        self._decider = Decider(self.classes)
        self._count = 0

    @property
    def needs_normal(self) -> bool:
        """Whether thresholds are set, so that :meth:`calibrate` is needed."""
        return self.decisions or any(named(key).family.normal for key in self.protocol.further)

    def calibrate(self, class_id: Any, anomaly_map: Any, score: Any, pooled: Any = None) -> None:
        """Add normal training or validation images, from which thresholds are set; before a class's last test image.

        Args:
            class_id: ``(B,)`` integers: positions in ``classes``.
            anomaly_map: ``(B,H,W)`` maps of the size that test images have; ``None``: the method gives none.
            score: ``(B,)`` the method's own image scores; ``None``: the maximum of the map.
            pooled: As for :meth:`update`.
        """
        ids = checked_ids(class_id, len(self.classes))
        maps = None if anomaly_map is None else compared_maps(as_maps(anomaly_map), self.protocol)
        scores = checked_scores(score, maps, len(ids), self.protocol, pooled)
        for one in dict.fromkeys(ids.tolist()):
            at = ids == one
            self._decider.add_normal(one, None if maps is None else as_floats(maps[at]), scores[at])

    def normal(self, class_id: int) -> NormalSummary:
        """Return the normal images of a class that :meth:`calibrate` collected."""
        return self._decider.normal(class_id)

    def set_normal(self, class_id: int, summary: NormalSummary) -> None:
        """Set the normal images of a class from a value of :meth:`normal`."""
        self._decider.set_normal(class_id, summary)

    def update(
        self,
        class_id: Any,
        anomaly_map: Any,
        mask: Any,
        score: Any,
        label: Any,
        sample_id: Sequence[str] | None = None,
        index: Any = None,
        *,
        borrow: bool = False,
        pooled: Any = None,
    ) -> None:
        """Add a batch of ``B`` images, given as tensors on any device or as arrays.

        Args:
            class_id: ``(B,)`` integers: positions in ``classes``.
            anomaly_map: ``(B,H,W)`` float16 to float64, larger is more anomalous; ``None``: the method gives none.
            mask: ``(B,H,W)`` bool or 0/1, the size of the maps; ``None``: no masks.
            score: ``(B,)`` the method's own image scores; ``None``: the maximum of the map.
            label: ``(B,)`` 0/1; ``None``: "the mask has a pixel".
            sample_id: ``B`` names; needed for sample-level metrics.
            index: ``(B,)`` integers: names of the images in the results; ``None`` counts on.
            borrow: The maps don't change until ``compute``, so they are not copied (memory maps opened with
                mode ``r`` are never copied).
            pooled: ``(B,)`` image scores of the maps under a protocol whose rule is ``pooled``, where they have been
                computed on a GPU (:func:`~diadbench.benchmark.metrics.exact.pooling.pooled_scores`); ``None``: they
                are computed here.

        Raises:
            UserError: Shapes that don't fit, masks or labels that are not 0/1, an unknown class id.
        """
        ids = checked_ids(class_id, len(self.classes))
        maps = None if anomaly_map is None else as_maps(anomaly_map)
        if maps is not None and len(maps) != len(ids):
            raise UserError(f"anomaly maps: expected {len(ids)}, one for each class id, found {len(maps)}")
        masks = None
        if mask is not None and self.has_masks:
            masks = as_masks(mask, maps.shape if maps is not None else (len(ids), *as_array(mask).shape[-2:]))
            masks = compared_masks(masks, self.protocol)
        if maps is not None and self.protocol.changes_maps:
            maps, borrow = compared_maps(maps, self.protocol), True  # new arrays, which nothing else changes
        scores = checked_scores(score, maps, len(ids), self.protocol, pooled)
        labels = checked_labels(label, masks, len(ids), self.protocol)
        names = checked_names(sample_id, len(ids), needed=self.samples)
        if index is None:
            numbers = np.arange(self._count, self._count + len(ids))
        else:
            numbers = as_column(index, len(ids), "index").astype(np.int64)
        self._count += len(ids)
        for one in dict.fromkeys(ids.tolist()):
            self._open(one)
            at: Any = slice(None) if (ids == one).all() else np.flatnonzero(ids == one)
            images = self._images.setdefault(one, ClassImages())
            images.index.append(numbers[at])
            images.score.append(scores[at])
            images.label.append(labels[at])
            images.sample.extend(names[at].tolist())
            if maps is not None and self.has_masks:
                pixels = self._pixels.setdefault(one, PixelClass(self.protocol, self._budget))
                self._add_pixels(one, pixels, maps[at], None if masks is None else masks[at], borrow)

    def _add_pixels(
        self, one: int, pixels: PixelClass, maps: NDArray[Any], masks: NDArray[np.bool_] | None, borrow: bool
    ) -> None:
        pixels.add(maps, masks, borrow=borrow)
        if self.protocol.further:
            self._further.setdefault(one, FurtherClass.of(self.protocol.further)).add(maps, masks)
        if self.decisions:
            for block, part in zip(blocks(maps), blocks(masks) if masks is not None else repeat(None)):
                self._decider.add_test(one, as_floats(block), part)

    def compute(self) -> Evaluation:
        """Compute all metrics of the images added so far. It may be called again after more updates."""
        results = [self._closed.get(one) or self._class_result(one) for one in range(len(self.classes))]
        columns = ["class", "metric", "value", "reason", "n_normal", "n_anomalous"]
        table = pd.DataFrame([row for result in results for row in result.rows], columns=columns)
        images = pd.concat([result.scores for result in results], ignore_index=True)
        more: dict[str, pd.DataFrame] = {}
        if self.decisions:
            tables = self._decider.tables(images, table, [result.pixels for result in results])
            more = dict(zip(("decisions", "pooled"), tables))
        return Evaluation(
            protocol=self.protocol,
            table=table,
            images=images,
            **more,
            curves={name: result.curves for name, result in zip(self.classes, results)},
            thresholds=pd.DataFrame(
                [row for result in results for row in result.thresholds], columns=["class", "level", "threshold"]
            ),
        )

    def close(self, class_id: int) -> ClassResult:
        """Compute a class whose images have all been added, and free its state. Later updates of it are errors."""
        if class_id not in self._closed:
            self._closed[class_id] = self._class_result(class_id)
            self._images.pop(class_id, None)
            self._pixels.pop(class_id, None)
            self._further.pop(class_id, None)
            self._decider.forget(class_id)
        return self._closed[class_id]

    def restore(self, class_id: int, result: ClassResult) -> None:
        """Restore a class from the result of :meth:`close`, in place of its images."""
        self._closed[class_id] = result

    def _open(self, one: int) -> None:
        if one in self._closed:
            raise UserError(
                f"class {self.classes[one]!r} came again after another one; batches must be grouped by class"
            )
        if self.grouped:
            for other in [key for key in self._images if key != one]:
                self.close(other)
            if not self._pixels:
                self._budget = Budget(self._memory, self._directory)

    def _class_result(self, one: int) -> ClassResult:
        name = self.classes[one]
        frame = self._images.get(one, ClassImages()).frame(name)
        scores, labels = frame["score"].to_numpy(), frame["label"].to_numpy().astype(bool)
        values, image_ranking, image_threshold = score_metrics(scores, labels, self.protocol)
        pixels = self._pixels.get(one) or PixelClass(self.protocol, self._budget)
        result = pixels.compute()
        values |= self._without_pixels(len(frame), result.values)
        values |= self._further_values(one, scores, labels, values, pixels, result)
        values["mad"] = mean_of_seven(values, SEVEN)
        counts = dict.fromkeys(values, (int((~labels).sum()), int(labels.sum())))
        if self.samples:
            found, sample_counts = sample_values(frame, self.protocol)
            values |= found
            counts |= dict.fromkeys(SAMPLE, sample_counts)
        return ClassResult(
            rows=[(name, key, *values[key], *counts[key]) for key in in_order(values)],
            scores=frame,
            curves=curves(image_ranking, result.ranking) if self.with_curves else {},
            thresholds=[(name, "image", image_threshold), (name, "pixel", result.threshold)],
            pixels=self._decider.pixels(one),
        )

    def _further_values(
        self,
        one: int,
        scores: NDArray[np.float64],
        labels: NDArray[np.bool_],
        values: Values,
        pixels: PixelClass,
        result: PixelResult,
    ) -> Values:
        """Compute the metrics that the protocol requests by name; their reasons are those of the standard metrics."""
        if not self.protocol.further:
            return {}
        further = self._further.get(one) or FurtherClass.of(self.protocol.further)
        normal = self._decider.normal(one)
        found = further.image_values(scores, labels, undefined_reason(scores, labels, "image"), normal)
        return found | further.pixel_values(pixels, result.ranking, values["p_auroc"][1], normal)

    def _without_pixels(self, n_images: int, values: Values) -> Values:
        """Return the reason why there are no pixel metrics if no map was ever given."""
        if not n_images or values["p_auroc"][1] != "no test image":
            return values
        reason = "no anomaly maps" if self.has_masks else "no masks"
        return {key: (float("nan"), reason) for key in values}
