"""The cache of frozen features: once, in half precision, resumable, keyed by all that decides it."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from diadbench.common.errors import UserError
from diadbench.common.files import read_json
from diadbench.methods.features.feature_cache import build_cache, cache_key


class Images:
    """As much of TrainData as the cache needs."""

    def __init__(self, count: int = 10, fingerprint: str = "a") -> None:
        self.data = torch.rand(count, 3, 8, 8, generator=torch.Generator().manual_seed(0))
        self.fingerprint, self.image_size = fingerprint, (8, 8)

    def __len__(self) -> int:
        return len(self.data)

    def images(self, indices: list[int]) -> Tensor:
        return self.data[indices]


class Extract:
    def __init__(self, die_after: int | None = None, scale: float = 1.0) -> None:
        self.seen, self.die_after, self.scale = 0, die_after, scale

    def __call__(self, images: Tensor) -> Tensor:
        if self.die_after is not None and self.seen >= self.die_after:
            raise KeyboardInterrupt
        self.seen += len(images)
        return torch.nn.functional.avg_pool2d(images, 4).repeat(1, 2, 1, 1) * self.scale


def build(directory: Path, images: Any, extract: Extract, **options: Any) -> Any:
    return build_cache(extract, images, directory, **{"batch_size": 2, "digest": "d", **options})


def test_reads_what_was_extracted_in_half_precision(tmp_path: Path) -> None:
    images, extract = Images(), Extract()
    cache = build(tmp_path, images, extract)
    exact = Extract()(images.data)
    assert cache.read([7, 3]).dtype == torch.float32
    assert torch.equal(cache.read([7, 3]), exact[[7, 3]].half().float())
    assert torch.equal(cache.read(torch.tensor([9])), exact[[9]].half().float())
    assert 1e-5 < cache.error(exact, list(range(10))) < 5e-4
    assert cache.path.stat().st_size == 10 * 6 * 2 * 2 * 2


def test_second_user_extracts_nothing(tmp_path: Path) -> None:
    build(tmp_path, Images(), Extract())
    again = Extract()
    build(tmp_path, Images(), again)
    assert again.seen == 0


def test_killed_filler_is_continued(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        build(tmp_path, Images(), Extract(die_after=7), save_every=4)
    again = Extract()
    cache = build(tmp_path, Images(), again, save_every=4)
    assert again.seen == 6, "four were saved before the kill"
    assert torch.equal(cache.read(list(range(10))), Extract()(Images().data).half().float())


def test_a_file_cut_short_is_built_again(tmp_path: Path) -> None:
    cache = build(tmp_path, Images(), Extract())
    with cache.path.open("r+b") as file:
        file.truncate(100)
    again = Extract()
    assert torch.equal(build(tmp_path, Images(), again).read([9]), Extract()(Images().data)[[9]].half().float())
    assert again.seen >= 10


def test_key_knows_images_and_network() -> None:
    keys = {
        cache_key(Images(), digest="d", padding="timm"),  # type: ignore[arg-type]
        cache_key(Images(), digest="d", padding="official"),  # type: ignore[arg-type]
        cache_key(Images(), digest="e", padding="timm"),  # type: ignore[arg-type]
        cache_key(Images(fingerprint="b"), digest="d", padding="timm"),  # type: ignore[arg-type]
    }
    assert len(keys) == 4


def test_too_large_for_half_precision_is_said(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="half precision"):
        build(tmp_path, Images(), Extract(scale=1e6))


def test_two_at_once_share_the_work(tmp_path: Path) -> None:
    extractors = [Extract(), Extract()]
    threads = [threading.Thread(target=build, args=(tmp_path, Images(), extract)) for extract in extractors]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sum(extract.seen for extract in extractors) == 11  # one image more tells the shape
    (state,) = [read_json(path) for path in tmp_path.glob("*.json")]
    assert state["done"] == 10
