"""Scores of normal training or validation images, from which thresholds are set. This module sees no test image."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diadbench.benchmark.metrics.decisions.histogram import Counts, StepHistogram, moved_up, together
from diadbench.benchmark.metrics.decisions.threshold_rules import ThresholdRule
from diadbench.benchmark.metrics.further.selection import quantile


@dataclass(frozen=True)
class Moments:
    """Number, mean and sum of squared deviations of values, in float64."""

    n: int = 0
    mean: float = 0.0
    squares: float = 0.0

    @property
    def std(self) -> float:
        """Return the standard deviation of the population; NaN without values."""
        return math.sqrt(max(self.squares, 0.0) / self.n) if self.n else float("nan")

    def __add__(self, other: Moments) -> Moments:
        n = self.n + other.n
        if not n:
            return self
        gap = other.mean - self.mean
        squares = self.squares + other.squares + gap * gap * self.n * other.n / n
        return Moments(n, self.mean + gap * other.n / n, squares)


def moments(values: NDArray[Any]) -> Moments:
    """Return the moments of ``(n,)`` values."""
    if not values.size:
        return Moments()
    mean = float(values.mean(dtype=np.float64))
    return Moments(values.size, mean, float(np.square(values - mean, dtype=np.float64).sum()))


@dataclass(frozen=True)
class NormalSummary:
    """Normal scores of one class, or of several together.

    Attributes:
        scores: ``float64 (N,)`` ascending image scores.
        pixels: Counts of their maps' pixels; empty where there are no maps.
        moments: Moments of the pixels.
        reason: Why no threshold can be set from them, or ``""``.
    """

    scores: NDArray[np.float64]
    pixels: Counts
    moments: Moments
    reason: str = ""

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """Return plain arrays; :meth:`from_arrays` is the inverse."""
        known = np.array([self.moments.n, self.moments.mean, self.moments.squares])
        pixels: dict[str, NDArray[Any]] = {"step": self.pixels.step, "count": self.pixels.count}
        return {"scores": self.scores, "moments": known, "reason": np.array(self.reason), **pixels}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> NormalSummary:
        """Restore a summary from the arrays of :meth:`to_arrays`. Raises KeyError for other arrays."""
        n, mean, squares = arrays["moments"].tolist()
        pixels = Counts(arrays["step"], arrays["count"])
        return cls(arrays["scores"], pixels, Moments(int(n), mean, squares), str(arrays["reason"]))

    def image_threshold(self, rule: ThresholdRule) -> float:
        """Return the threshold of image scores that a rule sets; NaN without an image."""
        if self.reason or not len(self.scores):
            return float("nan")
        if rule.kind == "quantile":
            return quantile(self.scores, rule.level)
        return float(self.scores.mean() + rule.level * self.scores.std())

    def pixel_threshold(self, rule: ThresholdRule) -> float:
        """Return the threshold of pixels that a rule sets, moved up to the grid of the counts; NaN without a map."""
        if self.reason or not self.moments.n:
            return float("nan")
        if rule.kind == "quantile":
            return self.pixels.quantile(rule.level)
        return moved_up(self.moments.mean + rule.level * self.moments.std)


@dataclass
class NormalScores:
    """Collect the normal images of one class."""

    _scores: list[NDArray[np.float64]] = field(default_factory=list)
    _pixels: StepHistogram = field(default_factory=StepHistogram)
    _moments: Moments = field(default_factory=Moments)
    _broken: int = 0

    def add(self, maps: NDArray[Any] | None, scores: NDArray[np.float64]) -> None:
        """Add ``(B,H,W)`` float maps, as the protocol compares them, and ``(B,)`` image scores."""
        self._scores.append(scores)
        finite = np.isfinite(scores)
        if maps is not None:
            finite = finite & np.isfinite(maps).all(axis=(1, 2))
        self._broken += int((~finite).sum())
        if maps is not None and finite.all():
            self._pixels.add(maps.reshape(-1))
            self._moments = self._moments + moments(maps.reshape(-1))

    @property
    def summary(self) -> NormalSummary:
        """Return the summary of all images so far."""
        scores = np.sort(np.concatenate([np.empty(0), *self._scores]))
        reason = f"NaN or infinity in {self._broken} of {len(scores)} normal images" if self._broken else ""
        return NormalSummary(scores, self._pixels.counts, self._moments, reason or _none(len(scores)))


def no_normal() -> NormalSummary:
    """Return the summary of a class whose normal images were not scored."""
    return NormalScores().summary


def _none(count: int) -> str:
    return "" if count else "no normal training or validation image was scored"


def all_together(several: list[NormalSummary]) -> NormalSummary:
    """Combine the normal scores of several classes; if a class has none, there is no threshold for all classes."""
    scores = np.sort(np.concatenate([np.empty(0), *(one.scores for one in several)]))
    found = Moments()
    for one in several:
        found = found + one.moments
    reason = next((one.reason for one in several if one.reason), "") or _none(len(scores))
    return NormalSummary(scores, together([one.pixels for one in several]), found, reason)
