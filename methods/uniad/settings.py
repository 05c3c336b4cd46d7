"""UniAD's settings: two presets, and the options that replace their values."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

from diadbench.common.errors import UserError, unknown_name
from diadbench.methods.training.lightning import Budget
from diadbench.methods.uniad.official import Padding

Preset = Literal["official", "ader"]


@dataclass(frozen=True)
class Settings:
    """All settings in which two published codes differ; all values are plain.

    Attributes:
        padding: Padding of strided convolutions in the backbone.
        neighbor_size: Side of the masked neighbourhood, in tokens.
        epochs: Budget in epochs, or ``None``.
        steps: Budget in steps, or ``None``.
        clip: Largest gradient norm.
        drop_last: Leave out an epoch's last, smaller batch.
        lr: Learning rate of AdamW.
        weight_decay: Of AdamW.
        lr_drop: Share of the budget after which the learning rate falls to a tenth.
        batch_size: Images a batch; several devices share them.
    """

    padding: Padding
    neighbor_size: int
    epochs: int | None
    steps: int | None
    clip: float
    drop_last: bool
    lr: float = 1e-4
    weight_decay: float = 1e-4
    lr_drop: float = 0.8
    batch_size: int = 8

    def budget(self, images: int, **options: Any) -> Budget:
        """Return the budget for so many images; ``options`` are further fields of :class:`Budget`.

        Without an epoch's last, smaller batch, full batches continue in the next epoch, so no step or image is lost.
        """
        batch = self.batch_size
        each = max(1, images // batch) if self.drop_last else -(-images // batch)
        steps = self.steps if self.steps is not None else (self.epochs or 0) * each // options.get("accumulate", 1)
        return Budget(max(1, steps), self.batch_size, whole_epochs=not self.drop_last, clip=self.clip, **options)


PRESETS: dict[str, Settings] = {
    # Their scheduler gets the epoch that has just ended, so the 800-epoch step takes effect after 801 of 1000.
    "official": Settings("official", 7, 1000, None, clip=0.1, drop_last=False, lr_drop=0.801),
    "ader": Settings("timm", 9, 100, None, clip=5.0, drop_last=True),
}


def resolve(preset: str, given: dict[str, Any]) -> Settings:
    """Apply given values (not ``None``) over a preset. A budget in steps replaces one in epochs.

    Raises:
        UserError: Unknown preset; both budgets; a value out of range.
    """
    if preset not in PRESETS:
        raise unknown_name("UniAD preset", preset, PRESETS)
    given = {key: value for key, value in given.items() if value is not None}
    if "steps" in given and "epochs" in given:
        raise UserError("uniad: both steps and epochs are set; set one of them")
    if "steps" in given:
        given["epochs"] = None
    settings = replace(PRESETS[preset], **given)
    for name in ("neighbor_size", "clip", "lr", "batch_size", "steps", "epochs"):
        if (value := getattr(settings, name)) is not None and value <= 0:
            raise UserError(f"uniad: {name} must be above 0, found {value}")
    if not 0 < settings.lr_drop <= 1:
        raise UserError(f"uniad: lr_drop is a share of the budget in (0, 1], found {settings.lr_drop}")
    return settings
