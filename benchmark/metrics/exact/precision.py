"""How far keeping maps as float16 moves each metric."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from diadbench.benchmark.metrics.exact.inputs import as_maps
from diadbench.benchmark.metrics.plain import evaluate
from diadbench.benchmark.metrics.protocols import Protocol
from diadbench.common.half import from_half, to_half


def float16_effect(
    maps: Any, masks: Any, scores: Any = None, labels: Any = None, protocol: str | Protocol = "exact"
) -> pd.DataFrame:
    """Compare the metrics of maps with those of the same maps kept as float16, each scaled to its own limits.

    Args:
        maps: ``(N,H,W)`` float32 or float64 maps.
        masks: ``(N,H,W)`` bool or 0/1.
        scores: ``(N,)`` image scores, left as they are; ``None``: by the protocol's rule.
        labels: ``(N,)`` 0/1; ``None``: "the mask has a pixel".
        protocol: Name of a protocol, or a protocol.

    Returns:
        One row a metric: ``metric, value, float16, difference`` (float16 minus value).
    """
    full = as_maps(maps)
    half = from_half(*to_half(full.astype(np.float32)))
    before, after = (evaluate(one, masks, scores, labels, protocol) for one in (full, half))
    frame = pd.DataFrame({"metric": list(before), "value": list(before.values()), "float16": list(after.values())})
    return frame.assign(difference=frame["float16"] - frame["value"])
