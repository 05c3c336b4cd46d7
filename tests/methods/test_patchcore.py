"""PatchCore: its parts against the authors' steps and anomalib's model, its scratch files, its options."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional

from diadbench.common.cache import shards
from diadbench.common.errors import UserError
from diadbench.methods.authoring.small_data import anomalous_images, normal_images, small_train
from diadbench.methods.base import RunContext
from diadbench.methods.patchcore import patches as patchcore_store
from diadbench.methods.patchcore.method import PatchCore
from diadbench.methods.patchcore.patch_features import concat, official, smooth, smooth_nearest

LITE0: dict[str, Any] = {"backbone": "tf_efficientnet_lite0", "weights": "package"}
SMALL: dict[str, Any] = {**LITE0, "embedding": "concat", "ratio": 0.2}


def settings(tmp_path: Path, **changes: Any) -> RunContext:
    values: dict[str, Any] = {
        "seed": 0,
        "device": torch.device("cpu"),
        "image_size": (64, 64),
        "class_names": ("stripes0", "stripes1"),
        "directory": tmp_path,
        "cache_dir": tmp_path / "cache",
    }
    return RunContext(**{**values, **changes})


def authors_way(maps: list[torch.Tensor], dimension: int) -> torch.Tensor:
    """patchify, enlarge for each channel and offset, pool: in the order of the authors' code."""
    grid = maps[0].shape[2:]
    pooled = []
    for level in maps:
        b, _, h, w = level.shape
        patches = functional.unfold(level, 3, padding=1).view(b, -1, h, w)
        patches = functional.interpolate(patches, grid, mode="bilinear", align_corners=False)
        rows = patches.permute(0, 2, 3, 1).reshape(b * grid[0] * grid[1], 1, -1)
        pooled.append(functional.adaptive_avg_pool1d(rows, dimension)[:, 0])
    stacked = torch.stack(pooled, 1).reshape(len(pooled[0]), 1, -1)
    return functional.adaptive_avg_pool1d(stacked, dimension)[:, 0].view(len(maps[0]), *grid, dimension)


def test_official_embedding_is_the_authors() -> None:
    torch.manual_seed(0)
    maps = [torch.randn(2, 20, 6, 6), torch.randn(2, 48, 3, 3)]
    torch.testing.assert_close(official(maps, 32).permute(0, 2, 3, 1), authors_way(maps, 32))


def anomalib_model(bank: torch.Tensor, neighbours: int) -> Any:
    from anomalib.models.image.patchcore.torch_model import PatchcoreModel

    model = PatchcoreModel(
        ["blocks.2", "blocks.4"], "tf_efficientnet_lite0", pre_trained=False, num_neighbors=neighbours
    )
    model.memory_bank = bank
    return model.eval()


