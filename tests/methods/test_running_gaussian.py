"""PaDiM's Gaussians, batch by batch, are those of all embeddings at once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from anomalib.models.components.stats import MultiVariateGaussian
from torch import Tensor

from diadbench.methods.anomalib_models import training_run
from diadbench.methods.anomalib_models.running_gaussian import RunningGaussian, keep_no_embeddings
from diadbench.methods.authoring.small_data import normal_images, small_train
from diadbench.methods.base import RunContext
from diadbench.methods.registry import get_class

IMAGES = 5


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


def gaussians(path: Path, name: str) -> tuple[list[Tensor], Tensor]:
    """Return what PaDiM kept after a fit on ten images, two at a time, and its maps of other images."""
    run = RunContext(0, torch.device("cpu"), (64, 64), ("a", "b"), path / "run", path / "cache")
    run.directory.mkdir(parents=True)
    torch.manual_seed(0)
    options = {"backbone": "resnet18", "weights": "random", "n_features": 8, "batch_size": 2}
    if name != "padim":
        options |= {"layers": ["layer1", "layer2", "layer3"], "pre_trained": False, "weights": "hub"}
    padim = get_class(name)(**options)
    padim.fit(small_train(2, images=IMAGES), run)
    inner: Any = vars(padim)["_model"].model  # PaDiM of anomalib, by either of our names
    assert len(inner.memory_bank) == 0
    found = [inner.gaussian.mean.clone(), inner.gaussian.inv_covariance.clone()]
    return found, padim.predict(normal_images(4, 0, size=64, seed=3)).anomaly_map


@pytest.mark.parametrize("name", ["padim", "anomalib:Padim"])
def test_a_padim_fitted_batch_by_batch_is_the_one_fitted_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """On a GPU it is fitted batch by batch (``tests/nullgpu``), on a CPU at once: here the GPU's way on a CPU."""
    expected, maps = gaussians(tmp_path / "all at once", name)
    train, append, added = training_run.train_model, RunningGaussian.append, []

    def by_batch(model: Any, *args: Any, **options: Any) -> None:
        keep_no_embeddings(model.model)
        train(model, *args, **options)

    def counted(self: RunningGaussian, embeddings: Tensor) -> None:
        append(self, embeddings)
        added.append(len(embeddings))
        own = [value for value in vars(self).values() if isinstance(value, Tensor)]
        channels, positions = embeddings.shape[1], embeddings.shape[2] * embeddings.shape[3]
        assert sum(map(Tensor.numel, own)) == positions * channels * (channels + 1), "a mean and a covariance, no more"

    monkeypatch.setattr(training_run, "train_model", by_batch)
    monkeypatch.setattr(RunningGaussian, "append", counted)
    found, found_maps = gaussians(tmp_path / "batch by batch", name)
    assert added == [2] * IMAGES
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-3 * float(other.abs().max()))
    torch.testing.assert_close(found_maps, maps, rtol=1e-3, atol=1e-3 * float(maps.max()))
