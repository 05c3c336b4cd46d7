"""How metrics are called in tables: one place for every format."""

from __future__ import annotations

from dataclasses import dataclass

from diadbench.benchmark.records.store import METRICS

#: the columns of DiAD's tables: the seven metrics, then their mean
SEVEN = ("i_auroc", "i_ap", "i_f1max", "p_auroc", "p_ap", "p_f1max", "aupro")
MAIN = (*SEVEN, "mad")
LEVELS = {"image": "Image", "pixel": "Pixel", "region": "Region", "sample": "Sample", "all": "Overall"}


@dataclass(frozen=True)
class Metric:
    """A metric as a column head.

    Attributes:
        key: ``i_auroc``.
        mean: A mean over classes (``mAU-ROC_I``), not one class's value (``AU-ROC_I``).
    """

    key: str
    mean: bool = True

    @property
    def base(self) -> str:
        """Name without the level: ``mAU-ROC``."""
        if self.key not in METRICS:
            return self.key
        name = METRICS[self.key].label.partition("_")[0]
        if self.key == "mad":
            return name
        return name if self.mean else name.removeprefix("m")

    @property
    def level(self) -> str:
        """Letter of the level (I, P, R or S), or ``""``."""
        return METRICS[self.key].label.partition("_")[2] if self.key in METRICS else ""

    @property
    def block(self) -> str:
        """Heading over the columns of one level: ``Image``, ``Pixel``, ..."""
        if self.key == "mad":
            return LEVELS["all"]
        return LEVELS.get(METRICS[self.key].level, "") if self.key in METRICS else ""

    @property
    def text(self) -> str:
        """Plain name: ``mAU-ROC_I``."""
        return f"{self.base}_{self.level}" if self.level else self.base


def known_metrics(found: list[str]) -> list[str]:
    """Return the metric keys of ``found`` in the order of the tables; what nobody registered comes last."""
    return [key for key in METRICS if key in found] + [key for key in found if key not in METRICS]


def legend() -> str:
    """Say what the values are and what bold and underlined mean."""
    return "Values times 100; best bold, second best underlined, by the printed digit."
