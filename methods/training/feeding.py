"""Feed the images of a training to the device: batches are read and copied ahead, and converted on the device.

Batch ``i`` is a function of (seed, ``i``) alone, so it is the same for any number of workers, and a resumed training
sees the same batches as an uninterrupted one. On a GPU, workers read batches into pinned memory, copies are
asynchronous, and images stay ``uint8`` until they are there. On a CPU, batches are made on demand.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor
from torch.utils._pytree import tree_map

from diadbench.methods.features.stored_images import as_float, kept
from diadbench.methods.training.sharing import Shares, rank_and_world

if TYPE_CHECKING:
    from diadbench.datasets.decoding.data import TrainData

#: ``fetch(indices) -> batch``: the argument of ``training_step`` for positions ``int64 (B,)`` of the training data.
Fetch = Callable[[Tensor], Any]
#: Number of processes that read batches ahead for a training on a GPU.
WORKERS = 2


@runtime_checkable
class TwoPartFetch(Protocol):
    """A fetch in two parts: reading, and conversion on the device. A call does both."""

    def read(self, indices: Tensor) -> Any:
        """Return the data that are read for positions ``int64 (B,)``: small CPU tensors."""

    def finish(self, batch: Any) -> Any:
        """Return the batch for ``training_step`` from the data that were read, on their device."""

    def __call__(self, indices: Tensor) -> Any:
        """Return the batch of positions ``int64 (B,)``."""


@runtime_checkable
class PlacedFetch(TwoPartFetch, Protocol):
    """A fetch with random choices, which depend on an image's batch and its position in it alone."""

    def read_at(self, indices: Tensor, batch: int, rows: tuple[int, ...]) -> Any:
        """Return what :meth:`read` returns, for images that are these ``rows`` of a batch."""


