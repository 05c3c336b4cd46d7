"""Fetching one file: going on, verifying, and each way in which it goes wrong."""

from __future__ import annotations

import errno
import hashlib
import io
import os
import shutil
from pathlib import Path

import pytest
from range_server import Served, serving

from diadbench.common.errors import UserError
from diadbench.datasets.downloading import fetch as fetching
from diadbench.datasets.downloading.fetch import fetch, readable
from diadbench.datasets.downloading.links import RemoteFile

CONTENT = bytes(range(256)) * 2000
SUM = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetching, "WAITS", (0.0,) * 5)


def served(**options: object) -> Served:
    return Served({"/a.zip": CONTENT}, {"/a.zip": '"one"'}, **options)  # type: ignore[arg-type]


def test_a_file_is_fetched_and_verified(tmp_path: Path) -> None:
    told: list[tuple[int, int, str]] = []
    lines: list[str] = []
    with serving(served()) as address:
        file = RemoteFile(f"{address}/a.zip", len(CONTENT), SUM)
        path = fetch(file, tmp_path, lambda *args: told.append(args), lines.append)
    assert path.read_bytes() == CONTENT
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.zip"]
    assert (len(CONTENT), len(CONTENT), "a.zip") in told
    assert lines[0].startswith("a.zip: 512.0 kB, from 127.0.0.1")
    assert fetch(file, tmp_path) == path  # the server is gone: nothing is asked for again


@pytest.mark.parametrize("options", [{}, {"ranges": False}, {"hide_size": True}])
def test_a_broken_connection_is_gone_on_with(tmp_path: Path, options: dict[str, bool]) -> None:
    lines: list[str] = []
    server = served(break_after=[100_000, 200_000], **options)
    with serving(server) as address:
        assert fetch(RemoteFile(f"{address}/a.zip", len(CONTENT), SUM), tmp_path, say=lines.append).is_file()
    assert len(server.asked) == 3
    assert server.asked[1] == "bytes=100000-"
    assert "going on after 100,000 bytes" in " ".join(lines)
    if server.ranges:
        assert server.asked[2] == "bytes=300000-"
        assert "300.0 kB of it already there" in lines[-1]


def test_a_killed_call_goes_on(tmp_path: Path) -> None:
    server = served(break_after=[100_000])

    def kill(done: int, total: int, what: str) -> None:
        raise KeyboardInterrupt

    with serving(server) as address:
        file = RemoteFile(f"{address}/a.zip", len(CONTENT), SUM)
        with pytest.raises(KeyboardInterrupt):
            fetch(file, tmp_path, kill)
        size = (tmp_path / "a.zip.part").stat().st_size
        assert fetch(file, tmp_path).read_bytes() == CONTENT
    assert 0 < size < len(CONTENT)
    assert server.asked[1] == f"bytes={size}-"


def test_a_file_that_changed_meanwhile_is_begun_anew(tmp_path: Path) -> None:
    server = served(break_after=[100_000])
    other = CONTENT[::-1]
    with serving(server) as address:
        with pytest.raises(KeyboardInterrupt):
            fetch(RemoteFile(f"{address}/a.zip"), tmp_path, say=None, progress=lambda *_: _interrupt())
        server.files["/a.zip"], server.etags["/a.zip"] = other, '"two"'
        assert fetch(RemoteFile(f"{address}/a.zip"), tmp_path).read_bytes() == other


def _interrupt() -> None:
    raise KeyboardInterrupt


def test_a_part_without_a_tag_is_not_trusted(tmp_path: Path) -> None:
    (tmp_path / "a.zip.part").write_bytes(b"something else")
    server = served()
    with serving(server) as address:
        assert fetch(RemoteFile(f"{address}/a.zip", None, SUM), tmp_path).read_bytes() == CONTENT
    assert server.asked == [""]


def test_a_whole_part_of_unknown_size_is_not_fetched_again(tmp_path: Path) -> None:
    server = served()
    with serving(server) as address:
        file = RemoteFile(f"{address}/a.zip", None, SUM)
        fetch(file, tmp_path).rename(tmp_path / "a.zip.part")  # killed before the last step
        (tmp_path / "a.zip.part.json").write_text(f'{{"url": "{file.url}", "tag": "\\"one\\""}}')
        assert fetch(file, tmp_path).read_bytes() == CONTENT
    assert server.asked == ["", f"bytes={len(CONTENT)}-"]


