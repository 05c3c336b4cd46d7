"""How long a network is trained, checked at once: a budget that can't be meant is one line before any cell runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

from diadbench.common.errors import UserError, unknown_name

#: What networks compute in while they are trained, by Lightning's names.
Precision = Literal["32-true", "16-mixed", "bf16-mixed"]


@dataclass(frozen=True)
class Budget:
    """How long and how a module is trained.

    Attributes:
        steps: Optimiser steps, from 0 on; 0 trains nothing, which a note says.
        batch_size: Images a batch, before accumulation; several devices share them; from 1 on.
        accumulate: Batches whose gradients are summed up for a step; from 1 on.
        whole_epochs: Batches end with the epoch, the last one may be smaller; otherwise they run on into the next.
        precision: Lightning's name: ``32-true``, ``bf16-mixed``, ``16-mixed``.
        clip: Largest norm of all gradients together, above 0, or ``None``.
        checkpoint_minutes: Minutes between two checkpoints, from 0 (before every step) on.
        called: What the method's options are called that have other names here, for messages.

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
        if not self.checkpoint_minutes >= 0:  # a NaN isn't either
            raise UserError(f"{self._called('checkpoint_minutes')} is {self.checkpoint_minutes}; expected 0 or more")

    def _called(self, name: str) -> str:
        return self.called.get(name, name)


def check_count(name: str, value: object, least: int) -> None:
    """Raise UserError unless a value is a whole number from ``least`` on."""
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise UserError(f"{name} is {value}; expected a whole number from {least} on")