class BatchOrder:
    """The images of batch ``i`` as a function of (seed, i) alone. Each epoch is a permutation of all images.

    Args:
        count: Number of images.
        batch_size: Images a batch.
        seed: Seed of the permutations.
        whole_epochs: Batches end with the epoch, and the last one may be smaller.
    """

    def __init__(self, count: int, batch_size: int, seed: int, *, whole_epochs: bool = False) -> None:
        self.count, self.batch_size, self.seed, self.whole_epochs = count, batch_size, seed, whole_epochs
        self._epoch = -1
        self._order = torch.zeros(0, dtype=torch.int64)

    def __call__(self, batch: int) -> Tensor:
        """Return the positions ``int64 (B,)`` of a batch."""
        if self.whole_epochs:
            each = -(-self.count // self.batch_size)
            start = batch % each * self.batch_size
            return self._permutation(batch // each)[start : start + self.batch_size]
        places = range(batch * self.batch_size, (batch + 1) * self.batch_size)
        return torch.stack([self._permutation(place // self.count)[place % self.count] for place in places])

    def size(self, batch: int) -> int:
        """Return the number of images of a batch."""
        if not self.whole_epochs:
            return self.batch_size
        each = -(-self.count // self.batch_size)
        return min(self.batch_size, self.count - batch % each * self.batch_size)

    def _permutation(self, epoch: int) -> Tensor:
        if epoch != self._epoch:
            generator = torch.Generator().manual_seed(mix(self.seed, epoch))
            self._epoch, self._order = epoch, torch.randperm(self.count, generator=generator)
        return self._order


def mix(*numbers: int) -> int:
    """Combine several numbers into one 63-bit seed."""
    return int(
        np.random.SeedSequence([number & (2**63 - 1) for number in numbers]).generate_state(1, np.uint64)[0] >> 1
    )


class Images:
    """The default fetch: images with their class ids and positions. A class, so that it can be sent to processes."""

    def __init__(self, train: TrainData) -> None:
        self._train = train

    def read(self, indices: Tensor) -> dict[str, Tensor]:
        """Return the images as they are stored, with their class ids and positions."""
        train = self._train
        return {"image": kept(train, indices), "class_id": train.class_ids[indices], "index": indices}

    def finish(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Convert the images to ``float32`` in [0,1]."""
        return {**batch, "image": as_float(batch["image"])}

    def __call__(self, indices: Tensor) -> dict[str, Tensor]:
        """Return the batch of positions ``int64 (B,)``."""
        return self.finish(self.read(indices))


class ImagesAlone:
    """Images without their class ids."""

    def __init__(self, train: TrainData) -> None:
        self._train = train

    def read(self, indices: Tensor) -> Tensor:
        """Return the images as they are stored."""
        return kept(self._train, indices)

    def finish(self, batch: Tensor) -> Tensor:
        """Convert the images to ``float32`` in [0,1]."""
        return as_float(batch)

    def __call__(self, indices: Tensor) -> Tensor:
        """Return ``float32 (B,3,H,W)`` in [0,1] of positions ``int64 (B,)``."""
        return self.finish(self.read(indices))


@dataclass(frozen=True)
class _Items(torch.utils.data.Dataset[Any]):
    """Part ``i`` of a process's batches, as a map-style dataset whose items are whole batches."""

    order: BatchOrder
    read: Callable[..., Any]
    shares: Shares
    rank: int
    #: Whether ``read`` is that of a :class:`PlacedFetch`.
    placed: bool = False

    def __getitem__(self, number: int) -> Any:
        batch, part = divmod(number, self.shares.split)
        indices = self.order(batch)
        mine = self.shares.of(indices, self.rank, part)
        at = (batch, self.shares.rows(len(indices), self.rank, part)) if self.placed else ()
        return self.read(mine, *at)


class Feeder:
    """The batches of a training from a given one on, for this process. It can be sent to other processes.

    Args:
        order: Which images make up a batch.
        fetch: Function that makes a batch.
        shares: How batches are divided among processes.
        first: Number of the first part.
        last: Number after the last part.
        on_gpu: Whether the training runs on a GPU, for which batches are read ahead.
    """

    def __init__(self, order: BatchOrder, fetch: Fetch, shares: Shares, first: int, last: int, *, on_gpu: bool) -> None:
        self._order, self._fetch, self._shares = order, fetch, shares
        self._first, self._last, self._on_gpu = first, last, on_gpu

    def __iter__(self) -> Iterator[Any]:
        rank, _ = rank_and_world()
        if not self._on_gpu:
            items = _Items(self._order, self._fetch, self._shares, rank)
            yield from (items[number] for number in range(self._first, self._last))
            return
        device = torch.device("cuda", torch.cuda.current_device())
        fetch = self._fetch
        if not isinstance(fetch, TwoPartFetch):
            yield from sent_ahead(self._loader(fetch, rank), device)
            return
        read = fetch.read_at if isinstance(fetch, PlacedFetch) else fetch.read
        for batch in sent_ahead(self._loader(read, rank), device):
            yield fetch.finish(batch)

    def _loader(self, read: Callable[..., Any], rank: int) -> Iterator[Any]:
        """Read batches in workers into pinned memory."""
        items = _Items(self._order, read, self._shares, rank, placed=isinstance(self._fetch, PlacedFetch))
        workers = 0 if getattr(self._fetch, "on_device", False) else WORKERS
        loader: torch.utils.data.DataLoader[Any] = torch.utils.data.DataLoader(
            items,
            sampler=range(self._first, self._last),
            batch_size=None,
            num_workers=workers,
            pin_memory=workers > 0,
            prefetch_factor=4 if workers else None,
        )
        return iter(loader)


def sent_ahead(batches: Iterator[Any], device: torch.device) -> Iterator[Any]:
    """Yield batches on the device; the next one is copied while one is used."""
    ahead: Any = None
    for batch in batches:
        sent = tree_map(lambda value: _sent(value, device), batch)
        if ahead is not None:
            yield ahead
        ahead = sent
    if ahead is not None:
        yield ahead


def _sent(value: Any, device: torch.device) -> Any:
    return value.to(device, non_blocking=True) if isinstance(value, Tensor) else value
