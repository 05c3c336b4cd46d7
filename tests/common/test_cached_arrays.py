"""The one cache of arrays: shards, resume, full disks, damage, several processes; what earlier versions wrote."""

from __future__ import annotations

import errno
import json
import os
import pickle
import re
import signal
import subprocess
import sys
import time
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from diadbench.common.cache import arrays, disk_space, shards
from diadbench.common.cache.arrays import ArrayPlan, CachedArray, batches, build, load
from diadbench.common.errors import UserError

ROW = (3, 4)


class Maker:
    """Makes rows that tell their number, and remembers which it made."""

    def __init__(self) -> None:
        self.made: list[int] = []
        self.die_at: int | None = None

    def __call__(self, chosen: list[int]) -> np.ndarray[Any, Any]:
        if self.die_at is not None and self.die_at in chosen:
            raise KeyboardInterrupt
        self.made += chosen
        return np.stack([np.full(ROW, i, np.int32) for i in chosen])


def plan(directory: Path, make: Any, count: int = 10, **options: Any) -> ArrayPlan:
    given = {"shard_rows": 4, "batch": 2, **options}
    return ArrayPlan(directory / "kind" / "key", count, ROW, "int32", batches(make, given["batch"]), **given)


def made(directory: Path, make: Any, count: int = 10, **options: Any) -> CachedArray:
    array = build(plan(directory, make, count, **options))
    assert array is not None
    return array


def rows_of(array: CachedArray) -> list[int]:
    return [int(row[0, 0]) for row in array.gather(range(len(array)))]


def test_rows_lie_in_shards_and_read_as_one_array(tmp_path: Path) -> None:
    array = made(tmp_path, Maker())
    assert array.shape == (10, 3, 4)
    assert [part.shape[0] for part in array.parts] == [4, 4, 2]
    assert rows_of(array) == list(range(10))
    assert array.gather([9, 0, 5, 5])[:, 0, 0].tolist() == [9, 0, 5, 5]
    assert array.gather([]).shape == (0, 3, 4)
    assert [int(array[i][2, 3]) for i in (3, 4, 9)] == [3, 4, 9]


def test_no_shard_is_above_a_gigabyte(tmp_path: Path) -> None:
    """COCO-AD's training images at 256 pixels, none of which is made here."""
    wanted = ArrayPlan(tmp_path / "images" / "key", 119_000, (3, 256, 256), "uint8", batches(Maker(), 1))
    sizes = [shards.size_of((len(rows), 3, 256, 256), "uint8") for _, rows in wanted.shards]
    assert max(sizes) <= 10**9
    assert len(sizes) == 24
    assert [row for _, rows in wanted.shards for row in rows] == list(range(119_000))


def test_it_is_sent_without_its_content(tmp_path: Path) -> None:
    array = made(tmp_path, lambda chosen: np.ones((len(chosen), *ROW), np.int32))
    rows_of(array)
    sent = pickle.dumps(array)
    assert len(sent) < 2000
    assert rows_of(pickle.loads(sent)) == rows_of(array)


def test_an_interrupted_build_goes_on_after_its_finished_shards(tmp_path: Path) -> None:
    first, second = Maker(), Maker()
    first.die_at = 8
    with pytest.raises(KeyboardInterrupt):
        made(tmp_path, first)
    seen: list[tuple[int, int]] = []
    array = build(plan(tmp_path, second), lambda done, total, what: seen.append((done, total)))
    assert array is not None
    assert second.made == [8, 9]
    assert seen == [(10, 10)]
    assert rows_of(array) == list(range(10))


def test_rows_that_are_left_out_cost_their_shard_only(tmp_path: Path) -> None:
    def fill(rows: range, put: Any, progress: Any) -> None:
        for row in rows:
            if row != 5:
                put(row, np.full(ROW, row), f"value {row}")

    wanted = ArrayPlan(tmp_path / "kind" / "key", 10, ROW, "int32", fill, shard_rows=4)
    assert build(wanted) is None
    assert load(wanted) is None
    again = Maker()
    array = made(tmp_path, again)
    assert again.made == [4, 5, 6, 7]
    assert array.value(9) == "value 9"
    assert array.value(5) is None


@pytest.mark.parametrize("damage", ["truncated", "overwritten", "gone", "meta", "half meta"])
def test_a_damaged_shard_is_noticed_and_made_again(tmp_path: Path, damage: str) -> None:
    made(tmp_path, Maker())
    hurt = tmp_path / "kind" / "key" / "part-0001"
    data, meta = hurt / "data.bin", hurt / "meta.json"
    content = data.read_bytes()
    if damage == "truncated":
        data.write_bytes(content[:-4])
    elif damage == "overwritten":
        time.sleep(0.01)  # a later date
        data.write_bytes(content[:50] + b"\xff" * 10 + content[60:])
    elif damage == "gone":
        data.unlink()
    elif damage == "meta":
        meta.unlink()
    else:
        meta.write_text(meta.read_text()[:30])
    again = Maker()
    assert rows_of(made(tmp_path, again)) == list(range(10))
    assert again.made == [4, 5, 6, 7]


