"""Names of metrics in tables, for all formats."""

from __future__ import annotations

from dataclasses import dataclass

from diadbench.benchmark.records.store import METRICS, is_metric, metric_info

#: the columns of DiAD's tables: the seven metrics, then their mean
SEVEN = ("i_auroc", "i_ap", "i_f1max", "p_auroc", "p_ap", "p_f1max", "aupro")
MAIN = (*SEVEN, "mad")
LEVELS = {"image": "Image", "pixel": "Pixel", "region": "Region", "sample": "Sample", "all": "Overall"}


@dataclass(frozen=True)
class Metric:
    """A metric as a column head.

    Attributes:
        key: ``i_auroc``.
        mean: Whether it is a mean over classes (``mAU-ROC_I``) instead of one class's value (``AU-ROC_I``).
    """

    key: str
    mean: bool = True

    @property
    def base(self) -> str:
        """Return the name without the level: ``mAU-ROC``."""
        if not is_metric(self.key):
            return self.key
        label = metric_info(self.key).label
        if self.key == "mad":
            return label
        name = label.rpartition("_")[0]
        return name if self.mean else name.removeprefix("m")

    @property
    def level(self) -> str:
        """Return the letter of the level (I, P, R or S), or ``""``."""
        return metric_info(self.key).label.rpartition("_")[2] if is_metric(self.key) and self.key != "mad" else ""

    @property
    def block(self) -> str:
        """Return the heading over the columns of one level: ``Image``, ``Pixel``, ..."""
        if self.key == "mad":
            return LEVELS["all"]
        return LEVELS.get(metric_info(self.key).level, "") if is_metric(self.key) else ""

    @property
    def text(self) -> str:
        """Return the plain name: ``mAU-ROC_I``."""
        return f"{self.base}_{self.level}" if self.level else self.base


def known_metrics(found: list[str]) -> list[str]:
    """Return the metric keys of ``found`` in the order of tables; unregistered ones come last."""
    return [key for key in METRICS if key in found] + [key for key in found if key not in METRICS]


def legend() -> str:
    """Return the legend: the meaning of the values, of bold and of underlined."""
    return "Values times 100; best bold, second best underlined, by the printed digit."


def _letter(number: int) -> str:
    """Convert 1 -> a, 26 -> z, 27 -> aa."""
    text = ""
    while number:
        number, rest = divmod(number - 1, 26)
        text = chr(97 + rest) + text
    return text


#: marks of sources of published rows
DAGGERS = ("\u2020", "\u2021", "\u00a7", "\u00b6")


def mark_text(mark: int) -> str:
    """Return a mark as printed: letters for notes (1, 2, ...), daggers for published sources (-1, -2, ...)."""
    if mark > 0:
        return _letter(mark)
    times, place = divmod(-mark - 1, len(DAGGERS))
    return DAGGERS[place] * (times + 1)


def marks_text(marks: tuple[int, ...]) -> str:
    """Return the marks of notes: ``a,c``."""
    return ",".join(mark_text(mark) for mark in sorted(set(marks), key=lambda mark: (mark < 0, abs(mark))))
