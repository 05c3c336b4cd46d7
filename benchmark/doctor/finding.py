"""What the doctor finds, and how it is told."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

State = Literal["ok", "note", "fail"]


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        part: ``software``, ``methods``, ``weights``, ``data``, ``numbers``, ``speed`` or ``cost``.
        name: What it is about, for example ``torch`` or ``mvtec``.
        state: ``fail``: the grid can't run here, or its figures would be wrong. ``note``: good to know.
        what: What was found, in one line.
        advice: What to do; ``""`` where nothing is to be done.
        values: The figures behind it, for programs.
    """

    part: str
    name: str
    state: State
    what: str
    advice: str = ""
    values: dict[str, Any] = field(default_factory=dict)

    def line(self) -> str:
        """Return the finding as one line."""
        text = f"{self.state:<4}  {self.part}: {self.name}: {self.what}"
        return " ".join(f"{text}; {self.advice}".split("\n")) if self.advice else text
