"""DiAD's latents: encoded once, resumed, shared only where another cell can use them."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Any

import pytest
import torch

from diadbench.common.cache import shards
from diadbench.common.errors import UserError
from diadbench.methods.authoring.small_data import small_train
from diadbench.methods.base import RunContext
from diadbench.methods.diad import latents
from diadbench.methods.diad.config import SIZES
from diadbench.methods.diad.latents import CachedLatents, posteriors
from diadbench.methods.diad.method import DiAD
from diadbench.methods.diad.networks.model import DiADModel
from diadbench.methods.diad.reconstruct import normalise

TINY: dict[str, Any] = {
    "size": "tiny",
    "weights": "random",
    "train_steps": 1,
    "batch_size": 2,
    "accumulate": 1,
    "backbone": "tf_efficientnet_lite0",
    "backbone_weights": "package",
}


def settings(path: Path) -> RunContext:
    path.mkdir(parents=True, exist_ok=True)
    return RunContext(0, torch.device("cpu"), (64, 64), ("a", "b"), path / "scratch", path / "cache")


@pytest.fixture
def model() -> DiADModel:
    torch.manual_seed(0)
    return DiADModel(SIZES["tiny"]).eval()


@pytest.fixture
def encoded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many images each batch had that was encoded."""
    sizes: list[int] = []
    real = latents._encode
    monkeypatch.setattr(latents, "_encode", lambda model, images: sizes.append(len(images)) or real(model, images))
    return sizes


def test_they_are_the_posteriors(tmp_path: Path, model: DiADModel) -> None:
    train = small_train(2, images=3)
    found = CachedLatents(train, posteriors(model, train, settings(tmp_path)))(torch.tensor([4, 1]))
    with torch.no_grad():
        mean, logvar = model.encode(normalise(train.images([4, 1])))
    torch.testing.assert_close(found["mean"], mean)
    torch.testing.assert_close(found["logvar"], logvar)
    assert torch.equal(found["image"], train.images([4, 1]))


def test_a_killed_build_goes_on(
    tmp_path: Path, model: DiADModel, encoded: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(latents, "SHARD_IMAGES", 4)
    train, run = small_train(2, images=5), settings(tmp_path)

    def kill(done: int, total: int, what: str) -> None:
        if done == 6:
            raise KeyboardInterrupt

    run.progress = kill
    with pytest.raises(KeyboardInterrupt):
        posteriors(model, train, run, batch_size=2)
    encoded.clear()
    array = posteriors(model, train, settings(tmp_path), batch_size=2)
    assert sum(encoded) == 6, "four of ten were finished"
    whole = posteriors(model, train, settings(tmp_path / "whole"), batch_size=2)
    assert (array.gather(range(10)) == whole.gather(range(10))).all()


@pytest.mark.parametrize("steps", [0, 1])
def test_those_of_a_trained_autoencoder_stay_in_the_cell(
    tmp_path: Path, steps: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = settings(tmp_path)
    places: list[Path] = []
    real = latents.build

    def spy(plan: Any, progress: Any) -> Any:
        places.append(plan.directory)
        return real(plan, progress)

    monkeypatch.setattr(latents, "build", spy)
    DiAD(**TINY, autoencoder_steps=steps, autoencoder_batch_size=2, autoencoder_accumulate=1).fit(
        small_train(2, images=2), run
    )
    home = run.directory if steps else run.cache_dir
    assert [place.parent for place in places] == [home / "latents"]
    assert list(run.cache_dir.rglob("data.bin")) == ([] if steps else [places[0] / "data.bin"])
    assert not (run.directory / "latents").exists(), "after the training they only take space"


@pytest.mark.parametrize(("own", "remedy"), [(True, "--out"), (False, "DIADBENCH_CACHE")])
def test_a_full_disk_is_one_line(
    tmp_path: Path, model: DiADModel, monkeypatch: pytest.MonkeyPatch, own: bool, remedy: str
) -> None:
    def full(handle: int, size: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    train, run = small_train(1, images=2), settings(tmp_path)
    monkeypatch.setattr(shards, "reserve", full)
    with pytest.raises(UserError, match="disk full") as caught:
        posteriors(model, train, run, own=own)
    assert remedy in str(caught.value)
    assert "\n" not in str(caught.value)
    monkeypatch.undo()
    assert len(posteriors(model, train, run, own=own)) == 2


def test_the_key_knows_weights_images_and_arithmetic(model: DiADModel) -> None:
    train, other = small_train(2, images=2), small_train(2, images=3)
    cpu, gpu = torch.device("cpu"), torch.device("cuda")
    keys = {latents._key(model, train, cpu), latents._key(model, other, cpu), latents._key(model, train, gpu)}
    before = torch.backends.cuda.matmul.allow_tf32
    try:
        torch.backends.cuda.matmul.allow_tf32 = not before
        keys.add(latents._key(model, train, gpu))
    finally:
        torch.backends.cuda.matmul.allow_tf32 = before
    with torch.no_grad():
        next(model.vae.parameters()).add_(1)
    keys.add(latents._key(model, train, cpu))
    assert len(keys) == 5
