"""The metrics by name. Imports nothing heavy, so that reports and ``--help`` can ask it."""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

Level = Literal["image", "pixel", "region", "sample"]


@dataclass(frozen=True)
class MetricInfo:
    """What a table has to know about a metric.

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
    """What writers and readers of a curve have to know about its kind.

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

#: All kinds of curves in the order of figures. The evaluator, the cell's files and figures share this definition.
CURVES: MappingProxyType[str, CurveInfo] = MappingProxyType({info.key: info for info in _CURVES})
#: All metrics in the order of tables. The first seven are DiAD's table; ``mad`` is their mean.
METRICS: MappingProxyType[str, MetricInfo] = MappingProxyType({info.key: info for info in _TABLE})
#: The seven metrics of DiAD's table, in its order.
SEVEN: tuple[str, ...] = tuple(METRICS)[:7]
#: What :func:`diadbench.benchmark.metrics.evaluate` returns, in this order.
PLAIN: tuple[str, ...] = ("i_auroc", "i_ap", "i_f1max", "p_auroc", "p_ap", "p_f1max", "p_ioumax", "aupro")
#: The sample-level metrics (Real-IAD).
SAMPLE: tuple[str, ...] = ("s_auroc", "s_ap", "s_f1max")