def test_anomalib_preset_equals_anomalibs_model(tmp_path: Path) -> None:
    method = PatchCore(**SMALL, squared=False, reweight=9, upsampling="nearest")
    method.fit(small_train(2), settings(tmp_path))
    assert method._bank is not None
    assert method._network is not None
    model = anomalib_model(method._bank.vectors, 9)
    weights = method._network.network.state_dict()
    theirs = model.feature_extractor.feature_extractor
    theirs.load_state_dict({key: weights[key] for key in theirs.state_dict()})
    images = anomalous_images(3, 0)[0]
    with torch.no_grad():
        expected = model((images - 0.5) / 0.5)
    found = method.predict(images)
    torch.testing.assert_close(found.score, expected.pred_score, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(found.anomaly_map, expected.anomaly_map[:, 0], rtol=1e-4, atol=1e-3)


def test_official_map_is_interpolated_and_blurred_as_by_scipy() -> None:
    scores = torch.zeros(1, 4, 4)
    scores[0, 1, 1] = 1
    enlarged = smooth(scores, (32, 32), 0)
    assert enlarged.max() <= 1
    blurred = smooth(scores, (32, 32), 4.0)
    assert blurred.sum() == pytest.approx(float(enlarged.sum()), rel=0.02)
    assert blurred.max() < enlarged.max()


def test_nearest_map_is_anomalibs() -> None:
    from anomalib.models.image.patchcore.anomaly_map import AnomalyMapGenerator

    scores = torch.rand(2, 8, 8, generator=torch.Generator().manual_seed(0))
    expected = AnomalyMapGenerator()(scores[:, None], (64, 64))[:, 0]
    torch.testing.assert_close(smooth_nearest(scores, (64, 64), 4.0), expected, rtol=1e-4, atol=1e-6)


def test_concat_is_anomalibs_embedding() -> None:
    torch.manual_seed(0)
    maps = [torch.randn(2, 5, 8, 8), torch.randn(2, 7, 4, 4)]
    model = anomalib_model(torch.zeros(1, 12), 1)
    pooled = {f"blocks.{i}": model.feature_pooler(level) for i, level in zip((2, 4), maps)}
    torch.testing.assert_close(concat(maps, 0), model.generate_embedding(pooled))


@pytest.mark.parametrize("preset", ["official", "concat"])
def test_finds_blots_and_says_how_it_covered(preset: str, tmp_path: Path) -> None:
    run = settings(tmp_path)
    method = PatchCore(**{**SMALL, "embedding": preset, "dimension": 64})
    method.fit(small_train(2), run)
    assert run.extras["patches"] == 16 * 64
    assert run.extras["coreset_size"] == int(0.2 * 16 * 64)
    assert 0 < run.extras["coverage_radius_999"] <= run.extras["coverage_radius"]
    images, masks = anomalous_images(6, 1)
    found = method.predict(images)
    assert found.score.min() > method.predict(normal_images(6, 1, seed=8)).score.max()
    assert found.anomaly_map[masks].mean() > 2 * found.anomaly_map[~masks].mean()


def test_budget_limits_the_bank(tmp_path: Path) -> None:
    run = settings(tmp_path)
    PatchCore(**SMALL, budget=10).fit(small_train(1, images=2), run)
    assert run.extras["coreset_size"] == 10


class Killed(Exception):
    pass


@pytest.mark.parametrize("phase", ["images", "coreset", "selected patches"])
def test_a_killed_fit_goes_on_from_its_files(phase: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patchcore_store, "SHARD_IMAGES", 4)
    train = small_train(2)
    whole = PatchCore(**SMALL)
    whole.fit(train, settings(tmp_path / "whole"))

    def kill(done: int, total: int, what: str) -> None:
        if what == phase and done * 2 >= total:
            raise Killed

    with pytest.raises(Killed):
        PatchCore(**SMALL).fit(train, settings(tmp_path / "killed", progress=kill))
    seen: list[tuple[str, int]] = []
    again = PatchCore(**SMALL)
    again.fit(train, settings(tmp_path / "killed", progress=lambda done, total, what: seen.append((what, done))))
    projected = [done for what, done in seen if what == "images"]
    assert projected == ([8, 12, 16] if phase == "images" else []), "of 16 images a shard of 4 was finished"
    images = anomalous_images(2, 0)[0]
    assert torch.equal(whole.predict(images).score, again.predict(images).score)


def test_scratch_of_other_options_is_not_taken_up(tmp_path: Path) -> None:
    train = small_train(1, images=4)
    for options in ({"ratio": 0.1}, {"ratio": 0.2}, {"levels": (2,)}, {"projection": 32}):
        run = settings(tmp_path)
        PatchCore(**{**SMALL, **options}).fit(train, run)
        assert run.extras["coreset_size"] == int(options.get("ratio", 0.2) * 256)


def projected(directory: Path, images: int = 4) -> patchcore_store.Patches:
    generator = torch.Generator().manual_seed(0)
    data = torch.randn(images, 20, 300, generator=generator) + 50
    return patchcore_store.project_patches(
        lambda chosen: data[chosen],
        images,
        dimension=8,
        seed=0,
        batch_size=2,
        directory=directory,
        progress=lambda done, total: None,
    )


def test_patches_read_as_one_array_whatever_the_shards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = np.array(projected(tmp_path / "one", 7).values)
    monkeypatch.setattr(patchcore_store, "SHARD_IMAGES", 2)
    rows = projected(tmp_path / "four", 7).values
    assert len(list((tmp_path / "four").rglob("data.bin"))) == 4
    assert rows.shape == whole.shape == (140, 8)
    for part in (slice(0, 140), slice(13, 97), slice(40, 80), slice(120, 500), slice(5, 5)):
        assert np.array_equal(rows[part], whole[part])
    chosen = np.array([139, 0, 40, 39, 40, 77])
    assert np.array_equal(rows[chosen], whole[chosen])


def test_a_full_disk_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(handle: int, size: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(shards, "reserve", full)
    with pytest.raises(UserError, match="disk full") as caught:
        PatchCore(**SMALL).fit(small_train(1, images=4), settings(tmp_path))
    assert "\n" not in str(caught.value)
    assert "--out" in str(caught.value), "these files lie in the run directory"
    monkeypatch.undo()
    PatchCore(**SMALL).fit(small_train(1, images=4), settings(tmp_path))


def test_projection_keeps_distances(tmp_path: Path) -> None:
    torch.manual_seed(0)
    data = torch.randn(4, 20, 300) + 50
    patches = patchcore_store.project_patches(
        lambda chosen: data[chosen],
        4,
        dimension=2048,
        seed=0,
        batch_size=2,
        directory=tmp_path,
        progress=lambda done, total: None,
    )
    rows = torch.from_numpy(np.array(patches.values)).float() * patches.scale
    ratio = torch.pdist(rows) / torch.pdist(data.flatten(0, 1))
    assert ratio.mean() == pytest.approx(1, abs=0.02)
    assert ratio.std() < 0.05


@pytest.mark.parametrize(
    ("options", "text"),
    [({"ratio": 0}, "ratio"), ({"budget": 0}, "budget"), ({"embedding": "x"}, "official or concat")],
)
def test_wrong_options_are_one_line(options: dict[str, Any], text: str) -> None:
    with pytest.raises(UserError, match=text):
        PatchCore(**options)


def test_a_bank_is_refused_with_another_backbone(tmp_path: Path) -> None:
    """Distances between features of two networks mean nothing, and nothing else would tell."""
    from diadbench.methods.authoring.small_data import small_train
    from diadbench.methods.features.kept_backbone import FILE
    from diadbench.methods.simple.trivial import GlobalKnn

    context = RunContext(0, torch.device("cpu"), (64, 64), ("a",), tmp_path, tmp_path / "cache")
    for name, cls, options in (
        ("patchcore", PatchCore, {"levels": (2,), "embedding": "concat", "ratio": 0.1}),
        ("global-knn", GlobalKnn, {}),
    ):
        method = cls(backbone="tf_efficientnet_lite0", weights="package", **options)
        method.fit(small_train(1, images=3), context)
        kept = tmp_path / name
        kept.mkdir()
        method.save(kept)
        cls(backbone="tf_efficientnet_lite0", weights="package", **options).load(kept, context)
        with pytest.raises(UserError, match="its features are of tf_efficientnet_lite0"):
            cls(backbone="tf_efficientnet_lite0", weights="random", **options).load(kept, context)
        (kept / FILE).unlink()
        notes = RunContext(0, context.device, (64, 64), ("a",), tmp_path, tmp_path / "cache")
        cls(backbone="tf_efficientnet_lite0", weights="package", **options).load(kept, notes)
        assert any("were not compared" in note for note in notes.notes)
