"""Features of the training images for a training: from the GPU if they fit, else from the cache."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from diadbench.methods.features.feature_cache import FeatureCache

#: Share of a GPU's free memory that features may use.
SHARE = 0.25
#: Number of images that are copied to the GPU at a time.
BLOCK = 256


class CachedFeatures:
    """Read features from the cache: float16 is copied, float32 returned. It can be sent to other processes."""

    def __init__(self, cache: FeatureCache) -> None:
        self._cache = cache

    def read(self, indices: Tensor) -> Tensor:
        """Return ``float16 (B,C,h,w)`` of positions ``int64 (B,)``, on the CPU."""
        return torch.from_numpy(self._cache.array.gather(np.asarray(indices)))

    def finish(self, batch: Tensor) -> Tensor:
        """Return ``float32 (B,C,h,w)``."""
        return batch.float()

    def __call__(self, indices: Tensor) -> Tensor:
        """Return ``float32 (B,C,h,w)`` of positions ``int64 (B,)``."""
        return self.finish(self.read(indices))


class ResidentFeatures:
    """All features on one GPU in half precision, from which batches are gathered.

    Args:
        cache: The features.
        device: The GPU.
    """

    #: Read in the training process, because a worker doesn't use the GPU.
    on_device = True

    def __init__(self, cache: FeatureCache, device: torch.device) -> None:
        self._table = torch.empty(cache.array.shape, dtype=torch.float16, device=device)
        for begin in range(0, len(cache), BLOCK):
            block = np.arange(begin, min(begin + BLOCK, len(cache)))
            rows = torch.from_numpy(cache.array.gather(block)).pin_memory()
            self._table[begin : begin + len(block)] = rows.to(device, non_blocking=True)

    def __call__(self, indices: Tensor) -> Tensor:
        """Return ``float32 (B,C,h,w)`` of positions ``int64 (B,)``, on the GPU."""
        chosen = indices.pin_memory().to(self._table.device, non_blocking=True)
        return self._table.index_select(0, chosen).float()


def features_for(cache: FeatureCache, device: torch.device, devices: int) -> CachedFeatures | ResidentFeatures:
    """Return the features in the form for a training on this device.

    Args:
        cache: The features.
        device: Device of the training.
        devices: Number of devices that train together; each would need all features.
    """
    if device.type != "cuda" or devices > 1:
        return CachedFeatures(cache)
    size = int(np.prod(cache.array.shape)) * 2
    free, _ = torch.cuda.mem_get_info(device)
    return ResidentFeatures(cache, device) if size <= SHARE * free else CachedFeatures(cache)
