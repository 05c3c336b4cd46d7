"""Random numbers of a batch that don't depend on how its images are divided among devices and parts.

They are a function of (seed, batch, position in the batch): a process that has a share of a batch draws the numbers of
the whole batch and takes its own rows. So several devices, or parts of a batch, train with the numbers of one device.
A process that has the whole batch draws from torch's default generators as torch's own functions do, and so does
everything outside a training.

What torch draws inside its own operations (dropout) depends on the process.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Generator, Tensor


@dataclass
class _Share:
    """The share of the batch that is trained on now."""

    seed: int
    count: int
    rows: tuple[int, ...]
    generators: dict[torch.device, Generator] = field(default_factory=dict)

    def generator(self, device: torch.device) -> Generator:
        """Return the batch's generator on a device; it starts from the seed once per batch."""
        if device not in self.generators:
            self.generators[device] = Generator(device).manual_seed(self.seed)
        return self.generators[device]

    def own(self, whole: Tensor, dim: int = 0) -> Tensor:
        """Return this share's rows of what was drawn for the whole batch."""
        # a range or a list on the CPU would be copied, and waited for
        return torch.stack([whole.select(dim, row) for row in self.rows], dim)


_now: _Share | None = None


def begin_batch(seed: int, count: int, rows: tuple[int, ...]) -> None:
    """State which rows of the batch this process trains on next.

    Args:
        seed: Seed of the batch, the same for all its shares.
        count: Images of the whole batch.
        rows: Positions in the batch of this share.
    """
    global _now
    _now = None if rows == tuple(range(count)) else _Share(seed, count, rows)


def end_training() -> None:
    """State that no batch is divided any more."""
    global _now
    _now = None


def rows(count: int) -> tuple[int, ...]:
    """Return the positions in the whole batch of the ``count`` images at hand."""
    return tuple(range(count)) if _now is None else _now.rows


def normal(like: Tensor, *, dim: int = 0) -> Tensor:
    """Return Gaussian noise of unit variance with shape, type and device of ``like``; ``dim`` counts the images."""
    if _now is None:
        return torch.randn_like(like)
    # torch fills memory in its order, which for randn_like is that of the strides of its argument.
    strides = torch.empty_like(like).stride()
    order = sorted(range(like.dim()), key=lambda axis: -strides[axis])
    shape = [_now.count if axis == dim else like.shape[axis] for axis in order]
    whole = like.new_empty(shape).permute([order.index(axis) for axis in range(like.dim())])
    return _now.own(whole.normal_(generator=_now.generator(like.device)), dim)


def integers(high: int, count: int, device: torch.device) -> Tensor:
    """Return ``int64 (count,)`` from ``0 .. high-1`` on a device, one for each image."""
    if _now is None:
        return torch.randint(high, (count,), device=device)
    return _now.own(torch.randint(high, (_now.count,), device=device, generator=_now.generator(device)))


def number(high: int) -> int:
    """Return one number from ``0 .. high-1`` for the whole batch, drawn on the CPU."""
    generator = None if _now is None else _now.generator(torch.device("cpu"))
    return int(torch.randint(high, (), generator=generator))


def share() -> float:
    """Return one number from ``[0, 1)`` for the whole batch, drawn on the CPU."""
    generator = None if _now is None else _now.generator(torch.device("cpu"))
    return torch.rand((), generator=generator).item()
