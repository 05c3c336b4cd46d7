"""PaDiM's Gaussians, batch by batch, are those of all embeddings at once."""

from __future__ import annotations

import pytest
import torch
from anomalib.models.components.stats import MultiVariateGaussian

from diadbench.methods.anomalib_models.running_gaussian import RunningGaussian


@pytest.mark.parametrize("batches", [[12], [5, 5, 2], [1] * 12])
def test_batches_make_the_gaussians_of_the_whole(batches: list[int]) -> None:
    embeddings = 50 + torch.randn(12, 6, 3, 4, generator=torch.Generator().manual_seed(0))
    running = RunningGaussian()
    for batch in embeddings.split(batches):
        running.append(batch)
    assert len(running) == 12
    mean, inverse = running.result()
    expected_mean, expected_inverse = MultiVariateGaussian().fit(embeddings)
    torch.testing.assert_close(mean, expected_mean, rtol=1e-6, atol=0)
    torch.testing.assert_close(inverse, expected_inverse, rtol=1e-3, atol=1e-3 * float(expected_inverse.abs().max()))


def test_one_image_has_no_covariance() -> None:
    running = RunningGaussian()
    running.append(torch.randn(1, 3, 2, 2))
    with pytest.raises(ValueError, match="two training images"):
        running.result()
