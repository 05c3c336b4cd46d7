"""Images and masks for rows of a sample table, gathered from the shards of the cache."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from diadbench.datasets.decoding.cache import Shard

IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Rows:
    """Where each row of the sample table lies: shard and position in it; shard -1 is nowhere."""

    shards: tuple[Shard, ...]
    shard_of: IntArray
    position: IntArray

    def where(self, rows: IntArray) -> tuple[list[int], list[int]]:
        """Return shard and position of each row."""
        return self.shard_of[rows].tolist(), self.position[rows].tolist()

    def gather(self, rows: IntArray) -> npt.NDArray[Any]:
        """Return a copy of the arrays of ``rows``, which must all lie somewhere."""
        shards, positions = self.shard_of[rows], self.position[rows]
        if len(rows) and (shards == shards[0]).all():
            return np.asarray(self.shards[shards[0]].array[positions])
        shape = self.shards[0].shape[1:]
        out = np.empty((len(rows), *shape), dtype=self.shards[0].dtype)
        for i, (shard, position) in enumerate(zip(shards, positions)):
            out[i] = self.shards[shard].array[position]
        return out


@dataclass(frozen=True)
class ImageStore:
    """Images of a sample table.

    Attributes:
        rgb: ``uint8 (3,H,W)`` a row.
        image_size: ``(H, W)``.
        xyz: ``float32 (3,H,W)`` a row, or ``None``.
    """

    rgb: Rows
    image_size: tuple[int, int]
    xyz: Rows | None = None

    def read(self, rows: IntArray) -> Tensor:
        """Return ``float32 (n,3,H,W)`` in [0,1]; with ``xyz`` its three channels follow, in the file's units."""
        image = torch.from_numpy(self.rgb.gather(rows)).to(torch.float32).div_(255)
        if self.xyz is None:
            return image
        return torch.cat([image, torch.from_numpy(self.xyz.gather(rows))], dim=1)


@dataclass(frozen=True)
class MaskStore:
    """Masks of a sample table, kept as :func:`packed` bits; rows without a mask are normal everywhere.

    Attributes:
        rows: Where each row's mask lies.
        size: ``(H, W)`` of the masks.
    """

    rows: Rows
    size: tuple[int, int]

    def read(self, rows: IntArray) -> Tensor:
        """Return ``bool (n,H,W)``."""
        out = np.zeros((len(rows), *self.size), dtype=np.bool_)
        there = self.rows.shard_of[rows] >= 0
        if there.any():
            bits = np.unpackbits(self.rows.gather(rows[there]), axis=1, count=out[0].size)
            out[there] = bits.reshape(-1, *self.size).view(np.bool_)
        return torch.from_numpy(out)


def packed(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.uint8]:
    """Return the pixels of a mask as bits, eight in a byte."""
    return np.packbits(mask.reshape(-1))