def test_a_wrong_checksum_is_removed(tmp_path: Path) -> None:
    with serving(served()) as address, pytest.raises(UserError, match=f"sha256 {SUM}, expected {'0' * 64}; removed"):
        fetch(RemoteFile(f"{address}/a.zip", len(CONTENT), "0" * 64), tmp_path)
    assert not list(tmp_path.iterdir())


def test_another_size_than_known_is_refused_before_it_is_fetched(tmp_path: Path) -> None:
    with serving(served()) as address, pytest.raises(UserError, match="server has 512,000 bytes, expected 5"):
        fetch(RemoteFile(f"{address}/a.zip", 5), tmp_path)
    assert not (tmp_path / "a.zip.part").exists()
    with (
        serving(served(hide_size=True)) as address,
        pytest.raises(UserError, match="512,000 bytes, expected 5; removed"),
    ):
        fetch(RemoteFile(f"{address}/a.zip", 5), tmp_path)


def test_a_server_that_always_breaks_ends_in_one_line(tmp_path: Path) -> None:
    with serving(served(break_after=[1000, *[0] * 50])) as address, pytest.raises(UserError) as caught:
        fetch(RemoteFile(f"{address}/a.zip"), tmp_path)
    assert "no connection (ended after 1,000 of 512,000 bytes); 1.0 kB are there" in str(caught.value)
    assert (tmp_path / "a.zip.part").stat().st_size == 1000


def test_a_server_that_sends_other_parts_ends(tmp_path: Path) -> None:
    server = served(break_after=[10] * 50, wrong_ranges=True)
    with serving(server) as address, pytest.raises(UserError, match="other parts than those asked for"):
        fetch(RemoteFile(f"{address}/a.zip"), tmp_path)


def test_offline_is_one_line(tmp_path: Path) -> None:
    with serving(served()) as address:
        pass  # nobody listens there any more
    for url in (f"{address}/a.zip", "http://nowhere.invalid/a.zip"):
        with pytest.raises(UserError, match=r"a\.zip: no connection \(.+\); or get the file elsewhere") as caught:
            fetch(RemoteFile(url), tmp_path)
        assert "\n" not in str(caught.value)


def test_refusals_name_the_reason(tmp_path: Path) -> None:
    with serving(served()) as address, pytest.raises(UserError, match="the server answers 404"):
        fetch(RemoteFile(f"{address}/b.zip"), tmp_path)
    with serving(served(html=True)) as address, pytest.raises(UserError, match="a web page instead of the file"):
        fetch(RemoteFile(f"{address}/a.zip"), tmp_path)
    assert not list(tmp_path.iterdir())


def test_too_small_a_disk_is_told_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10**6, 10**6, 1000))  # type: ignore[attr-defined]
    with serving(served()) as address, pytest.raises(UserError, match=r"1\.0 kB free, 512\.0 kB needed for a\.zip"):
        fetch(RemoteFile(f"{address}/a.zip"), tmp_path)


def test_a_full_disk_keeps_what_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    room = 3 << 10

    class Full(io.FileIO):
        def write(self, data: bytes) -> int:  # type: ignore[override]
            if self.tell() + len(data) > room:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return super().write(data)

    def opened(path: Path, mode: str = "r", *args: object) -> object:
        return Full(path, mode) if str(path).endswith(".part") and mode != "rb" else open(path, mode)

    monkeypatch.setattr(fetching, "_CHUNK", 1 << 10)
    monkeypatch.setattr(fetching, "open", opened, raising=False)
    with serving(served()) as address:
        file = RemoteFile(f"{address}/a.zip", len(CONTENT), SUM)
        with (
            pytest.raises(UserError, match=r"disk full .*run the same command again: it goes on"),
            fetching.storing(tmp_path),
        ):
            fetch(file, tmp_path)
        assert (tmp_path / "a.zip.part").stat().st_size == room
        monkeypatch.delattr(fetching, "open")
        assert fetch(file, tmp_path).read_bytes() == CONTENT


def test_sizes_for_people() -> None:
    assert [readable(size) for size in (0, 999, 1000, 1929840640, 10**13)] == [
        "0 bytes",
        "999 bytes",
        "1.0 kB",
        "1.9 GB",
        "10.0 TB",
    ]
