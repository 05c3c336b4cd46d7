"""The metrics of one class from arrays, in one call."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from diadbench.benchmark.metrics.evaluator import Evaluator
from diadbench.benchmark.metrics.exact.inputs import as_maps
from diadbench.benchmark.metrics.names import PLAIN
from diadbench.benchmark.metrics.protocols import Protocol, get_protocol


class PlainResult(dict[str, float]):
    """A dict of metric -> value; ``reasons`` says in plain words why a value is NaN."""

    reasons: Mapping[str, str]


def evaluate(
    maps: Any, masks: Any, scores: Any = None, labels: Any = None, protocol: str | Protocol = "exact"
) -> PlainResult:
    """Compute the metrics of one class from arrays.

    Args:
        maps: ``(N,H,W)`` anomaly maps, float16 to float64, larger is more anomalous; tensors, arrays or memory maps.
        masks: ``(N,H,W)`` bool or 0/1; ``None``: none, then ``labels`` are needed.
        scores: ``(N,)`` image scores, used under every protocol; ``None``: by the protocol's rule (``exact``: the
            maximum of the map).
        labels: ``(N,)`` 0/1, used under every protocol; ``None``: "the mask has a pixel".
        protocol: Name of a protocol, or a protocol.

    Returns:
        ``i_auroc i_ap i_f1max p_auroc p_ap p_f1max p_ioumax aupro``, each in [0,1], or NaN where it is undefined;
        the attribute ``reasons`` says why. Metrics that the protocol asks for by name (``exact+aupro@0.05``) follow.

    Raises:
        UserError: Shapes that don't fit, masks or labels that are not 0/1, an unknown protocol.

    Example:
        >>> import numpy as np
        >>> from diadbench.benchmark.metrics import evaluate
        >>> maps = np.zeros((2, 4, 4)); masks = np.zeros((2, 4, 4), bool)
        >>> maps[1, 1, 1:3] = 1.0; masks[1, 1, 1:4] = True
        >>> round(evaluate(maps, masks)["p_f1max"], 3)
        0.8
    """
    chosen = get_protocol(protocol)
    if scores is not None:
        chosen = replace(chosen, score="method", pooling=())
    if labels is not None:
        chosen = replace(chosen, label_rule="dataset")
    checked = as_maps(maps)
    evaluator = Evaluator(["all"], chosen, has_masks=masks is not None, with_curves=False)
    evaluator.update(np.zeros(len(checked), np.int64), checked, masks, scores, labels, borrow=True)
    table = evaluator.compute().table
    values, reasons = (dict(zip(table["metric"], table[column])) for column in ("value", "reason"))
    keys = (*PLAIN, *chosen.further)
    result = PlainResult({key: float(values[key]) for key in keys})
    result.reasons = {key: reasons[key] for key in keys if reasons[key]}
    return result
