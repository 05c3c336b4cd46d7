"""What goes along with a run, told of its beginning and of every change."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol


class Follower(Protocol):
    """What goes along with a run. Its calls come from the loop that drives the cells: they must not wait."""

    def begin(self, run: Path) -> str:
        """Be told that a run begins.

        Args:
            run: The run directory; its plan is written.

        Returns:
            A line for the user, or ``""``.
        """

    def changed(self) -> None:
        """Be told that a cell has begun or ended."""


class Nobody:
    """A :class:`Follower` that does nothing."""

    def begin(self, run: Path) -> str:
        """Return no line."""
        return ""

    def changed(self) -> None:
        """Do nothing."""
