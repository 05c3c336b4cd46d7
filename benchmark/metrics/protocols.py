"""Protocols: one exact set of metric conventions each, as small declared objects. Imports nothing heavy."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, fields, replace
from types import MappingProxyType
from typing import Literal

from diadbench.benchmark.metrics.names import SEVEN
from diadbench.common.errors import UserError, unknown_name

ScoreRule = Literal["method", "max", "pooled"]
MaskRule = Literal["nearest", "ader", "diad", "uniad"]
LabelRule = Literal["dataset", "mask"]
CurveRule = Literal["exact", "bins"]
ProRule = Literal["exact", "bins", "steps", "steps-from-minimum"]
F1Rule = Literal["exact", "grid", "none"]

_ALL = (*SEVEN, "p_ioumax", "mad", "s_auroc", "s_ap", "s_f1max")


@dataclass(frozen=True)
class Protocol:
    """What is computed from maps, masks, scores and labels, and by which rule.

    Attributes:
        name: Stamped on every row.
        source: Whose numbers these are.
        score: Image score: the method's own, the ``max`` of the map, or the ``max`` after average ``pooling``.
        pooling: Kernel sizes of the poolings, one after another, stride 1, no padding.
        mask_rule: How native masks become masks at evaluation size. The dataset's loader implements it:
            ``nearest`` (native ``>0``, then nearest), ``ader`` (native ``>0``, bilinear, ``>0.5``),
            ``diad`` (bilinear on the grey mask, then ``>0``), ``uniad`` (nearest, then ``>0``).
        label_rule: Image label: the dataset's, or "the evaluated mask has a pixel".
        image_curve: AU-ROC and AP of image scores: ``exact``, or from ``bins`` linear bins.
        pixel_curve: The same for pixels.
        f1: F1-max and IoU-max of pixels: ``exact``; or ``grid``: 21 thresholds on maps normalised over the class.
        pro: AU-PRO: ``exact``; ``bins``; ``steps`` (thresholds on a linear grid, FPR below the limit divided by its
            maximum, no interpolation); ``steps-from-minimum`` (the same, FPR rescaled from its minimum too).
        pro_limit: Largest false positive rate of AU-PRO.
        pro_steps: Number of thresholds for the ``steps`` rules.
        bins: Number of linear bins for the ``bins`` rules.
        source_size: Side in pixels of the square maps and masks that the source evaluates; ``None``: it has no size of
            its own. Nothing is resized by it: a grid's ``evaluation_size`` says at which size it is evaluated.
        flip: An AU-ROC below 0.5 is replaced by 1 - AU-ROC. It hides a method that is worse than chance.
        connectivity: Neighbourhood of the regions, 8 or 4. Every source uses 8.
        metrics: What the source computes; the others are withheld.
    """

    name: str
    source: str = ""
    score: ScoreRule = "method"
    pooling: tuple[int, ...] = ()
    mask_rule: MaskRule = "nearest"
    label_rule: LabelRule = "dataset"
    image_curve: CurveRule = "exact"
    pixel_curve: CurveRule = "exact"
    f1: F1Rule = "exact"
    pro: ProRule = "exact"
    pro_limit: float = 0.3
    pro_steps: int = 200
    bins: int = 50
    source_size: int | None = None
    flip: bool = False
    connectivity: Literal[4, 8] = 8
    metrics: tuple[str, ...] = field(default=_ALL)

    def __post_init__(self) -> None:
        if not 0 < self.pro_limit <= 1:
            raise UserError(f"protocol {self.name}: pro_limit must be above 0 and at most 1, found {self.pro_limit}")
        if self.connectivity not in (4, 8):
            raise UserError(f"protocol {self.name}: connectivity must be 8 or 4, found {self.connectivity}")
        if (self.score == "pooled") != bool(self.pooling) or any(kernel < 1 for kernel in self.pooling):
            raise UserError(f"protocol {self.name}: score 'pooled' needs kernel sizes in `pooling`, other rules none")
        if self.pro_steps < 2 or self.bins < 5:
            raise UserError(f"protocol {self.name}: pro_steps must be at least 2 and bins at least 5")
        unknown = [key for key in self.metrics if key not in _ALL]
        if unknown:
            raise unknown_name("metric", unknown[0], _ALL, where=f"protocol {self.name}")

    @property
    def binned(self) -> bool:
        """Whether any metric comes from linear bins."""
        return "bins" in (self.image_curve, self.pixel_curve, self.pro)

    def describe(self, size: tuple[int, int] | None = None) -> str:
        """Return the protocol as text: a line for each convention that is not the default, and the source.

        Args:
            size: ``(H, W)`` of the evaluation, which the text then states; ``None``: it is left to the caller's arrays.
        """
        lines = [f"{self.name}: {self.source}"]
        default = Protocol(name=self.name)
        for entry in fields(self):
            value = getattr(self, entry.name)
            if entry.name in ("score", "mask_rule", "label_rule", "f1", "pro", "pro_limit") or (
                entry.name not in ("name", "source") and value != getattr(default, entry.name)
            ):
                shown = " ".join(map(str, value)) if isinstance(value, tuple) else value
                lines.append(f"  {entry.name}: {shown}")
        return "\n".join([*lines, f"  evaluation_size: {_sized(size)}"])


def _sized(size: tuple[int, int] | None) -> str:
    """Say at which size maps and masks meet, and how they get there."""
    if size is None:
        return "that of the maps and masks that are given"
    return (
        f"{size[0]}x{size[1]} (height x width); a map of another size is resized to it (bilinear, align_corners=False) "
        "before anything else is computed from it, a mask by mask_rule from its native file"
    )


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

_LIST = (
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
    _ADEVAL,
    replace(_ADEVAL, name="adeval1000", source="the package ADEval with its default of 1000 bins", bins=1000),
)

#: All protocols by name. :func:`get_protocol` also takes ``NAME+max``, ``NAME+method`` and ``NAME+pooled16``.
PROTOCOLS: MappingProxyType[str, Protocol] = MappingProxyType({protocol.name: protocol for protocol in _LIST})

_SCORE = re.compile(r"(method|max|pooled(\d+)(?:x(\d+))?)")


def get_protocol(name: str | Protocol) -> Protocol:
    """Return the protocol that ``name`` stands for.

    ``NAME+RULE`` replaces the image score rule, because ADer sets it for each method: ``ader+pooled16`` is one 16x16
    pooling (UniAD and most), ``ader+pooled21`` DRAEM's, ``+pooled8x3`` three 8x8 poolings, ``exact+max`` the
    maximum of the map instead of the method's own score.

    Raises:
        UserError: No such protocol or rule.
    """
    if isinstance(name, Protocol):
        return name
    base, plus, rule = name.partition("+")
    if base not in PROTOCOLS:
        raise unknown_name("protocol", base, PROTOCOLS)
    if not plus:
        return PROTOCOLS[base]
    found = _SCORE.fullmatch(rule)
    if not found:
        raise UserError(f"protocol {name!r}: unknown score rule {rule!r}; expected method, max, pooled16 or pooled8x8")
    kernel, times = found.group(2), int(found.group(3) or 1)
    if kernel is None:
        return replace(PROTOCOLS[base], name=name, score=rule, pooling=())  # type: ignore[arg-type]
    return replace(PROTOCOLS[base], name=name, score="pooled", pooling=(int(kernel),) * times)
