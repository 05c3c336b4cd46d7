"""The metric engine: exact, streaming, with protocols. It depends on no other package of the project.

Names are imported when they are first asked for: :data:`METRICS` and the protocols cost nothing, the engine imports
numpy, scipy and pandas, and only the torchmetrics classes import torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from diadbench.benchmark.metrics.evaluation import Evaluation as Evaluation
    from diadbench.benchmark.metrics.evaluation import mean_over_classes as mean_over_classes
    from diadbench.benchmark.metrics.evaluator import Evaluator as Evaluator
    from diadbench.benchmark.metrics.exact.precision import float16_effect as float16_effect
    from diadbench.benchmark.metrics.names import METRICS as METRICS
    from diadbench.benchmark.metrics.names import MetricInfo as MetricInfo
    from diadbench.benchmark.metrics.plain import evaluate as evaluate
    from diadbench.benchmark.metrics.protocols import PROTOCOLS as PROTOCOLS
    from diadbench.benchmark.metrics.protocols import Protocol as Protocol
    from diadbench.benchmark.metrics.protocols import get_protocol as get_protocol

_HOMES = {
    "Evaluation": "evaluation",
    "Evaluator": "evaluator",
    "METRICS": "names",
    "MetricInfo": "names",
    "PROTOCOLS": "protocols",
    "Protocol": "protocols",
    "evaluate": "plain",
    "float16_effect": "precision",
    "get_protocol": "protocols",
    "mean_over_classes": "evaluation",
}

__all__ = [
    "METRICS",
    "PROTOCOLS",
    "Evaluation",
    "Evaluator",
    "MetricInfo",
    "Protocol",
    "evaluate",
    "float16_effect",
    "get_protocol",
    "mean_over_classes",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
