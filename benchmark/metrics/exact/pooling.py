"""Image scores from anomaly maps."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from diadbench.benchmark.metrics.protocols import Protocol
from diadbench.common.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor


def map_scores(maps: NDArray[Any], protocol: Protocol) -> NDArray[Any]:
    """Return ``(B,)`` image scores of ``(B,H,W)`` float maps: the maximum, after the protocol's poolings if it has any;
    under the rule ``top`` the mean of the highest pixels.

    Poolings run in the map's own precision, as the sources' do. ``method`` counts as ``max`` here.

    Raises:
        UserError: The maps are smaller than the poolings need.
    """
    if protocol.score == "pooled":
        import torch

        return np.asarray(pooled_scores(torch.tensor(maps), protocol).numpy())
    flat = maps.reshape(len(maps), -1)
    if protocol.score == "top":
        return _mean_of_top(flat, protocol.top)
    return np.asarray(flat.max(axis=1))


def _mean_of_top(flat: NDArray[Any], share: float) -> NDArray[np.float64]:
    """Return the mean of the highest ``floor(share * P)`` of ``(B,P)`` values, at least one; summed in float64."""
    pixels = flat.shape[1]
    count = max(1, int(pixels * share))
    if count == pixels:
        return np.asarray(flat.mean(axis=1, dtype=np.float64))
    highest = np.partition(flat, pixels - count, axis=1)[:, pixels - count :]
    return np.asarray(np.sort(highest, axis=1).mean(axis=1, dtype=np.float64))


def pooled_scores(maps: Tensor, protocol: Protocol) -> Tensor:
    """Return ``(B,)`` image scores of ``(B,H,W)`` float maps: the maximum after the protocol's poolings.

    They are computed on the maps' device in the maps' precision. A GPU's equal those of a CPU up to rounding.

    Raises:
        UserError: The maps are smaller than the poolings need.
    """
    from torch.nn.functional import avg_pool2d

    need = 1 + sum(kernel - 1 for kernel in protocol.pooling)
    if min(maps.shape[1:]) < need:
        raise UserError(
            f"protocol {protocol.name}: its poolings need maps of at least {need}x{need}, found "
            f"{maps.shape[1]}x{maps.shape[2]}; use larger maps, or {protocol.name.partition('+')[0]}+max"
        )
    pooled = maps[:, None]
    for kernel in protocol.pooling:
        pooled = avg_pool2d(pooled, kernel, stride=1)
    return pooled.flatten(1).amax(1)
