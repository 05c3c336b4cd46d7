"""The protocols that this project knows, each named after the code whose numbers it gives."""

from __future__ import annotations

from dataclasses import replace

from diadbench.benchmark.metrics.conventions.protocol import Protocol
from diadbench.benchmark.metrics.names import SEVEN

_ADER = Protocol(
    "ader",
    "ADer's published tables (benchmark configs): image metrics exact; pixel AU-ROC, AP, AU-PRO from ADEval's 50 bins; "
    "F1-max and IoU-max from 21 thresholds",
    score="max",
    mask_rule="ader",
    label_rule="mask",
    pixel_curve="bins",
    f1="grid",
    pro="bins",
    source_size=256,
)
_ADEVAL = Protocol(
    "adeval50",
    "the package ADEval with 50 bins: five metrics, AP is the trapezoid of the PR curve",
    score="max",
    mask_rule="ader",
    label_rule="mask",
    image_curve="bins",
    pixel_curve="bins",
    pro="bins",
    f1="none",
    metrics=("i_auroc", "i_ap", "p_auroc", "p_ap", "aupro", "s_auroc", "s_ap"),
)

_DINOMALY = Protocol(
    "dinomaly",
    "Dinomaly's published code: maps and masks compared at 256x256, the map blurred by a 5x5 kernel of sigma 4, image "
    "score the mean of the highest 1 %, AU-PRO from 200 thresholds",
    compare_size=256,
    blur=(5, 4.0),
    score="top",
    top=0.01,
    mask_rule="diad",
    f1="smoothed",
    pro="steps",
    pro_steps=200,
    source_size=448,
    metrics=(*SEVEN, "mad"),
)

#: All of them, in the order of messages.
KNOWN = (
    Protocol("exact", "every metric by its definition: no bins, no threshold grids, ties as linear ramps"),
    _ADER,
    replace(_ADER, name="ader-adeval50", source="another name of ader, with the bins in the name"),
    replace(
        _ADER,
        name="ader-grid",
        source="ADer without its GPU package: pixel AU-ROC and AP exact, F1-max and IoU-max from 21 thresholds, "
        "AU-PRO from 200 thresholds",
        pixel_curve="exact",
        pro="steps-from-minimum",
    ),
    Protocol(
        "diad",
        "DiAD's published code: eight 8x8 poolings, AU-ROC below 0.5 flipped, AU-PRO from 200 thresholds",
        score="pooled",
        pooling=(8,) * 8,
        mask_rule="diad",
        label_rule="mask",
        pro="steps",
        source_size=256,
        flip=True,
        metrics=(*SEVEN, "mad"),
    ),
    Protocol(
        "uniad",
        "UniAD's published code: one 16x16 pooling, AU-ROC below 0.5 flipped, AU-ROC only",
        score="pooled",
        pooling=(16,),
        mask_rule="uniad",
        label_rule="mask",
        source_size=224,
        flip=True,
        metrics=("i_auroc", "p_auroc"),
    ),
    Protocol(
        "mvtec",
        "MVTec's evaluation code: AU-PRO with a point for each distinct score, 8-connected, interpolated at 0.3; "
        "image score the maximum of the map",
        score="max",
    ),
    Protocol(
        "mvtec-ad-2",
        "MVTec AD 2: AU-PRO up to 0.05 besides 0.3, SegF1 and ClassF1 at mean + 3 standard deviations of normal images "
        "(validation images where the set has them); image score the maximum of the map",
        score="max",
        further=("aupro@0.05", "seg_f1@3sigma", "class_f1@3sigma"),
    ),
    _DINOMALY,
    replace(
        _DINOMALY,
        name="inp-former",
        source="INP-Former's published code: as Dinomaly's, but masks above one half, and pixel AU-ROC, AP and AU-PRO "
        "from ADEval's 200 bins",
        mask_rule="ader",
        pixel_curve="bins",
        pro="bins",
        bins=200,
    ),
    _ADEVAL,
    replace(_ADEVAL, name="adeval1000", source="the package ADEval with its default of 1000 bins", bins=1000),
)
