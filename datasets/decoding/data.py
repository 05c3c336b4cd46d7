"""The tensors of a dataset, in batches, for methods and for the evaluation."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from torch import Tensor

from diadbench.common.cache.arrays import IntArray
from diadbench.datasets.decoding.rows import ImageStore, MaskStore


@dataclass(frozen=True)
class Batch:
    """A batch of samples.

    Attributes:
        image: ``float32 (B,3,H,W)`` in [0,1] (RGB); 6 channels for methods that ask for ``xyz``.
        class_id: ``int64 (B,)``: position in :attr:`TrainData.class_names`.
        index: ``int64 (B,)``: row in the dataset's sample table.
        label: ``int64 (B,)`` 0/1. ``None`` in training data.
        mask: ``bool (B,H,W)``, whose size may differ from the image's; ``None`` in training data and where the dataset
            has no masks.
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
        class_names: Names of the class ids.
        class_ids: ``int64 (N,)`` CPU tensor.
        index: ``int64 (N,)`` CPU tensor: rows in the dataset's sample table.
        image_size: ``(H, W)``.
        fingerprint: Digest of the images in their order (files' contents, size, resize filter): a cache key.
    """

    class_names: tuple[str, ...]
    class_ids: Tensor
    index: Tensor
    image_size: tuple[int, int]
    fingerprint: str

    def __init__(
        self,
        store: ImageStore,
        *,
        class_names: tuple[str, ...],
        class_ids: IntArray,
        index: IntArray,
        fingerprint: str,
    ) -> None:
        """Args are those of the attributes; ``store`` provides the images for rows of the sample table."""
        self._store = store
        self.class_names = class_names
        self.class_ids = torch.from_numpy(np.array(class_ids, dtype=np.int64))
        self.index = torch.from_numpy(np.array(index, dtype=np.int64))
        self.image_size = store.image_size
        self.fingerprint = fingerprint

    def __len__(self) -> int:
        return len(self.index)

    def __getitem__(self, i: int) -> dict[str, Tensor]:
        if not -len(self) <= i < len(self):
            raise IndexError(f"{i}: the training images end at {len(self) - 1}")
        return {"image": self.images([i])[0], "class_id": self.class_ids[i], "index": self.index[i]}

    def images(self, indices: Tensor | list[int]) -> Tensor:
        """Return ``float32 (n,3,H,W)`` in [0,1] of the given positions (0..N-1)."""
        return self._store.read(self.index[torch.as_tensor(indices, dtype=torch.int64)].numpy())

    def kept(self, indices: Tensor | list[int]) -> Tensor:
        """Return the images of the given positions as they are stored: ``uint8 (n,3,H,W)`` if they are bytes.

        They need a quarter of the memory of :meth:`images` and are converted on the device:
        ``kept.to(torch.float32).div_(255)`` are the images. Images that are not bytes (6 channels) are ``float32``.
        """
        return self._store.kept(self.index[torch.as_tensor(indices, dtype=torch.int64)].numpy())

    def batches(
        self, batch_size: int, *, shuffle: bool = False, seed: int = 0, drop_last: bool = False
    ) -> Iterator[Batch]:
        """Yield one epoch of batches on the CPU; with ``shuffle`` in an order fixed by ``seed``."""
        order = torch.arange(len(self))
        if shuffle:
            order = torch.randperm(len(self), generator=torch.Generator().manual_seed(seed))
        for start in range(0, len(order), batch_size):
            chosen = order[start : start + batch_size]
            if drop_last and len(chosen) < batch_size:
                return
            yield Batch(self.images(chosen), self.class_ids[chosen], self.index[chosen])


class TestData:
    """Test samples of one part, in the order of the sample table: class by class.

    Attributes:
        class_names: Names of the class ids.
        table: Rows of the part in the sample table, with the index of the whole table.
        image_size: ``(H, W)``.
        has_masks: Whether batches carry masks.
    """

    __test__ = False  # tells pytest that this is no test class

    def __init__(
        self,
        store: ImageStore,
        masks: MaskStore | None,
        *,
        class_names: tuple[str, ...],
        table: pd.DataFrame,
        native_image: Callable[[str], npt.NDArray[np.uint8]],
        native_mask: Callable[[str], npt.NDArray[np.bool_]],
    ) -> None:
        """Args are those of the attributes; ``native_*`` read a path of the sample table."""
        self._store = store
        self._masks = masks
        self._native_image = native_image
        self._native_mask = native_mask
        self.class_names = class_names
        self.table = table
        self.image_size = store.image_size
        self.has_masks = masks is not None

    def __len__(self) -> int:
        return len(self.table)

    @cached_property
    def class_ids(self) -> Tensor:
        """Return ``int64 (N,)`` positions in :attr:`class_names`."""
        ids = {name: i for i, name in enumerate(self.class_names)}
        return torch.from_numpy(self.table["class"].map(ids).to_numpy(dtype=np.int64, copy=True))

    @cached_property
    def labels(self) -> Tensor:
        """Return ``int64 (N,)`` labels: 0 normal, 1 anomalous."""
        return torch.from_numpy(self.table["label"].to_numpy(dtype=np.int64, copy=True))

    def batches(self, batch_size: int, first: int = 0) -> Iterator[Batch]:
        """Yield all samples once. A batch holds one class only, and classes follow one another.

        Args:
            batch_size: Maximum number of samples in a batch.
            first: Position (0..N-1) of the first sample; those before it are left out.
        """
        rows = self.table.index.to_numpy(dtype=np.int64, copy=True)
        ids = self.class_ids.numpy()
        edges = [0, *(np.flatnonzero(np.diff(ids)) + 1).tolist(), len(ids)]
        for begin, last in itertools.pairwise(edges):
            for start in range(max(begin, first), last, batch_size):
                part = slice(start, min(start + batch_size, last))
                yield Batch(
                    self._store.read(rows[part]),
                    self.class_ids[part],
                    torch.from_numpy(rows[part]),
                    self.labels[part],
                    self._masks.read(rows[part]) if self._masks is not None else None,
                )

    def image(self, i: int) -> npt.NDArray[np.uint8]:
        """Return the ``i``-th image at its native size, ``uint8 (H,W,3)``, from its file."""
        return self._native_image(str(self.table["image"].iloc[i]))

    def mask(self, i: int) -> npt.NDArray[np.bool_] | None:
        """Return the ``i``-th mask at its native size, ``bool (H,W)``; ``None`` where there is no mask file."""
        path = str(self.table["mask"].iloc[i])
        return self._native_mask(path) if path else None
