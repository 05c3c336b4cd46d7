"""The metrics' names. Imports nothing heavy, so that help texts and reports may use it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class MetricInfo:
    """A metric as tables name it. All lie in [0, 1] and larger is better."""

    key: str
    label: str
    level: str


METRICS: dict[str, MetricInfo] = {
    key: MetricInfo(key, label, level)
    for key, label, level in (
        ("i_auroc", "AU-ROC_I", "image"),
        ("i_ap", "AP_I", "image"),
        ("i_f1max", "F1-max_I", "image"),
        ("p_auroc", "AU-ROC_P", "pixel"),
        ("p_ap", "AP_P", "pixel"),
        ("p_f1max", "F1-max_P", "pixel"),
        ("aupro", "AU-PRO_R", "region"),
        ("p_ioumax", "IoU-max_P", "pixel"),
        ("mad", "mAD", "all"),
        ("s_auroc", "AU-ROC_S", "sample"),
        ("s_ap", "AP_S", "sample"),
        ("s_f1max", "F1-max_S", "sample"),
    )
}