def old_shard(directory: Path, values: np.ndarray[Any, Any], kept: list[Any]) -> None:
    """Write a shard the way the version before this module did: one file, whatever its size."""
    directory.mkdir(parents=True)
    (directory / "data.bin").write_bytes(values.tobytes())
    (directory / "lock").touch()
    meta = {
        "shape": list(values.shape),
        "dtype": str(values.dtype),
        "mtime_ns": (directory / "data.bin").stat().st_mtime_ns,
        "sums": [zlib.crc32(row.tobytes()) for row in values],
        "values": kept,
    }
    (directory / "meta.json").write_text(json.dumps(meta))


@pytest.mark.parametrize("shard_rows", [None, 4])
def test_what_earlier_versions_wrote_is_read(tmp_path: Path, shard_rows: int | None) -> None:
    values = np.stack([np.full(ROW, i, np.int32) for i in range(10)])
    old_shard(tmp_path / "kind" / "key", values, [[i, i] for i in range(10)])
    make = Maker()
    array = made(tmp_path, make, shard_rows=shard_rows)
    assert not make.made
    assert rows_of(array) == list(range(10))
    assert array.value(7) == [7, 7]


def test_a_damaged_old_file_is_removed_before_shards_are_made(tmp_path: Path) -> None:
    old_shard(tmp_path / "kind" / "key", np.zeros((9, *ROW), np.int32), [None] * 9)
    assert rows_of(made(tmp_path, Maker())) == list(range(10))
    assert not (tmp_path / "kind" / "key" / "data.bin").exists()


def test_shards_of_another_division_are_removed(tmp_path: Path) -> None:
    made(tmp_path, Maker(), shard_rows=2)
    made(tmp_path, Maker(), shard_rows=4)
    assert len(list(tmp_path.rglob("data.bin"))) == 3
    made(tmp_path, Maker(), shard_rows=None)
    assert len(list(tmp_path.rglob("data.bin"))) == 1


def test_no_row_of_another_shape_gets_in(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="shape"):
        made(tmp_path, lambda chosen: np.zeros((len(chosen), 5, 5), np.int32))


# -- full disks -----------------------------------------------------------------------------------------------


def raises(number: int) -> Any:
    def full(*_: Any) -> None:
        raise OSError(number, os.strerror(number))

    return full


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
@pytest.mark.parametrize("step", ["reserve", "_write_at", "write_json"])
def test_a_full_disk_is_one_line_and_costs_the_shard_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, step: str
) -> None:
    first = Maker()
    first.die_at = 4
    with pytest.raises(KeyboardInterrupt):
        made(tmp_path, first)
    monkeypatch.setattr(shards, step, raises(number))
    with pytest.raises(UserError, match="disk full") as caught:
        made(tmp_path, Maker())
    assert "\n" not in str(caught.value)
    assert "diadbench cache clear" in str(caught.value)
    assert not list(tmp_path.rglob("*.tmp"))
    monkeypatch.undo()
    again = Maker()
    made(tmp_path, again)
    assert again.made == [4, 5, 6, 7, 8, 9]


def test_too_little_space_is_said_before_anything_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make = Maker()
    monkeypatch.setattr("shutil.disk_usage", lambda path: type("Usage", (), {"free": 100})())
    with pytest.raises(UserError, match="the frames need 480 B, 100 B are free"):
        made(tmp_path, make, what="frames")
    assert not make.made


@pytest.mark.parametrize("number", [errno.EOPNOTSUPP, errno.EINVAL])
def test_a_file_system_that_reserves_nothing_is_written_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    monkeypatch.setattr(os, "posix_fallocate", raises(number))
    assert rows_of(made(tmp_path, Maker())) == list(range(10))
    monkeypatch.delattr(os, "posix_fallocate")
    assert rows_of(made(tmp_path / "mac", Maker())) == list(range(10))


def test_an_error_of_the_source_is_not_taken_for_one_of_the_cache(tmp_path: Path) -> None:
    def broken(chosen: list[int]) -> Any:
        raise PermissionError(errno.EACCES, "Permission denied", "/data/image.png")

    with pytest.raises(PermissionError, match=r"image\.png"):
        made(tmp_path, broken)


