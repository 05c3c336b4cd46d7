"""What a method and the evaluation see of a dataset: tensors, in batches."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Batch:
    """A batch of samples.

    Attributes:
        image: ``float32 (B,3,H,W)`` in [0,1] (RGB); 6 channels for methods that ask for ``xyz``.
        class_id: ``int64 (B,)``: position in :attr:`TrainData.class_names`.
        index: ``int64 (B,)``: row in the dataset's sample table.
        label: ``int64 (B,)`` 0/1. ``None`` in training data.
        mask: ``bool (B,H,W)``; ``None`` in training data and where the dataset has no masks.
    """

    image: Tensor
    class_id: Tensor
    index: Tensor
    label: Tensor | None = None
    mask: Tensor | None = None


class TrainData(torch.utils.data.Dataset[dict[str, Tensor]]):
    """Normal training images of one part, read from the decoded-image cache.

    As a torch dataset: ``data[i]`` is ``{"image": float32 (3,H,W) in [0,1], "class_id": int64 (), "index": int64 ()}``,
    so a torch ``DataLoader`` or Lightning works on it directly. :meth:`batches` is the fast way (whole batches
    straight from the memory map).

    Attributes:
        class_names: Names that class ids point to.
        class_ids: ``int64 (N,)`` CPU tensor.
        image_size: ``(H, W)``.
        fingerprint: Digest of the images in their order (files' contents, size, resize filter): a cache key.
    """

    class_names: tuple[str, ...]
    class_ids: Tensor
    image_size: tuple[int, int]
    fingerprint: str

    def __len__(self) -> int:
        raise NotImplementedError

    def __getitem__(self, i: int) -> dict[str, Tensor]:
        raise NotImplementedError

    def images(self, indices: Tensor | list[int]) -> Tensor:
        """Return ``float32 (n,3,H,W)`` in [0,1] of the given positions (0..N-1)."""
        raise NotImplementedError

    def batches(
        self, batch_size: int, *, shuffle: bool = False, seed: int = 0, drop_last: bool = False
    ) -> Iterator[Batch]:
        """Yield one epoch of batches on the CPU; with ``shuffle`` in an order fixed by ``seed``."""
        raise NotImplementedError
