"""Nearest neighbours by brute force, in blocks of bounded memory."""

from __future__ import annotations

import torch
from torch import Tensor

#: Elements of the largest temporary (64 MiB in float32).
_BLOCK = 16_777_216


class Bank:
    """Reference vectors for a search.

    Matrix products find candidates for the neighbours of a query. The returned distances are computed from differences,
    so they are exact even where the product's digits cancel, and the same in any batch.

    Args:
        vectors: ``float32 (M, d)``, stored without a copy.
    """

    def __init__(self, vectors: Tensor) -> None:
        self.vectors = vectors
        self._centre = vectors.mean(0)  # Centred vectors lose fewer digits in a product.
        self._centred = vectors - self._centre
        self._offset = self._centred.square().sum(1)

    def __len__(self) -> int:
        return len(self.vectors)

    def nearest(self, queries: Tensor, k: int = 1) -> tuple[Tensor, Tensor]:
        """Return squared distances and positions, each ``(Q, min(k, M))``, nearest first.

        Args:
            queries: ``float32 (Q, d)`` on the bank's device.
            k: Number of neighbours.
        """
        k = min(k, len(self))
        columns = min(len(self), max(k, _BLOCK // 256))
        rows = max(1, _BLOCK // columns)
        found = [self._chunk(chunk, k, columns) for chunk in torch.split(queries, rows)]
        return torch.cat([squared for squared, _ in found]), torch.cat([positions for _, positions in found])

    def _chunk(self, queries: Tensor, k: int, columns: int) -> tuple[Tensor, Tensor]:
        centred = queries - self._centre
        best = centred.new_full((len(queries), 0), 0)
        positions = torch.empty_like(best, dtype=torch.int64)
        for begin in range(0, len(self), columns):
            block = slice(begin, begin + columns)
            partial = torch.addmm(self._offset[block], centred, self._centred[block].T, alpha=-2)
            values, where = _smallest(partial, min(k, partial.shape[1]))
            best, positions = torch.cat([best, values], 1), torch.cat([positions, where + begin], 1)
            if best.shape[1] > k:
                best, order = _smallest(best, k)
                positions = positions.gather(1, order)
        squared = torch.stack(
            [(queries - self.vectors[positions[:, i]]).square().sum(1) for i in range(positions.shape[1])], 1
        )
        squared, order = squared.sort(1)
        return squared, positions.gather(1, order)


def _smallest(values: Tensor, k: int) -> tuple[Tensor, Tensor]:
    if k == 1:
        smallest, where = values.min(1, keepdim=True)
        return smallest, where
    smallest, where = values.topk(k, largest=False)
    return smallest, where
