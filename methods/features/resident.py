"""Features of the training images on their way to a training: from the GPU where they fit, else from the cache."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from diadbench.methods.features.feature_cache import FeatureCache

#: Share of a GPU's free memory that features may take.
SHARE = 0.25
#: Images at a time on their way to the GPU.
BLOCK = 256


class CachedFeatures:
    """Reads features from the cache; half precision travels, float32 comes out. Other processes can be sent it."""

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
    """All features on one GPU, in half precision; a batch is a gather there.

    Args:
        cache: The features.
        device: The GPU.
    """

    #: Read in the process that trains: a worker has no use of its GPU.
    on_device = True

    def __init__(self, cache: FeatureCache, device: torch.device) -> None:
        self._table = torch.empty(cache.array.shape, dtype=torch.float16, device=device)
        for begin in range(0, len(cache), BLOCK):
            block = np.arange(begin, min(begin + BLOCK, len(cache)))
            self._table[begin : begin + len(block)] = torch.from_numpy(cache.array.gather(block)).to(device)

    def __call__(self, indices: Tensor) -> Tensor:
        """Return ``float32 (B,C,h,w)`` of positions ``int64 (B,)``, on the GPU."""
        chosen = indices.pin_memory().to(self._table.device, non_blocking=True)
        return self._table.index_select(0, chosen).float()


def features_for(cache: FeatureCache, device: torch.device, devices: int) -> CachedFeatures | ResidentFeatures:
    """Return the features as a training on this device gets them.

    Args:
        cache: The features.
        device: Where the training runs.
        devices: Number of devices that train together; each would need all features.
    """
    if device.type != "cuda" or devices > 1:
        return CachedFeatures(cache)
    size = int(np.prod(cache.array.shape)) * 2
    free, _ = torch.cuda.mem_get_info(device)
    return ResidentFeatures(cache, device) if size <= SHARE * free else CachedFeatures(cache)
