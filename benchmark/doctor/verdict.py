"""What the findings come to: whether this machine computes rightly, and what the grid still needs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from diadbench.benchmark.doctor.finding import Finding
from diadbench.common.wording import counted

#: Parts that say whether the machine computes rightly, whatever the grid; all others say what the grid needs.
OF_THE_MACHINE = ("software", "numbers", "speed")


@dataclass(frozen=True)
class Verdict:
    """What the findings come to.

    Attributes:
        grid: Name of the grid.
        wrong: Failures of the machine: software, golden numbers, trials of the methods.
        missing: Failures of the grid alone: weights, data, methods that can't be had, what won't fit.
        untried: Methods whose trial didn't come to its end, or wasn't begun.
    """

    grid: str
    wrong: Sequence[Finding]
    missing: Sequence[Finding]
    untried: Sequence[Finding]

    @classmethod
    def of(cls, grid: str, findings: Iterable[Finding]) -> Verdict:
        """Return the verdict on findings."""
        found = list(findings)
        failed = [each for each in found if each.state == "fail"]
        wrong = [each for each in failed if each.part in OF_THE_MACHINE]
        untried = [each for each in found if each.part == "speed" and each.state == "note"]
        return cls(grid, wrong, [each for each in failed if each.part not in OF_THE_MACHINE], untried)

    def lines(self) -> list[str]:
        """Return the verdict: a sentence on the machine, one on the grid, then a line for each thing to do."""
        return [self._machine(), *_todo(self.wrong), self._grid(), *_todo(self.missing)]

    def _machine(self) -> str:
        if self.wrong:
            return f"this machine: {counted(len(self.wrong), 'thing')} wrong; mend first:"
        rest = f", but not all of {_names(self.untried)} was timed" if self.untried else ""
        return f"this machine: computes rightly{rest}"

    def _grid(self) -> str:
        if self.missing:
            return f"grid {self.grid}: still needs {counted(len(self.missing), 'thing')}:"
        return f"grid {self.grid}: " + ("nothing else is missing" if self.wrong else "can run here")


def _names(findings: Sequence[Finding]) -> str:
    return ", ".join(each.name for each in findings)


def _todo(findings: Sequence[Finding]) -> list[str]:
    """Return a line for each finding; equal advice once."""
    told: dict[str, list[str]] = {}
    for each in findings:
        told.setdefault(each.advice or each.what, []).append(f"{each.part} of {each.name}")
    return [f"  {', '.join(names)}: {' '.join(advice.split())}" for advice, names in told.items()]
