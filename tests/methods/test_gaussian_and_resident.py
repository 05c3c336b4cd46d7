"""The Gaussian as products of matrices is scipy's; features that are read ahead are those of the cache."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from diadbench.methods.authoring.small_data import small_train
from diadbench.methods.features.feature_cache import build_cache
from diadbench.methods.features.gaussian import blur
from diadbench.methods.training.resident import CachedFeatures, features_for


@pytest.mark.parametrize("size", [(64, 64), (30, 50), (7, 5)])
@pytest.mark.parametrize("sigma", [1.0, 4.0, 5.0])
def test_the_matrices_are_scipys_filter(size: tuple[int, int], sigma: float) -> None:
    maps = torch.rand(3, *size, dtype=torch.float64)
    expected = gaussian_filter(maps.numpy(), sigma=(0, sigma, sigma))
    np.testing.assert_allclose(blur(maps, sigma).numpy(), expected, rtol=1e-12, atol=1e-14)


def test_features_are_the_caches(tmp_path: Path) -> None:
    data, cpu = small_train(2, images=3), torch.device("cpu")
    cache = build_cache(lambda images: images[:, :, ::8, ::8], data, tmp_path, cpu)
    found = features_for(cache, cpu, devices=1)
    assert isinstance(found, CachedFeatures)
    chosen = torch.tensor([4, 0, 2])
    assert found.read(chosen).dtype == torch.float16
    assert torch.equal(found(chosen), cache.read(chosen))
