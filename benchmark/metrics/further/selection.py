"""Exact order statistics of streamed pixels, in one pass per 16-bit digit of a value and with 512 KB of memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diadbench.benchmark.metrics.exact.ranking import BLOCK, Ranking

_DIGIT = 16
#: Returns the pixels again for each pass, flat, all of one dtype.
Pixels = Callable[[], Iterator[NDArray[Any]]]


def quantile(values: NDArray[Any], level: float) -> float:
    """Return a quantile of ``(n,)`` ascending values, interpolated linearly between two neighbours."""
    low, share = _place(len(values), level)
    return _between(float(values[low]), float(values[min(low + 1, len(values) - 1)]), share)


def streamed_quantile(pixels: Pixels, dtype: np.dtype[Any], count: int, level: float, without: Ranking) -> float:
    """Return a quantile of all pixels but the anomalous ones, interpolated linearly between two neighbours.

    Args:
        pixels: All pixels.
        dtype: float32 or float64: type of the pixels.
        count: Number of pixels that are not anomalous.
        level: Level of the quantile in [0,1].
        without: Ranking of the anomalous pixels, which are left out.
    """
    low, share = _place(count, level)
    found = order_statistics(pixels, dtype, [low, min(low + 1, count - 1)], without)
    return _between(found[0], found[1], share)


def ranked_quantile(ranking: Ranking, level: float) -> float:
    """Return a quantile of a ranking's anomalous scores, interpolated linearly between two neighbours."""
    low, share = _place(ranking.n_positive, level)
    wanted, passed = [low, min(low + 1, ranking.n_positive - 1)], 0
    found: list[float] = []
    for start in range(0, len(ranking.score), BLOCK):
        part = slice(start, start + BLOCK)
        upto = np.cumsum(ranking.positives[part], dtype=np.int64) + passed
        passed = int(upto[-1])
        while len(found) < 2 and wanted[len(found)] < passed:
            at = int(np.searchsorted(upto, wanted[len(found)], "right"))
            found.append(float(ranking.score[part][at]))
    return _between(found[0], found[1], share)


def order_statistics(
    pixels: Pixels, dtype: np.dtype[Any], ranks: Sequence[int], without: Ranking | None = None
) -> list[float]:
    """Return the values at ascending ranks (from 0) among streamed finite pixels.

    Values are mapped to integers in the same order, whose digits of 16 bits are found one after another from counts.

    Args:
        pixels: The pixels.
        dtype: float32 or float64: type of the pixels.
        ranks: Ranks in ``[0, n)``.
        without: Ranking of anomalous pixels that are among the pixels but don't count.
    """
    digits = dtype.itemsize * 8 // _DIGIT
    prefixes, left = [0] * len(ranks), list(ranks)
    for digit in range(digits - 1, -1, -1):
        counts = {prefix: np.zeros(1 << _DIGIT, np.int64) for prefix in prefixes}
        for chunk in pixels():
            _count(counts, _ordered(chunk), digit, None)
        for start in range(0, len(without.score) if without else 0, BLOCK):
            assert without is not None
            part = slice(start, start + BLOCK)
            _count(
                counts, _ordered(np.asarray(without.score[part], dtype)), digit, -without.positives[part].astype(int)
            )
        for place, prefix in enumerate(prefixes):
            upto = np.cumsum(counts[prefix])
            at = int(np.searchsorted(upto, left[place], "right"))
            left[place] -= int(upto[at - 1]) if at else 0
            prefixes[place] = (prefix << _DIGIT) | at
    return [_value(prefix, dtype) for prefix in prefixes]


def _count(counts: dict[int, NDArray[np.int64]], keys: NDArray[Any], digit: int, weights: NDArray[Any] | None) -> None:
    """Count the current digit of those keys whose upper digits are one of the prefixes."""
    upper = keys >> keys.dtype.type(digit * _DIGIT)
    for prefix, found in counts.items():
        inside = (
            (upper >> upper.dtype.type(_DIGIT)) == prefix if upper.itemsize * 8 // _DIGIT > digit + 1 else slice(None)
        )
        chosen = (upper[inside] & upper.dtype.type(0xFFFF)).astype(np.int64)
        if weights is None:
            found += np.bincount(chosen, minlength=1 << _DIGIT)
        else:
            np.add.at(found, chosen, weights[inside])


def _ordered(values: NDArray[Any]) -> NDArray[Any]:
    """Map finite floats to unsigned integers of the same width and order; equal values stay equal."""
    size = values.dtype.itemsize
    signed, unsigned = (np.int32, np.uint32) if size == 4 else (np.int64, np.uint64)
    bits = (values + values.dtype.type(0)).view(signed)  # -0.0 becomes 0.0
    top = unsigned(1 << (8 * size - 1))
    return np.asarray(np.where(bits < 0, ~bits.view(unsigned), bits.view(unsigned) | top))


def _value(key: int, dtype: np.dtype[Any]) -> float:
    bits = 8 * dtype.itemsize
    top, most = 1 << (bits - 1), (1 << bits) - 1
    plain = key & ~top if key & top else ~key & most
    unsigned = np.uint32 if bits == 32 else np.uint64
    return float(np.array([plain], unsigned).view(dtype)[0])


def _place(count: int, level: float) -> tuple[int, float]:
    place = level * (count - 1)
    return int(place), place - int(place)


def _between(low: float, high: float, share: float) -> float:
    return low + (high - low) * share
