"""Peak GPU memory of a cell: of each of its cards, also where other processes train for it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch

from diadbench.common.files import write_text

#: Card -> peak in bytes of the processes that trained for this one and have ended.
_CHILDREN: dict[int, int] = {}


class TellPeak(pl.Callback):
    """Each of several processes writes the peak of its card, for the process that waits for them.

    Args:
        directory: Where; the processes share it.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def on_train_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Write it at the end of the training."""
        self._write(trainer)

    def on_exception(self, trainer: pl.Trainer, module: pl.LightningModule, exception: BaseException) -> None:
        """Write it where the training failed: then it matters most."""
        self._write(trainer)

    def _write(self, trainer: pl.Trainer) -> None:
        device = trainer.strategy.root_device
        if trainer.world_size == 1 or device.type != "cuda":
            return
        peak = {str(device.index or 0): int(torch.cuda.max_memory_allocated(device))}
        write_text(self._directory / f"gpu-peak-{trainer.global_rank}.json", json.dumps(peak))


def take_in(directory: Path) -> None:
    """Take in what the processes that trained here have written, and remove it."""
    for path in directory.glob("gpu-peak-*.json"):
        for card, peak in json.loads(path.read_text(encoding="utf-8")).items():
            _CHILDREN[int(card)] = max(_CHILDREN.get(int(card), 0), int(peak))
        path.unlink()


def peaks() -> dict[int, int]:
    """Return the peak in bytes that torch had allocated on each card, by this process or one that trained for it."""
    found: dict[int, int] = dict(_CHILDREN)
    if torch.cuda.is_available():
        for card in range(torch.cuda.device_count()):
            found[card] = max(found.get(card, 0), int(torch.cuda.max_memory_allocated(card)))
    return {card: peak for card, peak in sorted(found.items()) if peak}


def as_facts() -> dict[str, Any]:
    """Return the largest peak and that of each card, as ``peak_memory`` has them."""
    found = peaks()
    return {
        "gpu_bytes": max(found.values(), default=0),
        "gpu_bytes_by_card": {str(card): peak for card, peak in found.items()},
    }
