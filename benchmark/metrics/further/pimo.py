"""AUPIMO: recall of each anomalous image over a false positive rate that is computed on normal images alone.

Source: Bertoldo et al., arXiv 2401.01984, and its authors' code: 300,000 thresholds equally spaced between the least
and the largest score of the normal images; false positive rate: mean over normal images; recall: of the pixels of one
anomalous image; area by the trapezoid over the logarithm of the rate between two bounds, divided by the logarithm of
their ratio; mean over anomalous images. A pixel counts where ``score >= threshold``.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diadbench.benchmark.metrics.exact.inputs import as_floats
from diadbench.benchmark.metrics.further.selection import Pixels, order_statistics

#: Number of thresholds in the authors' code.
THRESHOLDS = 300_000
#: The authors' code refuses to integrate with this many points or fewer between the bounds.
TOO_FEW = 30


@dataclass
class PerImage:
    """Per-image data for AUPIMO: which images are normal, and the scores of anomalous pixels.

    Attributes:
        normal: For each image in order, whether its mask is empty.
        sizes: For each image in order, its number of pixels.
        anomalous: For each anomalous image its ascending anomalous scores; four bytes a pixel.
        low: Least score of normal images.
        high: Largest score of normal images.
    """

    normal: list[bool] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)
    anomalous: list[NDArray[Any]] = field(default_factory=list)
    low: float = math.inf
    high: float = -math.inf

    def add(self, maps: NDArray[Any], masks: NDArray[np.bool_]) -> None:
        """Add ``(B,H,W)`` float maps with their masks."""
        for one, mask in zip(maps, masks):
            normal = not mask.any()
            self.normal.append(normal)
            self.sizes.append(one.size)
            if normal:
                self.low, self.high = min(self.low, float(one.min())), max(self.high, float(one.max()))
            else:
                self.anomalous.append(np.sort(one[mask]))

    @property
    def n_normal_pixels(self) -> int:
        """Number of pixels of normal images."""
        return sum(size for size, normal in zip(self.sizes, self.normal) if normal)

    def normal_pixels(self, chunks: Iterator[NDArray[Any]], dtype: np.dtype[Any]) -> Iterator[NDArray[Any]]:
        """Yield the pixels of normal images, flat, from chunks that hold all images in order."""
        image, left = 0, self.sizes[0] if self.sizes else 0
        for chunk in chunks:
            at = 0
            while at < len(chunk):
                taken = min(left, len(chunk) - at)
                if self.normal[image]:
                    yield np.asarray(as_floats(chunk[at : at + taken]), dtype)
                at, left = at + taken, left - taken
                if not left and image + 1 < len(self.sizes):
                    image, left = image + 1, self.sizes[image + 1]


def aupimo(
    images: PerImage, pixels: Pixels, dtype: np.dtype[Any], bounds: tuple[float, float], steps: int = THRESHOLDS
) -> tuple[float, str]:
    """Return AUPIMO in [0,1] and the reason if it is NaN.

    Args:
        images: Data collected of each image.
        pixels: The pixels of normal images; they are read three to five times.
        dtype: Type of the pixels.
        bounds: Smallest and largest false positive rate.
        steps: Number of thresholds.
    """
    nan = float("nan")
    if not images.anomalous or not any(images.normal):
        return nan, "no anomalous image" if not images.anomalous else "no normal image"
    if len({size for size, normal in zip(images.sizes, images.normal) if normal}) > 1:
        return nan, "normal images have maps of several sizes"
    if images.low == images.high:
        return nan, "normal images have constant maps: no threshold can be set"
    thresholds, rates = _shared_rate(images, pixels, dtype, bounds, steps)
    if bounds[0] < rates[-1]:
        return (
            nan,
            f"a rate of {bounds[0]:g} is less than one of the {images.n_normal_pixels:,} normal pixels",
        )
    first, last = (int(np.argmin(np.abs(rates - bound))) for bound in (bounds[1], bounds[0]))
    kept = slice(first, last + 1)
    usable = rates[kept] > 0
    if first >= last or int(usable.sum()) <= TOO_FEW:
        return nan, (
            f"only {int(usable.sum()) if first < last else 0} of {steps:,} thresholds lie between false positive rates "
            f"{bounds[0]:g} and {bounds[1]:g}; more than {TOO_FEW} are needed"
        )
    cut, place = thresholds[kept][usable], np.log(rates[kept][usable])[::-1]
    areas = [np.trapezoid(_recall(scores, cut)[::-1], place) for scores in images.anomalous]
    norm = math.log(bounds[1] / bounds[0])
    return float(np.mean(np.clip(np.array(areas) / norm, 0.0, 1.0))), ""


def _recall(ordered: NDArray[Any], thresholds: NDArray[Any]) -> NDArray[np.float64]:
    return 1.0 - np.searchsorted(ordered, thresholds, "left") / len(ordered)


def _shared_rate(
    images: PerImage, pixels: Pixels, dtype: np.dtype[Any], bounds: tuple[float, float], steps: int
) -> tuple[NDArray[Any], NDArray[np.float64]]:
    """Return ascending thresholds, and the false positive rate at each.

    Only the pixels above the score that four times the upper bound passes are needed. Thresholds below that score are
    left out, because their rates are further from the bound than rate 0 is.
    """
    total = images.n_normal_pixels
    rank = max(0, total - 1 - math.ceil(4 * bounds[1] * total))
    floor = order_statistics(pixels, dtype, [rank])[0] if rank else images.low
    thresholds = np.linspace(images.low, images.high, steps).astype(dtype)
    thresholds = thresholds[np.searchsorted(thresholds, dtype.type(floor), "left") :]
    highest = np.sort(np.concatenate([chunk[chunk >= floor] for chunk in pixels()]))
    above = len(highest) - np.searchsorted(highest, thresholds, "left")
    return thresholds, above / total
