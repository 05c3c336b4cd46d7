"""A protocol: a declared object with one exact set of metric conventions. Imports nothing heavy."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Literal

from diadbench.benchmark.metrics.further.further_names import named
from diadbench.benchmark.metrics.names import SEVEN
from diadbench.common.errors import UserError, unknown_name

ScoreRule = Literal["method", "max", "pooled", "top"]
MaskRule = Literal["nearest", "ader", "diad", "uniad"]
LabelRule = Literal["dataset", "mask"]
CurveRule = Literal["exact", "bins"]
ProRule = Literal["exact", "bins", "steps", "steps-from-minimum"]
F1Rule = Literal["exact", "smoothed", "grid", "none"]

_ALL = (*SEVEN, "p_ioumax", "mad", "s_auroc", "s_ap", "s_f1max")


@dataclass(frozen=True)
class Protocol:
    """Conventions that define which metrics are computed from maps, masks, scores and labels, and how.

    Attributes:
        name: Name that every result row states.
        source: The code or paper whose numbers are reproduced.
        compare_size: Side in pixels of the square to which maps (bilinear, ``align_corners=False``) and masks (nearest)
            are resized before anything is computed from them; ``None``: they are compared at the size they come in.
        crop: Share of each side that is compared: the centre. 1: the whole image. Cut before ``compare_size``.
        blur: Kernel size in pixels (odd) and standard deviation of a Gaussian blur of the compared maps, padded with
            zeros; ``()``: none.
        score: Image score: the method's own, the ``max`` of the compared map, the ``max`` after average ``pooling``, or
            the mean of its ``top`` share of pixels.
        top: Share of pixels of the rule ``top``, above 0 and at most 1: ``floor(top * pixels)`` of them, at least one.
        pooling: Kernel sizes of the poolings, one after another, stride 1, no padding.
        mask_rule: How native masks become masks at evaluation size. The dataset's loader implements it:
            ``nearest`` (native ``>0``, then nearest), ``ader`` (native ``>0``, bilinear, ``>0.5``),
            ``diad`` (bilinear on the grey mask, then ``>0``), ``uniad`` (nearest, then ``>0``).
        label_rule: Image label: the dataset's, or "the evaluated mask has a pixel".
        image_curve: AU-ROC and AP of image scores: ``exact``, or from ``bins`` linear bins.
        pixel_curve: The same for pixels.
        f1: F1-max and IoU-max: ``exact``; ``smoothed``: exact thresholds, with 1e-7 added to precision + recall, of
            images too; ``grid``: 21 thresholds on maps normalised over the class.
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
        further: Additional metrics that are computed, by name: ``aupro@0.05``, ``aupimo``.
    """

    name: str
    source: str = ""
    compare_size: int | None = None
    crop: float = 1.0
    blur: tuple[int, float] | tuple[()] = ()
    score: ScoreRule = "method"
    pooling: tuple[int, ...] = ()
    top: float = 0.01
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
    further: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not 0 < self.pro_limit <= 1:
            raise UserError(f"protocol {self.name}: pro_limit must be above 0 and at most 1, found {self.pro_limit}")
        if self.connectivity not in (4, 8):
            raise UserError(f"protocol {self.name}: connectivity must be 8 or 4, found {self.connectivity}")
        self._check_comparison()
        if (self.score == "pooled") != bool(self.pooling) or any(kernel < 1 for kernel in self.pooling):
            raise UserError(f"protocol {self.name}: score 'pooled' needs kernel sizes in `pooling`, other rules none")
        if self.pro_steps < 2 or self.bins < 5:
            raise UserError(f"protocol {self.name}: pro_steps must be at least 2 and bins at least 5")
        unknown = [key for key in self.metrics if key not in _ALL]
        if unknown:
            raise unknown_name("metric", unknown[0], _ALL, where=f"protocol {self.name}")
        for key in self.further:
            named(key)

    def _check_comparison(self) -> None:
        if self.compare_size is not None and self.compare_size < 1:
            raise UserError(f"protocol {self.name}: compare_size must be at least 1, found {self.compare_size}")
        if not 0 < self.crop <= 1 or not 0 < self.top <= 1:
            raise UserError(f"protocol {self.name}: crop and top must be above 0 and at most 1")
        if self.blur and (self.blur[0] < 1 or self.blur[0] % 2 == 0 or not self.blur[1] > 0):
            raise UserError(
                f"protocol {self.name}: blur must be an odd kernel size and a positive standard deviation, "
                f"found {self.blur}"
            )

    @property
    def changes_maps(self) -> bool:
        """Whether maps and masks are cropped, resized or blurred before they are compared."""
        return self.crop < 1 or self.compare_size is not None or bool(self.blur)

    @property
    def comparison(self) -> tuple[object, ...]:
        """Return all settings that decide the compared map and its image score, to test two protocols for equality."""
        return self.crop, self.compare_size, self.blur, self.score, self.pooling, self.top

    def describe(self, size: tuple[int, int] | None = None) -> str:
        """Return the protocol as text: a line for each convention that is not the default, and the source.

        Args:
            size: ``(H, W)`` of the evaluation, which the text then states; ``None``: it is left to the caller's arrays.
        """
        lines = [f"{self.name}: {self.source}"]
        default = Protocol(name=self.name)
        for entry in fields(self):
            value = getattr(self, entry.name)
            if (
                entry.name in ("score", "mask_rule", "label_rule", "f1", "pro", "pro_limit")
                or (entry.name not in ("name", "source") and value != getattr(default, entry.name))
                or (entry.name == "top" and self.score == "top")
            ):
                shown = " ".join(map(str, value)) if isinstance(value, tuple) else value
                lines.append(f"  {entry.name}: {shown}")
        return "\n".join([*lines, f"  evaluation_size: {_sized(size)}"])


def _sized(size: tuple[int, int] | None) -> str:
    """Describe the size at which maps and masks are compared, and how they are resized to it."""
    if size is None:
        return "that of the maps and masks that are given"
    return (
        f"{size[0]}x{size[1]} (height x width); a map of another size is resized to it (bilinear, align_corners=False) "
        "before anything else is computed from it, a mask by mask_rule from its native file"
    )
