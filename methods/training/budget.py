"""The length of a training, validated before any cell runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

from diadbench.common.errors import UserError, unknown_name

#: Precisions of training, by Lightning's names.
Precision = Literal["32-true", "16-mixed", "bf16-mixed"]


@dataclass(frozen=True)
class Budget:
    """How long and how a module is trained.

    Attributes:
        steps: Number of optimiser steps, at least 0; 0 trains nothing, and a note says so.
        batch_size: Images per batch, before accumulation, at least 1; several devices share them.
        accumulate: Number of batches whose gradients are summed for a step, at least 1.
        whole_epochs: Batches end with the epoch, and the last one may be smaller; else they run on into the next epoch.
        precision: Lightning's name: ``32-true``, ``bf16-mixed``, ``16-mixed``.
        clip: Maximum norm of all gradients together, above 0, or ``None``.
        checkpoint_minutes: Minutes between two checkpoints, at least 0 (before every step).
        called: Names of the method's options, if they differ from the names here, for messages.

    Raises:
        UserError: A value out of range.
    """

    steps: int
    batch_size: int
    accumulate: int = 1
    whole_epochs: bool = False
    precision: Precision = "32-true"
    clip: float | None = None
    checkpoint_minutes: float = 5.0
    called: Mapping[str, str] = field(default_factory=dict, compare=False, repr=False)

    def __post_init__(self) -> None:
        for name, least in (("steps", 0), ("batch_size", 1), ("accumulate", 1)):
            check_count(self._called(name), getattr(self, name), least)
        if self.precision not in get_args(Precision):
            raise unknown_name("precision of a training", str(self.precision), get_args(Precision))
        if self.clip is not None and not self.clip > 0:
            raise UserError(f"{self._called('clip')} is {self.clip}; expected a number above 0")
        check_minutes(self._called("checkpoint_minutes"), self.checkpoint_minutes)

    def _called(self, name: str) -> str:
        return self.called.get(name, name)


def check_count(name: str, value: object, least: int) -> None:
    """Raise UserError unless a value is a whole number of at least ``least``."""
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise UserError(f"{name} is {value}; expected a whole number from {least} on")


def check_minutes(name: str, value: float) -> None:
    """Raise UserError unless a time is 0 or more."""
    if not value >= 0:  # also refuses NaN
        raise UserError(f"{name} is {value}; expected 0 or more")