@pytest.fixture
def small_disk(tmp_path: Path) -> Any:
    """A disk of one megabyte."""
    place = tmp_path / "disk"
    place.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(place)], capture_output=True, check=False
    )
    if done.returncode:
        pytest.skip("only root can mount a small disk")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def test_a_disk_that_really_fills_up(small_disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a process of its own, which SIGBUS would end; the check beforehand is blind, as with two builders at once."""
    code = (
        "import sys; import numpy as np\nfrom pathlib import Path\n"
        "from diadbench.common.cache import arrays\nfrom diadbench.common.errors import UserError\n"
        "arrays.check_space = lambda *a: None\n"
        "fill = arrays.batches(lambda chosen: np.ones((len(chosen), 1000), np.uint8), 10)\n"
        "plan = arrays.ArrayPlan(Path(sys.argv[1], 'kind', 'key'), 3000, (1000,), 'uint8', fill, shard_rows=400)\n"
        "try:\n    arrays.build(plan)\nexcept UserError as error:\n    print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(small_disk)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "disk full (No space left on device)" in done.stdout
    finished = list(small_disk.rglob("data.bin"))
    assert 1 <= len(finished) <= 2, "shards of 0.4 MB are kept as long as they fit"
    assert not list(small_disk.rglob("*.tmp"))


def test_sizes_are_shown_as_people_read_them() -> None:
    shown = [disk_space.shown_bytes(size) for size in (500, 12_000, 3_400_000, 23_400_000_000)]
    assert shown == ["500 B", "12 kB", "3.4 MB", "23.40 GB"]


# -- several processes ----------------------------------------------------------------------------------------

BUILDER = """
import sys, time
import numpy as np
from pathlib import Path
from diadbench.common.cache.arrays import ArrayPlan, batches, build
def make(chosen):
    print("made", chosen, flush=True)
    time.sleep(float(sys.argv[2]))
    return np.stack([np.full((3, 4), i, np.int32) for i in chosen])
plan = ArrayPlan(Path(sys.argv[1], "kind", "key"), 10, (3, 4), "int32", batches(make, 2), shard_rows=4, batch=2)
array = build(plan)
print("sum", int(array.gather(range(10)).sum()), flush=True)
"""


def start(directory: Path, seconds: float) -> subprocess.Popen[str]:
    words = [sys.executable, "-c", BUILDER, str(directory), str(seconds)]
    return subprocess.Popen(words, stdout=subprocess.PIPE, text=True)


def test_two_processes_build_each_row_once(tmp_path: Path) -> None:
    said = [run.communicate(timeout=120)[0] for run in [start(tmp_path, 0.1), start(tmp_path, 0.1)]]
    lines = [line for text in said for line in text.splitlines()]
    assert sorted(line for line in lines if line.startswith("made")) == [
        f"made [{i}, {i + 1}]" for i in range(0, 10, 2)
    ]
    assert lines.count("sum 540") == 2


def test_a_killed_builder_leaves_finished_shards_and_no_lock(tmp_path: Path) -> None:
    run = start(tmp_path, 0.2)
    assert run.stdout is not None
    for line in run.stdout:
        if line.startswith("made [8"):
            run.send_signal(signal.SIGKILL)
            break
    run.wait(60)
    again = Maker()
    assert rows_of(made(tmp_path, again)) == list(range(10))
    assert again.made == [8, 9]


def test_waiting_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arrays, "_RETRY_SECONDS", 0.05)
    run = start(tmp_path, 0.5)
    assert run.stdout is not None
    run.stdout.readline()
    seen: set[str] = set()
    again = Maker()
    assert build(plan(tmp_path, again), lambda done, total, what: seen.add(what)) is not None
    run.communicate(timeout=60)
    assert any(text.startswith("waiting for another process") for text in seen)
    assert not again.made


# -- the kind -------------------------------------------------------------------------------------------------


def test_nothing_is_written_through_a_map_on_space_that_is_not_reserved() -> None:
    """A full disk ends a process that does by SIGBUS, without a word."""
    root = Path(__file__).resolve().parents[2]
    writable = re.compile(r"""(memmap\(.*["'](w\+|r\+)["'])|(mmap_mode=["'][rw]\+["'])|ACCESS_WRITE""")
    for room in ("benchmark", "datasets", "methods", "reports", "diadbench/common"):
        for path in (root / room).rglob("*.py"):
            text = path.read_text("utf-8")
            assert not writable.search(text) or "reserve_file(" in text, (
                f"{path}: see diadbench.common.cache.disk_space"
            )


def test_a_file_that_is_mapped_is_reserved_whole(tmp_path: Path) -> None:
    path = tmp_path / "maps.npy"
    with open(path, "wb") as file:
        file.truncate(1_000_000)
    assert path.stat().st_blocks * 512 < 1_000_000
    disk_space.reserve_file(path)
    assert path.stat().st_blocks * 512 >= 1_000_000
    assert path.stat().st_size == 1_000_000
