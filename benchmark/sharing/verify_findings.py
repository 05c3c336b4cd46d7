"""What a verification finds."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Finding:
    """One thing that is not as it should be.

    Attributes:
        kind: What is wrong: ``metric``, ``mean``, ``score``, ``map``, ``identity``, ``file``, ...
        text: In one line, with what was expected and what was found.
        cell: Labels of the cell; ``""`` where it is the run's.
    """

    kind: str
    text: str
    cell: str = ""

    def __str__(self) -> str:
        return f"{self.cell + ': ' if self.cell else ''}{self.kind}: {self.text}"


@dataclass
class Verified:
    """What came of a verification.

    Attributes:
        cells: How many cells were looked at.
        findings: What is wrong; empty where nothing is.
        unchecked: Why something could not be checked here -> the labels of those cells.
    """

    cells: int = 0
    findings: list[Finding] = field(default_factory=list)
    unchecked: dict[str, list[str]] = field(default_factory=dict)
