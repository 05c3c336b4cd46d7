"""The cache of frozen features: once, in half precision, resumable, keyed by all that decides it."""

from __future__ import annotations

import errno
import threading
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from diadbench.common.cache import shards
from diadbench.common.errors import UserError
from diadbench.methods.features.feature_cache import build_cache, cache_key

CPU = torch.device("cpu")


class Images:
    """As much of TrainData as the cache needs."""

    def __init__(self, count: int = 10, fingerprint: str = "a") -> None:
        self.data = torch.rand(count, 3, 8, 8, generator=torch.Generator().manual_seed(0))
        self.fingerprint, self.image_size, self.class_names = fingerprint, (8, 8), ("nut",)

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
    return build_cache(extract, images, directory / "features", CPU, **{"batch_size": 2, "digest": "d", **options})


def data_files(directory: Path) -> list[Path]:
    return sorted(directory.rglob("data.bin"))


def test_reads_what_was_extracted_in_half_precision(tmp_path: Path) -> None:
    images, extract = Images(), Extract()
    cache = build(tmp_path, images, extract)
    exact = Extract()(images.data)
    assert cache.read([7, 3]).dtype == torch.float32
    assert torch.equal(cache.read([7, 3]), exact[[7, 3]].half().float())
    assert torch.equal(cache.read(torch.tensor([9])), exact[[9]].half().float())
    assert 1e-5 < cache.error(exact, list(range(10))) < 5e-4
    assert [path.stat().st_size for path in data_files(tmp_path)] == [10 * 6 * 2 * 2 * 2]


def test_second_user_extracts_nothing(tmp_path: Path) -> None:
    build(tmp_path, Images(), Extract())
    again = Extract()
    build(tmp_path, Images(), again)
    assert again.seen == 0


def test_killed_filler_is_continued(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        build(tmp_path, Images(), Extract(die_after=7), shard_images=4)
    again = Extract()
    cache = build(tmp_path, Images(), again, shard_images=4)
    assert again.seen == 6, "a shard of four was finished before the kill"
    assert len(data_files(tmp_path)) == 3
    assert torch.equal(cache.read(list(range(10))), Extract()(Images().data).half().float())


def test_a_file_cut_short_is_built_again(tmp_path: Path) -> None:
    build(tmp_path, Images(), Extract(), shard_images=4)
    with data_files(tmp_path)[1].open("r+b") as file:
        file.truncate(100)
    again = Extract()
    found = build(tmp_path, Images(), again, shard_images=4).read(list(range(10)))
    assert torch.equal(found, Extract()(Images().data).half().float())
    assert again.seen == 4, "the other shards are whole"


def test_key_knows_images_and_network() -> None:
    keys = {
        cache_key(Images(), CPU, digest="d", padding="timm"),  # type: ignore[arg-type]
        cache_key(Images(), CPU, digest="d", padding="official"),  # type: ignore[arg-type]
        cache_key(Images(), CPU, digest="e", padding="timm"),  # type: ignore[arg-type]
        cache_key(Images(fingerprint="b"), CPU, digest="d", padding="timm"),  # type: ignore[arg-type]
    }
    assert len(keys) == 4


def test_key_knows_device_and_arithmetic() -> None:
    def key(device: str = "cpu") -> str:
        return cache_key(Images(), torch.device(device), digest="d")  # type: ignore[arg-type]

    keys = {key(), key("cuda")}
    assert key("cuda:1") in keys, "which of the GPUs it was matters to nobody"
    before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    try:
        torch.backends.cuda.matmul.allow_tf32 = not before[0]
        keys.add(key("cuda"))
        torch.backends.cudnn.allow_tf32 = not before[1]
        keys.add(key("cuda"))
    finally:
        torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = before
    try:
        torch.set_float32_matmul_precision("medium")
        keys.add(key())
        torch.backends.cuda.matmul.allow_tf32 = False  # torch has no name for both together now
        keys |= {key(), key("cuda")}
    finally:
        torch.set_float32_matmul_precision("highest")  # "high" would let a CPU's products be TF32, too
        torch.backends.cuda.matmul.allow_tf32 = before[0]
    assert len(keys) == 7


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
    assert sum(extract.seen for extract in extractors) in (11, 12)  # each may look at one image to learn the shape
    assert len(data_files(tmp_path)) == 1


def test_a_full_disk_is_one_line_and_nothing_is_half_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(handle: int, size: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(shards, "reserve", full)
    with pytest.raises(UserError, match="disk full") as caught:
        build(tmp_path, Images(), Extract())
    assert "\n" not in str(caught.value)
    assert not data_files(tmp_path)
    monkeypatch.undo()
    assert len(build(tmp_path, Images(), Extract())) == 10
