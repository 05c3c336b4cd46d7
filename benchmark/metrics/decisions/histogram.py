"""Count streamed scores on a fixed grid of floats, so that any threshold on the grid can be evaluated exactly later.

The grid has 2^14 steps per octave: neighbours differ by 0.006 % of their size. A threshold between two steps is moved
up to the end of its step. It is then slightly stricter than requested, and the counts at it are exact.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diadbench.benchmark.metrics.exact.bag import sortable

#: Number of bits of a float32 that a step ignores: 23 bits of mantissa less 14.
_DROPPED = 9
#: Number of values that are buffered before they are counted, because counting costs as much as the range is wide.
_WAITING = 1 << 22


def steps_of(values: NDArray[Any]) -> NDArray[np.int32]:
    """Return the step of each finite value, in ascending order of values; float64 is rounded to float32."""
    with np.errstate(over="ignore"):
        single = np.ascontiguousarray(values, np.float32)
    return sortable(single) >> _DROPPED


def end_of(step: int) -> float:
    """Return the largest float32 of a step."""
    return float(ends_of(np.array([step]))[0])


def ends_of(steps: NDArray[Any]) -> NDArray[np.float64]:
    """Return the largest float32 of each step."""
    bits = (((steps.astype(np.int64) + 1) << _DROPPED) - 1).astype(np.int32)
    return (bits ^ ((bits >> 31) & 0x7FFFFFFF)).view(np.float32).astype(np.float64)


def moved_up(threshold: float) -> float:
    """Return the end of the step that a threshold lies in: the smallest grid value that is not below it."""
    return end_of(int(steps_of(np.array([threshold]))[0]))


@dataclass(frozen=True)
class Counts:
    """Number of values in each step.

    Attributes:
        step: ``int32 (S,)`` ascending; steps without a value are left out.
        count: ``int64 (S,)``.
    """

    step: NDArray[np.int32]
    count: NDArray[np.int64]

    @property
    def total(self) -> int:
        """Number of values."""
        return int(self.count.sum())

    def above(self, threshold: float) -> int:
        """Return how many values lie above a threshold that is the end of a step (:func:`moved_up`)."""
        at = int(np.searchsorted(self.step, steps_of(np.array([threshold]))[0], "right"))
        return int(self.count[at:].sum())

    def quantile(self, level: float) -> float:
        """Return the end of the step that holds the order statistic of rank ``ceil(level * (n - 1))``."""
        rank = int(np.ceil(level * (self.total - 1) - 1e-9))
        at = int(np.searchsorted(np.cumsum(self.count), rank, "right"))
        return end_of(int(self.step[at]))


def together(several: list[Counts]) -> Counts:
    """Return the sum of several counts."""
    if not several:
        return Counts(np.empty(0, np.int32), np.empty(0, np.int64))
    step = np.concatenate([one.step for one in several])
    count = np.concatenate([one.count for one in several])
    distinct, place = np.unique(step, return_inverse=True)
    found = np.zeros(len(distinct), np.int64)
    np.add.at(found, place, count)
    return Counts(distinct, found)


def without(counts: Counts, some: Counts) -> Counts:
    """Return the counts without some of the same values."""
    left = counts.count.copy()
    left[np.searchsorted(counts.step, some.step)] -= some.count
    return Counts(counts.step[left > 0], left[left > 0])


class StepHistogram:
    """Collect values in any order. Memory holds the distinct steps and a buffer of 16 MB."""

    def __init__(self) -> None:
        self._waiting: list[NDArray[np.int32]] = []
        self._held = 0
        self._counts = together([])

    def add(self, values: NDArray[Any]) -> None:
        """Add ``(n,)`` finite values."""
        if not values.size:
            return
        self._waiting.append(steps_of(values))
        self._held += values.size
        if self._held >= _WAITING:
            self._flush()

    def _flush(self) -> None:
        if self._waiting:
            steps = np.concatenate(self._waiting)
            low = int(steps.min())
            counted = np.bincount(steps - np.int32(low))
            found = np.flatnonzero(counted)
            new = Counts((found + low).astype(np.int32), counted[found].astype(np.int64))
            self._counts = together([self._counts, new]) if self._counts.step.size else new
            self._waiting, self._held = [], 0

    @property
    def counts(self) -> Counts:
        """Return the counts of all values so far."""
        self._flush()
        return self._counts
