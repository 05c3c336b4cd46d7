"""Images and masks for rows of a sample table, gathered from cached arrays."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from diadbench.common.cache.arrays import CachedArray, IntArray


@dataclass(frozen=True)
class Rows:
    """Place of each row of the sample table: its array, and its position in it; array -1 means none."""

    arrays: tuple[CachedArray, ...]
    array_of: IntArray
    position: IntArray

    def values(self, rows: IntArray) -> list[Any]:
        """Return the value stored with each row; ``None`` for a row without a place."""
        places = zip(self.array_of[rows].tolist(), self.position[rows].tolist())
        return [self.arrays[array].value(position) if array >= 0 else None for array, position in places]

    def gather(self, rows: IntArray) -> npt.NDArray[Any]:
        """Return a copy of the arrays of ``rows``, which must all have a place."""
        arrays, positions = self.array_of[rows], self.position[rows]
        if len(rows) and (arrays == arrays[0]).all():
            return self.arrays[int(arrays[0])].gather(positions)
        out = np.empty((len(rows), *self.arrays[0].shape[1:]), dtype=self.arrays[0].dtype)
        for i, (array, position) in enumerate(zip(arrays.tolist(), positions.tolist())):
            out[i] = self.arrays[array][position]
        return out


@dataclass(frozen=True)
class ImageStore:
    """Images of a sample table.

    Attributes:
        rgb: ``uint8 (3,H,W)`` per row.
        image_size: ``(H, W)``.
        xyz: ``float32 (3,H,W)`` per row, or ``None``.
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

    def kept(self, rows: IntArray) -> Tensor:
        """Return ``uint8 (n,3,H,W)``; with ``xyz``, the same as :meth:`read`, because its values are not bytes."""
        return torch.from_numpy(self.rgb.gather(rows)) if self.xyz is None else self.read(rows)


@dataclass(frozen=True)
class MaskStore:
    """Masks of a sample table, stored as :func:`packed` bits; rows without a mask are normal everywhere.

    Attributes:
        rows: Place of each row's mask.
        size: ``(H, W)`` of the masks.
    """

    rows: Rows
    size: tuple[int, int]

    def read(self, rows: IntArray) -> Tensor:
        """Return ``bool (n,H,W)``."""
        out = np.zeros((len(rows), *self.size), dtype=np.bool_)
        there = self.rows.array_of[rows] >= 0
        if there.any():
            bits = np.unpackbits(self.rows.gather(rows[there]), axis=1, count=out[0].size)
            out[there] = bits.reshape(-1, *self.size).view(np.bool_)
        return torch.from_numpy(out)


def packed(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.uint8]:
    """Return the pixels of a mask as bits, eight per byte."""
    return np.packbits(mask.reshape(-1))
