"""Metrics that are computed when they are asked for by name, with their parameters: ``aupro@0.05``, ``aupimo``."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from diadbench.benchmark.metrics.decisions.threshold_rules import threshold_rule
from diadbench.common.errors import UserError, unknown_name

Level = Literal["image", "pixel", "region", "sample"]
#: Parsed parameters of a metric: numbers, or the text of a threshold rule.
Parameters = tuple[float | str, ...]


@dataclass(frozen=True)
class Family:
    """A metric with its parameters left open.

    Attributes:
        stem: The name before ``@``.
        label: As papers print it.
        level: What is scored; it decides the letter after the label.
        parameters: Description of the text after ``@``, for messages.
        read: Converts the text after ``@`` to values; raises ValueError.
        default: Text that is used without ``@``; ``None``: a text is required.
        definition: What is computed, in one sentence.
        source: Who defined it.
        normal: Whether it needs scores of normal training or validation images.
    """

    stem: str
    label: str
    level: Level
    parameters: str
    read: Callable[[str], Parameters]
    default: str | None
    definition: str
    source: str
    normal: bool = False


@dataclass(frozen=True)
class Named:
    """A metric with its parameters: ``aupro@0.05``.

    Attributes:
        key: Key as the user wrote it.
        family: The metric.
        values: Its parameters.
    """

    key: str
    family: Family
    values: Parameters

    @property
    def label(self) -> str:
        """Return the label as papers print it, with the parameters if they were given."""
        given = self.key.partition("@")[2]
        return f"{self.family.label}@{given}" if given else self.family.label

    @property
    def level(self) -> Level:
        """Return the level of the scored items."""
        return self.family.level

    @property
    def letter(self) -> str:
        """Return the letter of the level: I, P, R or S."""
        return self.level[0].upper()


_NUMBER = r"\d*\.?\d+(?:e-?\d+)?"


def _number(text: str) -> float:
    if not re.fullmatch(_NUMBER, text):
        raise ValueError
    return float(text)


def _limit(text: str) -> Parameters:
    value = _number(text)
    if not 0 < value <= 1:
        raise ValueError
    return (value,)


def _rate(text: str) -> Parameters:
    value = _number(text)
    if not 0 < value < 1:
        raise ValueError
    return (value,)


def _bounds(text: str) -> Parameters:
    low, colon, high = text.partition(":")
    values = _number(low), _number(high)
    if not (colon and 0 < values[0] < values[1] <= 1):
        raise ValueError
    return values


def _rule(text: str) -> Parameters:
    return (threshold_rule(text).name,)


_LIMIT = "the largest false positive rate, above 0 and at most 1, as in aupro@0.05"
_BOUNDS = "two false positive rates, the smaller first, as in aupimo@1e-5:1e-4"
_SHARE = "a rate between 0 and 1, as in {}@0.05"
_RULE = "a quantile of normal scores as in {0}@q0.99, or standard deviations above their mean as in {0}@3sigma"
_PRESORTED = "arXiv 2503.23451"
_MVTEC = "MVTec AD 2 (arXiv 2503.21622) and the check script of its server"


def _presorted(letter: str, level: Level) -> list[Family]:
    good = Family(
        f"{letter}_pg",
        "PG",
        level,
        _SHARE.format(f"{letter}_pg"),
        _rate,
        "0.05",
        "share of normal items strictly below the quantile of the anomalous scores at the allowed miss rate",
        _PRESORTED,
    )
    bad = Family(
        f"{letter}_pb",
        "PB",
        level,
        _SHARE.format(f"{letter}_pb"),
        _rate,
        "0.05",
        "share of anomalous items strictly above the quantile of the normal scores at 1 - the allowed false alarms",
        _PRESORTED,
    )
    return [good, bad]


def _decided(stem: str, label: str, level: Level, definition: str, source: str) -> Family:
    text = f"{definition} above the threshold that the rule sets on normal training or validation images"
    return Family(stem, label, level, _RULE.format(stem), _rule, "3sigma", text, source, normal=True)


_FAMILIES = (
    Family(
        "aupro",
        "AU-PRO",
        "region",
        _LIMIT,
        _limit,
        None,
        "area under the per-region-overlap curve up to a false positive rate, divided by it",
        "Bergmann et al., IJCV 129 (2021), section 5",
    ),
    Family(
        "aupimo",
        "AUPIMO",
        "pixel",
        _BOUNDS,
        _bounds,
        "1e-5:1e-4",
        "mean over anomalous images of the area under recall over the logarithm of the normal images' false positive "
        "rate between two bounds",
        "Bertoldo et al., BMVC 2024 (arXiv 2401.01984); 300,000 thresholds as in the authors' code",
    ),
    *_presorted("i", "image"),
    *_presorted("p", "pixel"),
    _decided("class_f1", "ClassF1", "image", "F1 of the images", _MVTEC),
    _decided("seg_f1", "SegF1", "pixel", "F1 of the pixels of all images", _MVTEC),
    _decided("p_iou", "IoU", "pixel", "intersection over union of the pixels of all images", "Jaccard index"),
)

#: All metrics that are asked for by name, by the name before ``@``.
FAMILIES: MappingProxyType[str, Family] = MappingProxyType({family.stem: family for family in _FAMILIES})


def named(key: str) -> Named:
    """Return the metric that a name stands for.

    Raises:
        UserError: No such metric, a parameter is missing, or it is outside its range.
    """
    stem, sign, text = key.partition("@")
    if stem not in FAMILIES:
        raise unknown_name("metric", stem, FAMILIES)
    family = FAMILIES[stem]
    given = text if sign else family.default
    if given is None:
        raise UserError(f"metric {key!r}: expected {family.parameters}")
    try:
        return Named(key, family, family.read(given))
    except ValueError:
        raise UserError(f"metric {key!r}: expected {family.parameters}; found {given!r}") from None
