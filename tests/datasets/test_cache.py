"""The decoded-image cache: shared, never stale, never half."""

from __future__ import annotations

import errno
import json
import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from diadbench.common.cache import shards as cache
from diadbench.common.errors import UserError
from diadbench.datasets.base import Part
from diadbench.datasets.decoding import decoder
from diadbench.datasets.decoding.data_module import DataModule
from diadbench.datasets.sets.folder import Folder

MakeTree = Callable[..., Path]


def everything(root: Path, **options: object) -> torch.Tensor:
    dataset = Folder(root)
    train, test = DataModule(dataset, 32, **options).part(dataset.parts("multi-class")[0])  # type: ignore[arg-type]
    return torch.cat([train.images(list(range(len(train)))), *(batch.image for batch in test.batches(4))])


def shards(own_cache: Path) -> list[Path]:
    return sorted((own_cache / "images").glob("*/data.bin"))


def age(path: Path) -> None:
    """Make a file old enough for its digest to be remembered."""
    for file in path.rglob("*.png"):
        os.utime(file, ns=(file.stat().st_atime_ns, file.stat().st_mtime_ns - 10**10))


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the images that were decoded."""
    names: list[str] = []
    real = decoder.decode_image

    def spy(content: bytes, path: Path | str, depth: int = 16) -> np.ndarray:
        names.append(Path(path).as_posix())
        return real(content, path, depth)

    monkeypatch.setattr(decoder, "decode_image", spy)
    return names


def test_every_image_is_decoded_once(make_tree: MakeTree, decoded: list[str]) -> None:
    root = make_tree()
    first = everything(root)
    assert len(decoded) == len(set(decoded)) == 18
    assert torch.equal(everything(root), first)
    assert len(decoded) == 18


def test_classes_share_what_is_decoded(make_tree: MakeTree, decoded: list[str]) -> None:
    root = make_tree()
    DataModule(Folder(root, classes=["nut"]), 32).prepare()
    assert len(decoded) == 9
    everything(root)
    assert len(decoded) == 18
    assert all("/bolt/" in name for name in decoded[9:])


def test_a_changed_source_is_noticed_and_only_its_class_decoded_again(make_tree: MakeTree, decoded: list[str]) -> None:
    root = make_tree()
    before = everything(root)
    fingerprint = DataModule(Folder(root), 32).fingerprint
    path = root / "nut" / "train" / "good" / "000.png"
    stat = path.stat()
    Image.fromarray(np.full((48, 48, 3), 7, np.uint8)).save(path)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))  # a date that lies
    after = everything(root)
    assert len(decoded) == 18 + 9
    assert DataModule(Folder(root), 32).fingerprint != fingerprint
    assert not torch.equal(before, after)
    assert torch.allclose(after[4], torch.full((3, 32, 32), 7 / 255))


def test_a_change_of_the_same_size_within_a_clock_tick_is_noticed(make_tree: MakeTree) -> None:
    root = make_tree(train=1, bad=1)
    path = root / "nut" / "train" / "good" / "000.png"
    found = set()
    for value in range(5):
        Image.fromarray(np.full((48, 48, 3), value, np.uint8)).save(path, compress_level=0)
        found.add(DataModule(Folder(root), 32).fingerprint)
    assert len(found) == 5


def test_the_fingerprint_is_one_of_contents(make_tree: MakeTree, tmp_path: Path) -> None:
    first, second = make_tree(), make_tree(root=tmp_path / "elsewhere" / "below")
    age(second)
    prints = {
        DataModule(Folder(root), 32, cache_dir=tmp_path / c).fingerprint for root in (first, second) for c in "ab"
    }
    assert len(prints) == 1
    (second / "nut" / "test" / "good" / "001.png").rename(second / "nut" / "test" / "good" / "007.png")
    assert DataModule(Folder(second), 32).fingerprint not in prints


def test_digests_are_remembered(make_tree: MakeTree, monkeypatch: pytest.MonkeyPatch) -> None:
    from diadbench.datasets.decoding import fingerprint as module

    monkeypatch.setattr(module, "SETTLED_NS", -1)  # as if the files were older than two seconds
    root = make_tree()
    first = DataModule(Folder(root), 32).fingerprint
    monkeypatch.setattr(module, "read_bytes", lambda path: pytest.fail(f"{path} was read again"))
    assert DataModule(Folder(root), 32).fingerprint == first


@pytest.mark.parametrize("damage", ["truncated", "overwritten", "gone", "meta", "meta-half"])
def test_a_damaged_shard_is_noticed_and_made_again(make_tree: MakeTree, own_cache: Path, damage: str) -> None:
    root = make_tree()
    before = everything(root)
    for path in shards(own_cache):
        content = path.read_bytes()
        meta = path.parent / "meta.json"
        if damage == "truncated":
            path.write_bytes(content[:-100])
        elif damage == "overwritten":
            path.write_bytes(content[:50] + bytes(50) + content[100:])
        elif damage == "gone":
            path.unlink()
        elif damage == "meta":
            meta.unlink()
        else:
            meta.write_text(meta.read_text()[:40])
    assert torch.equal(everything(root), before)


@pytest.mark.parametrize("meta", [[], {}, {"shape": [9, 3, 32, 32], "dtype": "uint8"}])
def test_a_foreign_meta_file_is_no_shard(make_tree: MakeTree, own_cache: Path, meta: object) -> None:
    root = make_tree()
    before = everything(root)
    for path in shards(own_cache):
        (path.parent / "meta.json").write_text(json.dumps(meta))
    assert torch.equal(everything(root), before)


def test_a_copied_cache_is_trusted_by_its_checksums(make_tree: MakeTree, own_cache: Path, decoded: list[str]) -> None:
    root = make_tree()
    before = everything(root)
    for path in shards(own_cache):
        os.utime(path, ns=(0, 0))
    assert torch.equal(everything(root), before)
    assert len(decoded) == 18


def test_sizes_filters_and_rules_do_not_mix(make_tree: MakeTree) -> None:
    root = make_tree()
    dataset = Folder(root)
    part = dataset.parts("multi-class")[0]
    sizes = {}
    for size in (32, 24, (24, 32)):
        train, test = DataModule(dataset, size).part(part)
        batch = next(test.batches(2))
        assert batch.mask is not None
        sizes[train.fingerprint] = (tuple(train[0]["image"].shape), tuple(batch.mask.shape))
    assert list(sizes.values()) == [((3, h, w), (2, h, w)) for h, w in ((32, 32), (24, 24), (24, 32))]
    bicubic, _ = DataModule(dataset, 32, resize="bicubic").part(part)
    assert bicubic.fingerprint not in sizes
    ader, diad = (
        torch.cat(
            [b.mask for b in DataModule(dataset, 20, mask_rule=rule).part(part)[1].batches(8) if b.mask is not None]
        )
        for rule in ("ader", "diad")
    )
    assert diad.sum() > ader.sum()


def test_masks_that_vanish_are_counted_and_keep_their_label(make_tree: MakeTree) -> None:
    root = make_tree(classes=("nut",))
    tiny = np.zeros((48, 48), np.uint8)
    tiny[3, 3] = 255
    Image.fromarray(tiny).save(root / "nut" / "ground_truth" / "crack" / "000_mask.png")
    Image.fromarray(tiny * 0).save(root / "nut" / "ground_truth" / "crack" / "001_mask.png")
    data = DataModule(Folder(root), 12, mask_rule="ader")
    assert (data.vanished, data.empty_masks) == ({"nut": 1}, {"nut": 1})
    _, test = data.part(Part("all", ("nut",)))
    assert test.labels.tolist() == [1, 1, 1, 0, 0]


def test_two_processes_build_at_once(make_tree: MakeTree, own_cache: Path) -> None:
    root = make_tree(train=12)
    code = (
        "import sys\nfrom diadbench.datasets.sets.folder import Folder\n"
        "from diadbench.datasets.decoding.data_module import DataModule\n"
        "d = Folder(sys.argv[1]); m = DataModule(d, 32, workers=1); t, _ = m.part(d.parts('multi-class')[0])\n"
        "print(t.images(list(range(len(t)))).double().sum().item())"
    )
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    runs = [
        subprocess.Popen([sys.executable, "-c", code, str(root)], stdout=subprocess.PIPE, text=True, env=environment)
        for _ in range(2)
    ]
    sums = [run.communicate(timeout=120)[0] for run in runs]
    assert all(run.returncode == 0 for run in runs)
    assert sums[0] == sums[1]
    assert not list(own_cache.rglob("*.tmp"))


def test_a_killed_builder_leaves_nothing_that_is_trusted(
    make_tree: MakeTree, own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = make_tree()

    def killed(path: Path, value: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(cache, "write_json", killed)
    with pytest.raises(KeyboardInterrupt):
        everything(root)
    monkeypatch.undo()
    monkeypatch.setenv("DIADBENCH_CACHE", str(own_cache))
    assert everything(root).shape == (18, 3, 32, 32)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_a_full_disk_is_one_line_and_leaves_no_half_shard(
    make_tree: MakeTree, own_cache: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    root = make_tree()

    def full(handle: int, content: bytes, offset: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(cache, "_write_at", full)
    with pytest.raises(UserError, match="disk full") as caught:
        everything(root)
    assert "\n" not in str(caught.value)
    assert not shards(own_cache)
    assert not list(own_cache.rglob("*.tmp"))
    monkeypatch.undo()
    monkeypatch.setenv("DIADBENCH_CACHE", str(own_cache))
    assert len(everything(root)) == 18


def test_too_little_space_is_said_before_anything_is_decoded(
    make_tree: MakeTree, monkeypatch: pytest.MonkeyPatch, decoded: list[str]
) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda path: type("Usage", (), {"free": 1000})())
    with pytest.raises(UserError, match="the decoded images need"):
        everything(make_tree())
    assert not decoded


def test_a_cache_directory_that_can_not_be_written(make_tree: MakeTree, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="can't be written"):
        everything(make_tree(), cache_dir=tmp_path / "file" / "cache")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_no_permission_to_write(make_tree: MakeTree, tmp_path: Path) -> None:
    locked = tmp_path / "locked"
    locked.mkdir(mode=0o500)
    with pytest.raises(UserError, match="can't be written"):
        everything(make_tree(), cache_dir=locked)


def test_loading_in_other_processes(make_tree: MakeTree) -> None:
    dataset = Folder(make_tree())
    train, _ = DataModule(dataset, 32).part(dataset.parts("multi-class")[0])
    sent = pickle.dumps(train)
    assert len(sent) < 20_000  # not the images themselves
    assert torch.equal(pickle.loads(sent).images([3, 5]), train.images([3, 5]))
    loader = torch.utils.data.DataLoader(train, batch_size=4, num_workers=1)
    assert torch.equal(torch.cat([batch["image"] for batch in loader]), train.images(list(range(8))))


def test_progress_is_told(make_tree: MakeTree) -> None:
    seen: list[tuple[int, int, str]] = []
    everything(make_tree(), progress=lambda done, total, what: seen.append((done, total, what)))
    images = [(done, total) for done, total, what in seen if what == "decoding images"]
    assert images == [(i, 18) for i in range(1, 19)]
