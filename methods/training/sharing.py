"""Division of a step's images: among processes that train together, and into parts if memory is short.

A step's images are those of the configuration, for any number of devices and parts. Gradients are means over the
shares. A share that is smaller than the others is weighted by its number of images, so the step's gradient is that of
the whole batch up to rounding.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import lightning.pytorch as pl
import torch
from torch import Tensor, nn

from diadbench.common.errors import UserError
from diadbench.methods.base import RunContext


@dataclass(frozen=True)
class Shares:
    """How a batch is divided.

    Attributes:
        world: Number of processes that train together.
        split: Number of parts of a process's share, which are computed one after another.
    """

    world: int = 1
    split: int = 1

    def check(self, batch_size: int) -> None:
        """Raise UserError if a batch has fewer images than there are processes."""
        if batch_size < self.world:
            raise UserError(
                f"devices: {self.world}, but a batch of the training has {batch_size} images, which the devices share; "
                f"lower devices to {batch_size} or less, or raise the method's batch_size"
            )

    def of(self, indices: Tensor, rank: int, part: int) -> Tensor:
        """Return the positions ``int64 (b,)`` of one part of a process's share.

        If there are more shares than images, a share without images takes the first image with weight 0.
        """
        mine = indices[rank :: self.world][part :: self.split]
        return mine if len(mine) else indices[:1]

    def rows(self, count: int, rank: int, part: int) -> tuple[int, ...]:
        """Return the positions in a batch of ``count`` images that :meth:`of` takes."""
        return tuple(self.of(torch.arange(count), rank, part).tolist())

    def weight(self, count: int, rank: int, part: int) -> float:
        """Return the factor on the mean loss of a share, for a batch of ``count`` images; 1 if all shares are equal."""
        mine = len(range(count)[rank :: self.world][part :: self.split])
        return mine * self.world * self.split / count

    def notes(self, module: nn.Module, *, on_gpu: bool) -> list[str]:
        """Return notes on how the training differed from that of one device with the whole batch.

        Args:
            module: What is trained.
            on_gpu: Whether the devices are GPUs, whose batch norms see the whole batch (``SyncBatchNorm``).
        """
        norms = any(isinstance(each, nn.modules.batchnorm._BatchNorm) for each in module.modules())
        found = []
        if self.world > 1:
            found.append(
                f"trained on {self.world} devices that share each batch: same images and noise a step as on one "
                "device, other dropout, sums in another order"
                + ("; batch norms see each device's share" if norms and not on_gpu else "")
            )
        if self.split > 1:
            found.append(
                f"training batches divided into {self.split} parts after a try was out of memory: same images a step, "
                f"same noise, other dropout{'; batch norms see the parts' if norms else ''}"
            )
        return found


def rank_and_world() -> tuple[int, int]:
    """Return this process's rank among those that train together, and their number."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        return torch.distributed.get_rank(), torch.distributed.get_world_size()
    return 0, 1


class WeightShares(pl.Callback):
    """Weight the gradient of a share that is smaller than the others.

    Args:
        shares: How batches are divided.
        count: ``count(batch)``: number of images of a batch, all shares together.
        accumulate: Number of parts and batches in a step.
    """

    def __init__(self, shares: Shares, count: Any, accumulate: int) -> None:
        self._shares, self._count, self._accumulate = shares, count, accumulate
        self._weight = 1.0

    def on_train_batch_start(self, trainer: pl.Trainer, module: pl.LightningModule, batch: Any, batch_idx: int) -> None:
        """Set the weight of the next share."""
        number = trainer.global_step * self._accumulate + batch_idx % self._accumulate
        whole, part = divmod(number, self._shares.split)
        self._weight = self._shares.weight(self._count(whole), trainer.global_rank, part)

    def on_before_backward(self, trainer: pl.Trainer, module: pl.LightningModule, loss: Tensor) -> None:
        """Weight the loss's gradient; the logged value remains the share's own mean."""
        weight = self._weight
        if weight != 1 and loss.requires_grad:
            loss.register_hook(lambda gradient: gradient * weight)  # type: ignore[no-untyped-call]


def add_notes(run: RunContext, shares: Shares, module: nn.Module) -> None:
    """Add a note on how the batches of a module's training were divided, once."""
    notes = shares.notes(module, on_gpu=run.device.type == "cuda")
    run.notes.extend(note for note in notes if note not in run.notes)
