"""The metrics by name. Nothing heavy is imported, so that reports and ``--help`` can use this module."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from diadbench.benchmark.metrics.further.further_names import Level, named
from diadbench.common.errors import UserError


@dataclass(frozen=True)
class MetricInfo:
    """Properties of a metric that a table needs.

    Attributes:
        key: Column value in the long-form results (``i_auroc``).
        label: As papers print it, for the mean over classes (``mAU-ROC_I``).
        level: ``image``, ``pixel``, ``region`` or ``sample``; ``mad``, which mixes levels, counts as ``image``.
        higher_is_better: Always true so far.
        bounds: Smallest and largest possible value.
    """

    key: str
    label: str
    level: Level
    higher_is_better: bool = True
    bounds: tuple[float, float] = (0.0, 1.0)


_TABLE = (
    MetricInfo("i_auroc", "mAU-ROC_I", "image"),
    MetricInfo("i_ap", "mAP_I", "image"),
    MetricInfo("i_f1max", "mF1-max_I", "image"),
    MetricInfo("p_auroc", "mAU-ROC_P", "pixel"),
    MetricInfo("p_ap", "mAP_P", "pixel"),
    MetricInfo("p_f1max", "mF1-max_P", "pixel"),
    MetricInfo("aupro", "mAU-PRO_R", "region"),
    MetricInfo("p_ioumax", "mIoU-max_P", "pixel"),
    MetricInfo("mad", "mAD", "image"),
    MetricInfo("s_auroc", "mAU-ROC_S", "sample"),
    MetricInfo("s_ap", "mAP_S", "sample"),
    MetricInfo("s_f1max", "mF1-max_S", "sample"),
)


@dataclass(frozen=True)
class CurveInfo:
    """Properties of a kind of curve that its writers and readers need.

    Attributes:
        key: Name of the kind in :attr:`Evaluation.curves` and in ``curves.npz``.
        label: Title of its panel in a figure.
        level: ``image``, ``pixel`` or ``region``: what is ranked.
        x: Name of the horizontal axis. Its values are in [0,1].
        y: Name of the vertical axis. Its values are in [0,1].
        metric: Key of the metric that the area under the curve equals, under a protocol that computes it exactly.
        rule: How the area is counted. ``ramp``: the trapezoid between points. ``step``: between two values of x the
            height is that of the upper one (average precision, which does not interpolate).
        limited: Whether the area counts up to the protocol's ``pro_limit`` alone, divided by it.
    """

    key: str
    label: str
    level: Level
    x: str
    y: str
    metric: str
    rule: Literal["ramp", "step"] = "ramp"
    limited: bool = False


_FPR = "False positive rate"
_CURVES = (
    CurveInfo("image_roc", "ROC, images", "image", _FPR, "True positive rate", "i_auroc"),
    CurveInfo("image_pr", "PR, images", "image", "Recall", "Precision", "i_ap", "step"),
    CurveInfo("roc", "ROC, pixels", "pixel", _FPR, "True positive rate", "p_auroc"),
    CurveInfo("pr", "PR, pixels", "pixel", "Recall", "Precision", "p_ap", "step"),
    CurveInfo("pro", "PRO, regions", "region", _FPR, "Region overlap", "aupro", limited=True),
)

#: All kinds of curves in the order of figures. The evaluator, the cell's files and the figures use this definition.
CURVES: MappingProxyType[str, CurveInfo] = MappingProxyType({info.key: info for info in _CURVES})
#: All metrics in the order of tables. The first seven are DiAD's table; ``mad`` is their mean.
METRICS: MappingProxyType[str, MetricInfo] = MappingProxyType({info.key: info for info in _TABLE})
#: The seven metrics of DiAD's table, in its order.
SEVEN: tuple[str, ...] = tuple(METRICS)[:7]
#: What :func:`diadbench.benchmark.metrics.evaluate` returns, in this order.
PLAIN: tuple[str, ...] = ("i_auroc", "i_ap", "i_f1max", "p_auroc", "p_ap", "p_f1max", "p_ioumax", "aupro")
#: The sample-level metrics (Real-IAD).
SAMPLE: tuple[str, ...] = ("s_auroc", "s_ap", "s_f1max")

#: What an item's threshold gives, in the order of tables; ``iou`` is printed for pixels.
DECISION_VALUES: tuple[str, ...] = ("f1", "precision", "recall", "fpr", "iou")
#: Columns of ``decisions.csv``. ``scope``: ``own`` where each class has a threshold of its own, ``one`` where one
#: serves all. ``kind``: ``class``, ``mean`` over classes, or ``pooled``: all items as one set.
DECISION_COLUMNS: tuple[str, ...] = ("level", "scope", "rule", "class", "kind", "threshold", *DECISION_VALUES, "reason")
#: Columns of ``pooled.csv``: a metric of all classes' items as one set, beside the mean over classes.
POOLED_COLUMNS: tuple[str, ...] = ("metric", "pooled", "mean", "difference", "error", "reason")
#: Name of the rule that sees the test labels.
ORACLE = "f1max"


def metric_info(key: str) -> MetricInfo:
    """Return the properties of a metric of :data:`METRICS` or of one with parameters (``aupro@0.05``).

    Raises:
        UserError: No metric has this name, or its parameter is outside its range.
    """
    if key in METRICS:
        return METRICS[key]
    wanted = named(key)
    return MetricInfo(key, f"m{wanted.label}_{wanted.letter}", wanted.level)


def is_metric(key: str) -> bool:
    """Whether a metric has this name."""
    try:
        metric_info(key)
    except UserError:
        return False
    return True


def in_order(found: Iterable[str]) -> list[str]:
    """Return metric keys in the order of tables, without repetition: those of :data:`METRICS`, then all others."""
    keys = dict.fromkeys(found)
    return [key for key in METRICS if key in keys] + [key for key in keys if key not in METRICS]
