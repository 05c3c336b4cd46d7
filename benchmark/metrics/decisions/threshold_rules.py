"""Rules by which a threshold is set from scores of normal images alone. Imports nothing heavy.

A rule sees scores of normal training or validation images, and no label of a test image.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Literal

from diadbench.common.errors import UserError

_TEXT = re.compile(r"q(?P<level>0?\.\d+)|(?P<sigmas>\d+(?:\.\d+)?)sigma")


@dataclass(frozen=True)
class ThresholdRule:
    """A threshold computed from normal scores; an item is called anomalous if ``score > threshold``.

    Attributes:
        name: Name as it is written in a protocol: ``q0.99``, ``3sigma``.
        kind: ``quantile`` or ``sigma``.
        level: Level of the quantile in (0,1), interpolated linearly; or the number of standard deviations (of the
            population) above the mean.
    """

    name: str
    kind: Literal["quantile", "sigma"]
    level: float

    @property
    def words(self) -> str:
        """Return the rule in words for the header of a table."""
        if self.kind == "quantile":
            return f"{100 * self.level:g} % quantile of normal scores"
        return f"mean + {self.level:g} standard deviations of normal scores"


def threshold_rule(text: str) -> ThresholdRule:
    """Return the rule that ``text`` stands for: ``q0.99`` or ``3sigma``.

    Raises:
        UserError: Another text, or a level outside its range.
    """
    found = _TEXT.fullmatch(text)
    if not found:
        raise UserError(f"threshold rule {text!r}: expected a quantile as q0.99, or standard deviations as 3sigma")
    if found["level"]:
        level = float(found["level"])
        if not 0 < level < 1:
            raise UserError(f"threshold rule {text!r}: a quantile must lie between 0 and 1")
        return ThresholdRule(text, "quantile", level)
    if not math.isfinite(float(found["sigmas"])):
        raise UserError(f"threshold rule {text!r}: expected a finite number of standard deviations")
    return ThresholdRule(text, "sigma", float(found["sigmas"]))


#: The rules of the table of thresholds. MVTec's checker for MVTec AD 2 proposes mean + 3 standard deviations.
DECISION_RULES: tuple[ThresholdRule, ...] = tuple(map(threshold_rule, ("q0.95", "q0.99", "3sigma")))
