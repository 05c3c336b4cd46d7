"""From the names of metrics to their values, for one class."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diadbench.benchmark.metrics.decisions.normal_scores import NormalSummary
from diadbench.benchmark.metrics.decisions.outcome import Outcome
from diadbench.benchmark.metrics.decisions.threshold_rules import threshold_rule
from diadbench.benchmark.metrics.exact import ranking as exact
from diadbench.benchmark.metrics.exact.inputs import as_floats
from diadbench.benchmark.metrics.exact.pixels import PixelClass, Values
from diadbench.benchmark.metrics.exact.ranking import Ranking
from diadbench.benchmark.metrics.further.further_names import Named, named
from diadbench.benchmark.metrics.further.pimo import PerImage, aupimo
from diadbench.benchmark.metrics.further.presorted import (
    anomalous_count,
    presorted_bad,
    presorted_bad_pixels,
    presorted_good,
    presorted_good_pixels,
)

_NAN = float("nan")


@dataclass
class FurtherClass:
    """Compute the metrics of one class that a protocol requests by name.

    Attributes:
        wanted: The requested metrics.
        images: Per-image data for AUPIMO, if it is requested.
    """

    wanted: tuple[Named, ...]
    images: PerImage = field(default_factory=PerImage)

    @classmethod
    def of(cls, keys: Iterable[str]) -> FurtherClass:
        """Return the object for metrics given by name."""
        return cls(tuple(map(named, keys)))

    def add(self, maps: NDArray[Any], masks: NDArray[np.bool_] | None) -> None:
        """Add ``(B,H,W)`` maps and masks, in the order in which the class keeps its maps."""
        if masks is not None and any(one.family.stem == "aupimo" for one in self.wanted):
            self.images.add(as_floats(maps), masks)

    def image_values(
        self, scores: NDArray[np.float64], labels: NDArray[np.bool_], reason: str, normal: NormalSummary
    ) -> Values:
        """Compute the image-level metrics.

        Args:
            scores: ``(N,)`` image scores.
            labels: ``(N,)`` whether each is anomalous.
            reason: Why image metrics are undefined, or ``""``.
            normal: Normal scores of the class.
        """
        wanted = [one for one in self.wanted if one.level == "image"]
        return {one.key: (_NAN, reason) if reason else _image(one, scores, labels, normal) for one in wanted}

    def pixel_values(self, pixels: PixelClass, ranking: Ranking | None, reason: str, normal: NormalSummary) -> Values:
        """Compute the pixel- and region-level metrics.

        Args:
            pixels: The maps of the class.
            ranking: Ranking of its anomalous pixels among all pixels; ``None`` if pixel metrics are undefined.
            reason: Why pixel metrics are undefined.
            normal: Normal scores of the class.
        """
        wanted = [one for one in self.wanted if one.level != "image"]
        if ranking is None:
            return {one.key: (_NAN, reason) for one in wanted}
        return {one.key: self._pixel(one, pixels, ranking, normal) for one in wanted}

    def _pixel(self, wanted: Named, pixels: PixelClass, ranking: Ranking, normal: NormalSummary) -> tuple[float, str]:
        dtype = np.dtype(np.float64 if pixels.double else np.float32)

        def chunks() -> Iterator[NDArray[Any]]:
            return (np.asarray(as_floats(chunk), dtype) for chunk in pixels.store.chunks())

        stem, values = wanted.family.stem, wanted.values
        if stem == "aupro":
            return exact.aupro(ranking, float(values[0])), ""
        if stem == "aupimo":
            bounds = float(values[0]), float(values[1])
            return aupimo(self.images, lambda: self.images.normal_pixels(pixels.store.chunks(), dtype), dtype, bounds)
        if stem == "p_pg":
            return presorted_good_pixels(chunks, ranking, float(values[0])), ""
        if stem == "p_pb":
            return presorted_bad_pixels(chunks, dtype, ranking, float(values[0])), ""
        threshold = normal.pixel_threshold(threshold_rule(str(values[0])))
        if np.isnan(threshold):
            return _NAN, normal.reason or "no anomaly map of a normal training or validation image"
        tp = anomalous_count(ranking, threshold, "above")
        above = sum(int(np.count_nonzero(chunk > threshold)) for chunk in chunks())
        found = Outcome(tp, above - tp, ranking.n_positive, ranking.n_negative).values()
        return found["f1" if stem == "seg_f1" else "iou"], ""


def _image(
    wanted: Named, scores: NDArray[np.float64], labels: NDArray[np.bool_], normal: NormalSummary
) -> tuple[float, str]:
    stem, value = wanted.family.stem, wanted.values[0]
    if stem == "i_pg":
        return presorted_good(scores, labels, float(value)), ""
    if stem == "i_pb":
        return presorted_bad(scores, labels, float(value)), ""
    threshold = normal.image_threshold(threshold_rule(str(value)))
    if np.isnan(threshold):
        return _NAN, normal.reason
    called = scores > threshold
    found = Outcome(
        int((called & labels).sum()), int((called & ~labels).sum()), int(labels.sum()), int((~labels).sum())
    )
    return found.values()["f1"], ""
