"""Pixel- and region-level metrics of one class, streamed: any order, any batch size, memory O(anomalous pixels)."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diadbench.benchmark.metrics.exact import ranking as exact
from diadbench.benchmark.metrics.exact import thresholds
from diadbench.benchmark.metrics.exact.counting import Anomalies, Counter
from diadbench.benchmark.metrics.exact.inputs import as_floats
from diadbench.benchmark.metrics.exact.ranges import Ranges
from diadbench.benchmark.metrics.exact.ranking import Ranking
from diadbench.benchmark.metrics.exact.spill import Budget, MapStore, blocks
from diadbench.benchmark.metrics.exact.thresholds import Counts, Cuts, counts_at
from diadbench.benchmark.metrics.protocols import Protocol

#: metric -> (value, reason for NaN)
Values = dict[str, tuple[float, str]]
_KEYS = ("p_auroc", "p_ap", "p_f1max", "p_ioumax", "aupro")


@dataclass(frozen=True)
class PixelResult:
    """Pixel metrics of one class, the ranking behind them, and the F1-max threshold (NaN if undefined)."""

    values: Values
    ranking: Ranking | None = None
    threshold: float = float("nan")


@functools.cache
def engine() -> tuple[type[Anomalies], type[Counter]]:
    """Return the compiled passes, or the numpy reference where numba is missing. Both give the same numbers."""
    try:
        from diadbench.benchmark.metrics.exact.kernels import FastAnomalies, FastCounter
    except ImportError:
        return Anomalies, Counter
    return FastAnomalies, FastCounter


class PixelClass:
    """Collect the maps and masks of one class, then compute its pixel metrics in a second pass."""

    def __init__(self, protocol: Protocol, budget: Budget) -> None:
        self.protocol = protocol
        self.store = MapStore(budget)
        self.anomalies = engine()[0](protocol.connectivity, budget)
        self.n_images = 0
        self.n_without_mask = 0
        self.double = False

    def add(self, maps: NDArray[Any], masks: NDArray[np.bool_] | None, *, borrow: bool = False) -> None:
        """Add ``(B,H,W)`` maps and masks. With ``borrow`` no copy is made, and the caller must not change the maps."""
        self.n_images += len(maps)
        if masks is None:
            self.n_without_mask += len(maps)
            return
        (self.store.keep if borrow else self.store.add)(maps)
        for one, mask in zip(blocks(maps), blocks(masks)):
            floats = as_floats(one)
            self.double |= floats.dtype == np.float64
            self.anomalies.add(floats, mask)

    def compute(self) -> PixelResult:
        """Run the second pass. The maps are kept, so more may be added and it may be called again."""
        reason = self._undefined()
        if reason:
            return PixelResult({key: (float("nan"), reason) for key in _KEYS})
        ranking, counts = self._count()
        values, threshold = _metrics(ranking, counts, self.protocol)
        if self.anomalies.low == self.anomalies.high:
            for key in _KEYS:
                if np.isnan(values[key][0]) and not values[key][1]:
                    values[key] = (float("nan"), f"constant maps: {self.protocol.name} sets no threshold")
        return PixelResult(values, ranking, threshold)

    def _undefined(self) -> str:
        found = self.anomalies
        if not self.n_images:
            return "no test image"
        if self.n_without_mask:
            return "no masks" if self.n_without_mask == self.n_images else f"{self.n_without_mask} images have no mask"
        if found.n_broken_maps:
            return f"NaN or infinity in {found.n_broken_maps} of {self.n_images} anomaly maps"
        if not found.n_positive:
            return "no anomalous pixel"
        if found.n_positive == found.n_pixels:
            return "no normal pixel"
        return ""

    def _count(self) -> tuple[Ranking, dict[str, Counts]]:
        dtype = np.dtype(np.float64 if self.double else np.float32)
        cuts = self._cuts(dtype.type)
        short = {name: np.zeros(len(cut.edges), np.int64) for name, cut in cuts.items()}
        ranges = Ranges(self.store.budget.directory)
        passed = 0
        for score, positives, weight in self.anomalies.distinct(single_weights=self.protocol.pro == "bins"):
            counter = engine()[1](score.astype(dtype, copy=False))
            del score  # the counter has its own
            self._pass(counter, dtype, {} if passed else cuts, short)
            ranges.add(counter.ranking(self.anomalies, positives, weight, passed))
            passed += int(positives.sum(dtype=np.int64))
            del counter, positives, weight
        ranking = ranges.whole()
        return ranking, {name: counts_at(cut, ranking, short[name]) for name, cut in cuts.items()}

    def _pass(
        self, counter: Counter, dtype: np.dtype[Any], cuts: dict[str, Cuts], short: dict[str, NDArray[np.int64]]
    ) -> None:
        for chunk in self.store.chunks():
            pixels = np.asarray(as_floats(chunk), dtype)
            counter.add(pixels)
            if cuts:
                pixels = np.sort(pixels)
            for name, cut in cuts.items():
                short[name] += cut.count(pixels)

    def _cuts(self, dtype: Any) -> dict[str, Cuts]:
        protocol = self.protocol
        low, high = dtype(self.anomalies.low), dtype(self.anomalies.high)
        if low == high:  # No threshold can be set between them.
            return {}
        cuts: dict[str, Cuts] = {}
        if protocol.f1 == "grid":
            cuts["grid"] = thresholds.grid_cuts(low, high)
        if protocol.pro in ("steps", "steps-from-minimum"):
            cuts["steps"] = thresholds.step_cuts(low, high, protocol.pro_steps)
        if "bins" in (protocol.pixel_curve, protocol.pro):
            cuts["bins"] = thresholds.bin_cuts(low, high, protocol.bins)
        return cuts


def _metrics(ranking: Ranking, counts: dict[str, Counts], protocol: Protocol) -> tuple[Values, float]:
    nan = float("nan")
    best, threshold = exact.f1_max(ranking, exact.SMOOTHING if protocol.f1 == "smoothed" else 0.0)
    found = {
        "p_auroc": exact.auroc(ranking),
        "p_ap": exact.average_precision(ranking),
        "p_f1max": best,
        "p_ioumax": best / (2 - best),
        "aupro": exact.aupro(ranking, protocol.pro_limit),
    }
    reasons: dict[str, str] = {}
    if protocol.pixel_curve == "bins":
        at = counts.get("bins")
        found["p_auroc"], found["p_ap"] = (thresholds.bin_auroc(at), thresholds.bin_ap(at)) if at else (nan, nan)
    if protocol.f1 == "grid":
        at = counts.get("grid")
        found["p_f1max"], found["p_ioumax"] = thresholds.grid_f1_iou(at) if at else (nan, nan)
    if protocol.pro != "exact":
        found["aupro"] = _pro(counts, protocol)
        if np.isnan(found["aupro"]) and counts:
            reasons["aupro"] = f"no threshold of {protocol.name} lies below FPR {protocol.pro_limit:g}"
    if protocol.flip:
        found["p_auroc"] = max(found["p_auroc"], 1 - found["p_auroc"])
    for key in _KEYS:
        if key not in protocol.metrics:
            found[key], reasons[key] = nan, f"{protocol.name} does not compute it"
    return {key: (found[key], reasons.get(key, "")) for key in _KEYS}, threshold


def _pro(counts: dict[str, Counts], protocol: Protocol) -> float:
    at = counts.get("bins" if protocol.pro == "bins" else "steps")
    if at is None:
        return float("nan")
    if protocol.pro == "bins":
        return thresholds.bin_pro(at, protocol.pro_limit)
    return thresholds.step_pro(at, protocol.pro_limit, from_minimum=protocol.pro == "steps-from-minimum")
