"""How far keeping maps as float16 moves each metric."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from diadbench.benchmark.metrics.evaluator import evaluate
from diadbench.benchmark.metrics.inputs import as_maps
from diadbench.benchmark.metrics.protocols import Protocol


def float16_effect(
    maps: Any, masks: Any, scores: Any = None, labels: Any = None, protocol: str | Protocol = "exact"
) -> pd.DataFrame:
    """Compare the metrics of maps with those of the same maps rounded to float16.

    Args:
        maps: ``(N,H,W)`` float32 or float64 maps.
        masks: ``(N,H,W)`` bool or 0/1.
        scores: ``(N,)`` image scores, left as they are; ``None``: by the protocol's rule.
        labels: ``(N,)`` 0/1; ``None``: "the mask has a pixel".
        protocol: Name of a protocol, or a protocol.

    Returns:
        One row a metric: ``metric, value, float16, difference`` (float16 minus value). Values beyond 65504 become
        infinite in float16; the metric is then NaN.
    """
    full = as_maps(maps)
    with np.errstate(over="ignore"):
        half = full.astype(np.float16)
    before, after = (evaluate(one, masks, scores, labels, protocol) for one in (full, half))
    frame = pd.DataFrame({"metric": list(before), "value": list(before.values()), "float16": list(after.values())})
    return frame.assign(difference=frame["float16"] - frame["value"])
